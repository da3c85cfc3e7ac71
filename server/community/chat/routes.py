"""The chat over HTTP: the same changes and the same places as over the socket."""

from __future__ import annotations

import math
from uuid import UUID

import msgspec

from server.community.chat import errors
from server.community.chat.bodies import ChatState, EditMessageBody, Emoji, InTheRoom, Reactions, WriteBody
from server.community.chat.models import ChatLog, ChatMessage, LogQuery, ReplayQuery
from server.community.chat.moderation import Moderation
from server.community.chat.moderation_routes import add_moderation
from server.community.chat.service import Chat
from server.kit.http import Access, Call, Page, Routes
from server.kit.problems import BadCursor, Invalid

_ROOM = "/api/v1/live/{id}/chat"
_REFUSED = (
    errors.BannedHere,
    errors.SubscribersOnly,
    errors.FollowersOnly,
    errors.EmotesOnly,
    errors.NotUnique,
    errors.Filtered,
)


def routes(chat: Chat) -> Routes:
    api = Routes(tag="chat", description="What is said beside a live broadcast.")
    moderation = Moderation(chat)

    @api.post(
        _ROOM,
        status=201,
        access=Access.USER,
        errors=(
            errors.NoSuchRoom,
            errors.NoSuchMessage,
            errors.RoomClosed,
            errors.BadText,
            *_REFUSED,
            errors.TooFast,
            errors.SlowMode,
            errors.NotStored,
        ),
        summary="Write a message",
        example_body={"text": "Hello!", "nonce": "5f0c9a1b"},
    )
    async def write(call: Call, id: UUID, body: WriteBody) -> ChatMessage:
        """Answers once the message is on disk. Give a `nonce` to be able to send it again after an answer that got
        lost. `Chat-Left` says how many more may go right now (absent: as many as one likes), `Chat-Next` in how many
        seconds the next one may.
        """
        stored, allowance = await chat.write(call.user, id, body, call.origin)
        if allowance.left is not None:
            call.headers["Chat-Left"] = str(allowance.left)
            call.headers["Chat-Next"] = str(math.ceil(allowance.next_in))
        return stored.message

    @api.get(_ROOM, access=Access.ANYONE, errors=(errors.NoSuchRoom,), summary="Changes in their order")
    async def log(call: Call, id: UUID, query: LogQuery) -> ChatLog:
        """What happened after the place `since`, the oldest first, as the caller may see it. Without `since` the latest
        changes. Ask again with `since` = `offset` until that is `head`."""
        return await chat.log(call.caller, id, query.since, query.limit)

    @api.get(
        _ROOM + "/replay",
        access=Access.ANYONE,
        errors=(errors.NoSuchRoom, BadCursor),
        summary="Messages by the moment of the picture",
    )
    async def replay(call: Call, id: UUID, query: ReplayQuery) -> Page[ChatMessage]:
        """For a recording: the messages that were not deleted, as they stand now, by `media_time` (or `at` where that
        is not known)."""
        items, cursor = await chat.replay(call.caller, id, query.from_time, query.to_time, query.cursor, query.limit)
        return Page(items=items, next_cursor=cursor)

    @api.get(_ROOM + "/state", access=Access.ANYONE, errors=(errors.NoSuchRoom,), summary="The chat as it is")
    async def state(call: Call, id: UUID) -> ChatState:
        """Mode, pins, moderators, emotes and the latest messages, as they were at the place `offset`. Subscribe with
        `since` = that place, or ask for the changes after it, and nothing is missing."""
        return await moderation.state(call.caller, id)

    @api.get(_ROOM + "/me", access=Access.USER, errors=(errors.NoSuchRoom,), summary="What you are in this chat")
    async def me(call: Call, id: UUID) -> InTheRoom:
        """Your role, why you may not write, and your reactions to the latest messages."""
        return await moderation.me(call.user, id)

    add_moderation(api, _ROOM, moderation)

    reacting = (
        errors.NoSuchRoom,
        errors.NoSuchMessage,
        errors.RoomClosed,
        errors.BannedHere,
        errors.TooFast,
        errors.NotStored,
    )

    @api.put(
        _ROOM + "/{message_id}/reactions/{emoji}",
        access=Access.USER,
        errors=(*reacting, errors.BadReaction, errors.TooMany),
        summary="React to a message",
    )
    async def react(call: Call, id: UUID, message_id: UUID, emoji: str) -> Reactions:
        """`emoji`: one emoji, or the code of an emote as `:fire:`. Answers with all to the message."""
        _, counts = await chat.react(call.user, id, message_id, _emoji(emoji))
        return Reactions(counts=counts)

    @api.delete(
        _ROOM + "/{message_id}/reactions/{emoji}",
        status=200,
        access=Access.USER,
        errors=(*reacting, errors.BadReaction),
        summary="Take a reaction back",
    )
    async def unreact(call: Call, id: UUID, message_id: UUID, emoji: str) -> Reactions:
        _, counts = await chat.react(call.user, id, message_id, _emoji(emoji), remove=True)
        return Reactions(counts=counts)

    @api.get(
        _ROOM + "/{message_id}",
        access=Access.ANYONE,
        errors=(errors.NoSuchRoom, errors.NoSuchMessage),
        summary="One message",
    )
    async def message(call: Call, id: UUID, message_id: UUID) -> ChatMessage:
        """For one that is answered or pinned and not among those that the client has."""
        return await chat.message(call.caller, id, message_id)

    @api.patch(
        _ROOM + "/{message_id}",
        access=Access.USER,
        errors=(
            errors.NoSuchRoom,
            errors.NoSuchMessage,
            errors.RoomClosed,
            errors.TooLate,
            errors.BadText,
            errors.NotYours,
            *_REFUSED,
            errors.TooFast,
            errors.NotStored,
        ),
        summary="Edit a message",
        example_body={"text": "Hello all!"},
    )
    async def edit(call: Call, id: UUID, message_id: UUID, body: EditMessageBody) -> ChatMessage:
        """By its author, for a while. What stood there before is gone for good."""
        return (await chat.edit(call.user, id, message_id, body.text)).message

    @api.delete(
        _ROOM + "/{message_id}",
        access=Access.USER,
        errors=(errors.NoSuchRoom, errors.NoSuchMessage, errors.NotYours, errors.NotStored),
        summary="Delete a message",
    )
    async def delete(call: Call, id: UUID, message_id: UUID) -> None:
        """By its author or those who moderate the chat. The text is gone for good."""
        await chat.delete(call.user, id, message_id, call.origin)

    return api


def _emoji(text: str) -> str:
    try:
        checked: str = msgspec.convert(text, Emoji)
    except msgspec.ValidationError as error:
        raise Invalid.at("emoji", str(error), "path") from None
    if "\x00" in checked or any("\ud800" <= character <= "\udfff" for character in checked):
        raise errors.BadReaction("A reaction is one emoji, or one emote of the channel.", field="emoji")
    return checked
