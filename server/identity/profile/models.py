"""Profiles, preferences and privacy, as clients send and see them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.identity.models import Account, Profile
from server.kit.clock import now

SIZES = (64, 256, 512)
"""Sides of the squares that are made of an avatar, in pixels."""
MOST_LINKS = 8

_Bio = Annotated[str, Meta(max_length=500, description="plain text; line breaks are kept")]
_DisplayName = Annotated[str, Meta(max_length=50, description="empty: the username")]
_Url = Annotated[str, Meta(max_length=500, description="http(s)://…")]
_Website = Annotated[str, Meta(max_length=500, description="http(s)://…; empty: none")]
_Location = Annotated[str, Meta(max_length=100)]


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    label: Annotated[str, Meta(min_length=1, max_length=40)]
    url: _Url


_Links = Annotated[list[Link], Meta(max_length=MOST_LINKS)]


class Avatar(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of the square pictures (WebP) of 64, 256 and 512 pixels. What an address shows never changes."""

    small: str
    medium: str
    large: str


class Me(Profile, frozen=True, kw_only=True):
    """An account with its profile, as its owner sees it. username_change_from: when the username may be changed next;
    null: now. version: counts the edits of the profile."""

    bio: str
    website: str
    location: str
    links: list[Link]
    avatar: Avatar | None
    username_change_from: datetime | None
    version: int


class ProfileBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only what is given changes."""

    display_name: _DisplayName | UnsetType = UNSET
    bio: _Bio | UnsetType = UNSET
    website: _Website | UnsetType = UNSET
    location: _Location | UnsetType = UNSET
    links: _Links | UnsetType = UNSET


class UsernameBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(max_length=100, description="3 to 30 letters, digits, . _ or -")]


class PublicProfile(msgspec.Struct, frozen=True, kw_only=True):
    """An account as others see it. limited: its owner shows the rest to fewer people, and it is left empty here."""

    id: UUID
    username: str
    display_name: str
    avatar: Avatar | None
    limited: bool
    followers: int
    following: int
    bio: str = ""
    website: str = ""
    location: str = ""
    links: list[Link] = []
    created_at: datetime | None = None


class Notices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which e-mails are sent. security (sign-ins, passwords, keys, leaving) cannot be turned off."""

    security: Literal["always"] = "always"
    live: bool = True
    activity: bool = True
    digest: Literal["off", "daily", "weekly"] = "weekly"
    news: bool = False


class Preferences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """locale: a language tag (BCP 47), as `en` or `pt-BR`. time_zone: a name of the IANA database."""

    locale: Annotated[str, Meta(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    theme: Literal["system", "light", "dark"] = "system"
    autoplay: bool = True
    captions: bool = False
    emails: Notices = Notices()


class Privacy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """profile: who sees more of it than name and picture. show_online: whether others see by name that the person is
    here. searchable: whether searches and suggestions show it. messages_from: who may begin a conversation. Whatever
    feature brings the last two to life asks here first."""

    profile: Literal["public", "followers", "private"] = "public"
    show_online: bool = True
    searchable: bool = True
    messages_from: Literal["everyone", "followers", "nobody"] = "everyone"


class PreferencesView(Preferences, frozen=True, kw_only=True):
    version: int


class PrivacyView(Privacy, frozen=True, kw_only=True):
    version: int


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """A row of profiles. avatar: the random name of the pictures."""

    version: int = 1
    bio: str = ""
    website: str = ""
    location: str = ""
    links: list[Link] = []
    avatar: str | None = None
    username_changed_at: datetime | None = None
    preferences: Preferences = Preferences()
    preferences_version: int = 1
    privacy: Privacy = Privacy()
    privacy_version: int = 1


def avatar_of(name: str | None, base_url: str) -> Avatar | None:
    if name is None:
        return None
    small, medium, large = (f"{base_url}/avatars/{name}/{size}.webp" for size in SIZES)
    return Avatar(small=small, medium=medium, large=large)


def me_of(account: Account, details: Details, base_url: str, cool_down: timedelta) -> Me:
    """cool_down: how long after changing the username one waits to change it again."""
    changed_at = details.username_changed_at
    free_from = None if changed_at is None else changed_at + cool_down
    return Me(
        **msgspec.structs.asdict(account.profile()),
        bio=details.bio,
        website=details.website,
        location=details.location,
        links=details.links,
        avatar=avatar_of(details.avatar, base_url),
        username_change_from=free_from if free_from is not None and free_from > now() else None,
        version=details.version,
    )
