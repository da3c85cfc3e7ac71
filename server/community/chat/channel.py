"""The chat as a channel of the socket: `live:{broadcast id}`. Translates between realtime's questions and the
service.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, cast
from uuid import UUID

import msgspec

from realtime.protocol.codec import Payload
from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position
from realtime.rules import Action, Entry, Identity, Published, Refused, Slice
from server.community.chat.models import DeleteBody, LogEntry, Said, WriteBody, channel_of
from server.community.chat.service import Chat
from server.community.chat.store import History
from server.community.chat.writer import AWAY, encode
from server.kit.auth import Caller
from server.kit.problems import Problem

log = logging.getLogger(__name__)

StateOf = Callable[[UUID], Awaitable[Any]]


async def _no_state(_: UUID) -> None:
    return None


class ChatChannels:
    """Realtime's ChannelRules for the prefix `live`."""

    def __init__(self, chat: Chat, state: StateOf = _no_state) -> None:
        """`state`: the latest ephemeral fact about a broadcast, given to new subscribers."""
        self._chat = chat
        self._state = state

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        room_id = _room_id(channel)
        try:
            room = await self._chat.room(room_id)
        except Problem as problem:
            raise _refused(problem) from None
        _check_scope(who, action)
        if action is Action.PUBLISH:
            if who is None:
                raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to write.")
            if not room.open:
                raise Refused(ErrorCode.CLOSED, ErrorCode.CLOSED.sentence)

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        room_id = _room_id(channel)
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to write.")
        _check_scope(who, Action.PUBLISH)
        caller = cast(Caller, who)  # wiring gives the sockets the same authenticator as the HTTP kit
        try:
            if "delete" in data:
                erase = msgspec.convert(data, DeleteBody)
                stored = await self._chat.delete(caller, room_id, erase.delete)
                return Published(Position(str(stored.epoch), stored.offset), {"id": str(erase.delete)})
            stored = await self._chat.write(caller, room_id, msgspec.convert(data, WriteBody))
        except msgspec.ValidationError as error:
            raise Refused(ErrorCode.BAD_MESSAGE, f"The data is not a chat message: {error}.") from None
        except Problem as problem:
            raise _refused(problem) from None
        except AWAY as error:
            raise _away(error) from error
        return Published(Position(str(stored.epoch), stored.offset), Said(stored.message))

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        history = await self._chat.history(_room_id(channel), since, limit)
        head = Position(str(history.epoch), history.head)
        return Slice(head, [_entry(entry, history) for entry in history.entries])

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        heads = await self._chat.heads([_room_id(channel) for channel in channels])
        return {channel_of(room_id): Position(str(epoch), offset) for room_id, (epoch, offset) in heads.items()}

    async def state(self, channel: str) -> Any:
        return await self._state(_room_id(channel))


def _check_scope(who: Identity | None, action: Action) -> None:
    """A program with an API key needs the scope that the same thing takes over HTTP."""
    scopes = None if who is None else cast(Caller, who).scopes
    needed = "chat:write" if action is Action.PUBLISH else "chat:read"
    if scopes is not None and needed not in scopes:
        raise Refused(ErrorCode.FORBIDDEN, f"This API key has not the scope {needed}.")


def _room_id(channel: str) -> UUID:
    text = channel.partition(":")[2]
    try:
        room_id = UUID(text)
    except ValueError:
        room_id = None
    if room_id is None or str(room_id) != text:  # one spelling, so that one room is one channel
        raise Refused(ErrorCode.UNKNOWN_CHANNEL, ErrorCode.UNKNOWN_CHANNEL.sentence)
    return room_id


def _entry(entry: LogEntry, history: History) -> Entry:
    erased = history.erased.get(entry.offset)
    erases = Entry(erased.offset, Payload(encode(Said(erased)))) if erased is not None else None
    return Entry(entry.offset, Payload(encode(entry.data)), erases)


def _refused(problem: Problem) -> Refused:
    if problem.status >= 500:
        return Refused(ErrorCode.UNAVAILABLE, problem.detail)
    return Refused(problem.code, problem.detail, problem.extra.get("retry_after"))


def _away(error: BaseException) -> Refused:
    log.warning("the chat's database does not answer: %r", error)
    return Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
