"""The chat over HTTP: the same messages and the same places as over the socket."""

from __future__ import annotations

from uuid import UUID

from server.community.chat.errors import (
    BadText,
    NoSuchMessage,
    NoSuchRoom,
    NotStored,
    NotYours,
    RoomClosed,
    TooFast,
)
from server.community.chat.models import ChatLog, ChatMessage, LogQuery, ReplayQuery, WriteBody
from server.community.chat.service import Chat
from server.kit.http import Access, Call, Page, Routes
from server.kit.problems import BadCursor


def routes(chat: Chat) -> Routes:
    api = Routes(tag="chat", description="What is said beside a live broadcast.")

    @api.post(
        "/api/v1/live/{id}/chat",
        status=201,
        access=Access.USER,
        errors=(NoSuchRoom, RoomClosed, BadText, TooFast, NotStored),
        summary="Write a message",
    )
    async def write(call: Call, id: UUID, body: WriteBody) -> ChatMessage:
        """Answers once the message is on disk. Give a `nonce` to be able to send it again after an answer that got
        lost.
        """
        return (await chat.write(call.user, id, body)).message

    @api.get("/api/v1/live/{id}/chat", access=Access.ANYONE, errors=(NoSuchRoom,), summary="Changes in their order")
    async def log(id: UUID, query: LogQuery) -> ChatLog:
        """What happened after the place `since`, the oldest first: messages and deletions. Without `since` the latest
        changes.
        Ask again with `since` = `offset` until that is `head`."""
        return await chat.log(id, query.since, query.limit)

    @api.get(
        "/api/v1/live/{id}/chat/replay",
        access=Access.ANYONE,
        errors=(NoSuchRoom, BadCursor),
        summary="Messages by the moment of the picture",
    )
    async def replay(id: UUID, query: ReplayQuery) -> Page[ChatMessage]:
        """For a recording: the messages that were not deleted, by `media_time` (or `at` where that is not known)."""
        items, cursor = await chat.replay(id, query.from_time, query.to_time, query.cursor, query.limit)
        return Page(items=items, next_cursor=cursor)

    @api.delete(
        "/api/v1/live/{id}/chat/{message_id}",
        access=Access.USER,
        errors=(NoSuchRoom, NoSuchMessage, NotYours, NotStored),
        summary="Delete a message",
    )
    async def delete(call: Call, id: UUID, message_id: UUID) -> None:
        """By its author or the broadcast's owner. The text is gone for good; the deletion is a change of the chat."""
        await chat.delete(call.user, id, message_id)

    return api
