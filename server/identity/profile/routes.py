"""Profiles over HTTP: /api/v1/users/…"""

from __future__ import annotations

from server.identity.errors import UsernameTaken
from server.identity.profile.avatars import Avatars
from server.identity.profile.errors import BadPicture, NoSuchPerson, NotAPicture, TooManyPictures, UsernameLately
from server.identity.profile.models import (
    Me,
    Notices,
    Preferences,
    PreferencesView,
    Privacy,
    PrivacyView,
    ProfileBody,
    PublicProfile,
    UsernameBody,
)
from server.identity.profile.service import Profiles
from server.kit.http import Access, Call, Routes
from server.kit.problems import BodyTooLarge, MalformedBody, NotFound, RequestTimeout
from server.settings import Settings


def routes(profiles: Profiles, avatars: Avatars, settings: Settings) -> Routes:
    api = Routes("profile", "Profiles, preferences, privacy, and the data of one's own account.")

    @api.get("/api/v1/users/me", access=Access.USER, summary="Your account and profile", etag=True, errors=(NotFound,))
    async def me(call: Call) -> Me:
        return await profiles.me(call.user.user_id)

    @api.patch(
        "/api/v1/users/me",
        access=Access.USER,
        summary="Edit your profile",
        if_match=True,
        errors=(NotFound,),
        example_body=ProfileBody(display_name="Ada", bio="Numbers, mostly.", website="https://ada.example.org"),
    )
    async def edit(call: Call, body: ProfileBody) -> Me:
        """Only what is given changes. Addresses are http or https; an empty text takes away what was there."""
        return await profiles.edit(call.user.user_id, body, call.if_match, call.origin)

    @api.put(
        "/api/v1/users/me/username",
        access=Access.USER,
        summary="Change your username",
        if_match=True,
        errors=(UsernameTaken, UsernameLately, NotFound),
        example_body=UsernameBody(username="ada.l"),
    )
    async def rename(call: Call, body: UsernameBody) -> Me:
        """The old name is kept for you for a while, so that links to it lead to nobody else; after a change you wait
        until the next. Capitals may be changed at any time."""
        return await profiles.rename(call.user.user_id, body.username, call.if_match, call.origin)

    @api.get("/api/v1/users/me/preferences", access=Access.USER, summary="How you want the product", etag=True)
    async def preferences(call: Call) -> PreferencesView:
        return await profiles.preferences(call.user.user_id)

    @api.put(
        "/api/v1/users/me/preferences",
        access=Access.USER,
        summary="Set how you want the product",
        if_match=True,
        errors=(NotFound,),
        example_body=Preferences(locale="de-AT", time_zone="Europe/Vienna", theme="dark", emails=Notices(news=False)),
    )
    async def set_preferences(call: Call, body: Preferences) -> PreferencesView:
        """What is left out is as by default. Mails about the account's security are always sent."""
        return await profiles.set_preferences(call.user.user_id, body, call.if_match)

    @api.get("/api/v1/users/me/privacy", access=Access.USER, summary="Who may see and reach you", etag=True)
    async def privacy(call: Call) -> PrivacyView:
        return await profiles.privacy(call.user.user_id)

    @api.put(
        "/api/v1/users/me/privacy",
        access=Access.USER,
        summary="Set who may see and reach you",
        if_match=True,
        errors=(NotFound,),
        example_body=Privacy(profile="followers", messages_from="followers"),
    )
    async def set_privacy(call: Call, body: Privacy) -> PrivacyView:
        """What is left out is as by default. With a profile for followers or for nobody, others see the name and the
        picture alone, and who keeps it private takes no new followers. Without `show_online` nobody sees by name that
        you are here: not among those who watch, not as writing, not by those who follow you. `searchable` and
        `messages_from` are kept for search and messages between people, which this server does not have yet."""
        return await profiles.set_privacy(call.user.user_id, body, call.if_match, call.origin)

    @api.put(
        "/api/v1/users/me/avatar",
        access=Access.USER,
        summary="Set your picture",
        limits="upload",
        file_body=("image/jpeg", "image/png", "image/webp", "image/gif"),
        errors=(
            NotAPicture, BadPicture, TooManyPictures, BodyTooLarge, RequestTimeout, MalformedBody, NotFound,
        ),
    )  # fmt: skip
    async def set_avatar(call: Call) -> Me:
        """The body is the file: JPEG, PNG, WebP or GIF, of which the first frame is taken. It is cut to a square from
        the middle, turned as its camera was held, and made anew, so that nothing else in the file (places, devices)
        is kept. `avatar` in the answer has its addresses."""
        data = await avatars.read(call.request, within=settings.body_timeout_upload)
        await avatars.put(call.user.user_id, data, call.origin)
        return await profiles.me(call.user.user_id)

    @api.delete("/api/v1/users/me/avatar", access=Access.USER, summary="Take your picture away")
    async def remove_avatar(call: Call) -> None:
        """None there is no error. The files are deleted a moment later; what browsers have kept, they have."""
        await avatars.remove(call.user.user_id, call.origin)

    @api.get(
        "/api/v1/users/{username}",
        access=Access.ANYONE,
        summary="Somebody's profile",
        etag=True,
        errors=(NoSuchPerson,),
    )
    async def show(call: Call, username: str) -> PublicProfile:
        """As much of it as its owner shows you: `limited` says that there is more."""
        return await profiles.public(username, call.caller)

    return api
