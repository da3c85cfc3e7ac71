"""What the staff of a chat does, over HTTP."""

from __future__ import annotations

from uuid import UUID

from server.community.chat import errors
from server.community.chat.bodies import (
    BanBody,
    BanView,
    EmoteBody,
    Emotes,
    EmoteView,
    FilterBody,
    Filters,
    FilterView,
    Moderators,
)
from server.community.chat.mode import Mode, ModeBody
from server.community.chat.moderation import Moderation
from server.kit.http import Access, Call, Page, PageQuery, Routes
from server.kit.problems import BadCursor

_DEED = (errors.NoSuchRoom, errors.NotYours, errors.NotStored)


def add_moderation(api: Routes, room: str, moderation: Moderation) -> None:
    """room: the path of a chat."""

    @api.patch(
        room + "/mode",
        access=Access.USER,
        errors=(*_DEED, errors.BadMode, errors.ModeUnavailable),
        summary="Change the mode",
        example_body={"slow": 10, "emotes": False},
    )
    async def set_mode(call: Call, id: UUID, body: ModeBody) -> Mode:
        """By those who moderate the chat, who are exempt from it. What is left out stays. The state has the mode."""
        return (await moderation.set_mode(call.user, id, body, call.origin))[1]

    @api.put(
        room + "/pins/{message_id}",
        access=Access.USER,
        errors=(*_DEED, errors.NoSuchMessage, errors.TooMany),
        summary="Pin a message",
    )
    async def pin(call: Call, id: UUID, message_id: UUID) -> None:
        await moderation.pin(call.user, id, message_id, call.origin)

    @api.delete(
        room + "/pins/{message_id}",
        access=Access.USER,
        errors=(*_DEED, errors.NoSuchMessage),
        summary="Unpin a message",
    )
    async def unpin(call: Call, id: UUID, message_id: UUID) -> None:
        await moderation.pin(call.user, id, message_id, call.origin, remove=True)

    @api.get(
        room + "/bans",
        access=Access.USER,
        errors=(errors.NoSuchRoom, errors.NotYours, BadCursor),
        summary="Bans and time-outs that hold",
    )
    async def bans(call: Call, id: UUID, query: PageQuery) -> Page[BanView]:
        """In all chats of the owner, newest first; for those who moderate."""
        return await moderation.bans(call.user, id, query)

    @api.put(
        room + "/bans/{user_id}",
        access=Access.USER,
        errors=(*_DEED, errors.NoSuchPerson, errors.BadBan, errors.TooMany),
        summary="Ban somebody",
        example_body={"kind": "timeout", "seconds": 600, "reason": "Calm down.", "clear": True},
    )
    async def ban(call: Call, id: UUID, user_id: UUID, body: BanBody) -> BanView:
        """From all chats of the owner: for good, for a while, or without his knowing. Replaces what holds already."""
        return (await moderation.ban(call.user, id, user_id, body, call.origin))[1]

    @api.delete(room + "/bans/{user_id}", access=Access.USER, errors=_DEED, summary="Lift a ban")
    async def unban(call: Call, id: UUID, user_id: UUID) -> None:
        await moderation.unban(call.user, id, user_id, call.origin)

    @api.get(room + "/moderators", access=Access.ANYONE, errors=(errors.NoSuchRoom,), summary="Who moderates the chat")
    async def moderators(call: Call, id: UUID) -> Moderators:
        """Besides the owner, in all his chats."""
        return await moderation.moderators(call.caller, id)

    @api.put(
        room + "/moderators/{user_id}",
        access=Access.USER,
        errors=(*_DEED, errors.NoSuchPerson, errors.TooMany),
        summary="Let somebody moderate",
    )
    async def appoint(call: Call, id: UUID, user_id: UUID) -> None:
        """By the owner, in all his chats."""
        await moderation.appoint(call.user, id, user_id, call.origin)

    @api.delete(room + "/moderators/{user_id}", access=Access.USER, errors=_DEED, summary="Dismiss a moderator")
    async def dismiss(call: Call, id: UUID, user_id: UUID) -> None:
        """By the owner, or by the moderator himself."""
        await moderation.dismiss(call.user, id, user_id, call.origin)

    @api.get(
        room + "/filters",
        access=Access.USER,
        errors=(errors.NoSuchRoom, errors.NotYours),
        summary="Word filters",
    )
    async def filters(call: Call, id: UUID) -> Filters:
        """Of all chats of the owner; for those who moderate."""
        return await moderation.filters(call.user, id)

    @api.post(
        room + "/filters",
        access=Access.USER,
        errors=(*_DEED, errors.BadPattern, errors.TooMany),
        summary="Filter a word",
        example_body={"pattern": "spoiler*", "action": "mask"},
    )
    async def add_filter(call: Call, id: UUID, body: FilterBody) -> FilterView:
        """Holds for what is written from now on. The same pattern again changes its action."""
        return await moderation.add_filter(call.user, id, body, call.origin)

    @api.delete(
        room + "/filters/{filter_id}",
        access=Access.USER,
        errors=(*_DEED, errors.NoSuchFilter),
        summary="Remove a word filter",
    )
    async def remove_filter(call: Call, id: UUID, filter_id: UUID) -> None:
        await moderation.remove_filter(call.user, id, filter_id, call.origin)

    @api.get(room + "/emotes", access=Access.ANYONE, errors=(errors.NoSuchRoom,), summary="Emotes of the channel")
    async def emotes(call: Call, id: UUID) -> Emotes:
        """`:name:` in a text stands for one."""
        return await moderation.emotes(call.caller, id)

    @api.put(
        room + "/emotes/{name}",
        access=Access.USER,
        errors=(*_DEED, errors.BadEmote, errors.TooMany),
        summary="Make an emote",
        example_body={"art": "🔥"},
    )
    async def set_emote(call: Call, id: UUID, name: str, body: EmoteBody) -> EmoteView:
        """By the owner, for all his chats."""
        return await moderation.set_emote(call.user, id, name, body.art)

    @api.delete(
        room + "/emotes/{name}",
        access=Access.USER,
        errors=(*_DEED, errors.BadEmote, errors.NoSuchEmote),
        summary="Remove an emote",
    )
    async def remove_emote(call: Call, id: UUID, name: str) -> None:
        await moderation.remove_emote(call.user, id, name)
