"""The chat as channels of the socket: `live:{broadcast id}` for everybody, and `staff:{broadcast id}` for those who
moderate it: the same places, nothing hidden. Translates between realtime's questions and the service.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import msgspec

from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position
from realtime.rules import Action, Identity, Published, Refused, Slice, Unheard
from server.community.chat import bodies
from server.community.chat.models import Sent
from server.community.chat.moderation import Moderation
from server.community.chat.rights import Role
from server.community.chat.service import Chat
from server.community.chat.turn import Stored
from server.community.chat.view import PUBLIC, STAFF, Viewer, entry
from server.community.chat.writer import AWAY
from server.kit.auth import Caller
from server.kit.problems import Problem

log = logging.getLogger(__name__)

StateOf = Callable[[UUID], Awaitable[Any]]
_WRITES = (Action.PUBLISH, Action.TYPING)


async def _no_state(_: UUID) -> None:
    return None


class ChatChannels:
    """Realtime's ChannelRules for the prefix `live`."""

    def __init__(self, chat: Chat, state: StateOf = _no_state) -> None:
        """`state`: the latest ephemeral fact about a broadcast, given to new subscribers."""
        self._chat = chat
        self._moderation = Moderation(chat)
        self._state = state

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        room_id = _room_id(channel)
        try:
            # crowds come back at once: who only reads is answered from what was read a moment ago
            enter = self._chat.entered if action is Action.PUBLISH else self._chat.entered_lately
            room = await enter(cast("Caller | None", who), room_id)
        except Problem as problem:
            raise _refused(problem) from None
        _check_scope(who, action)
        if action is Action.PRESENCE and who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to see who is here.")
        if action in _WRITES:
            if who is None:
                raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to write.")
            if not room.open:
                raise Refused(ErrorCode.CLOSED, ErrorCode.CLOSED.sentence)
        if action is Action.TYPING:
            try:
                shown = await self._chat.shows_typing(cast(Caller, who), room)
            except Problem as problem:
                raise _refused(problem) from None
            except AWAY as error:
                raise _away(error) from error
            if not shown:
                raise Unheard

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        room_id = _room_id(channel)
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to write.")
        _check_scope(who, Action.PUBLISH)
        caller = cast(Caller, who)  # wiring gives the sockets the same authenticator as the HTTP kit
        try:
            stored, answer = await self._do(caller, room_id, data)
        except msgspec.ValidationError as error:
            raise Refused(ErrorCode.BAD_MESSAGE, f"The data is nothing that a chat takes: {error}.") from None
        except Problem as problem:
            raise _refused(problem) from None
        except AWAY as error:
            raise _away(error) from error
        return Published(Position(str(stored.epoch), stored.offset), answer)

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        return await self._slice(channel, since, limit, PUBLIC)

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        by_room = {_room_id(channel): channel for channel in channels}
        heads = await self._chat.heads(list(by_room))
        return {by_room[room_id]: Position(str(epoch), offset) for room_id, (epoch, offset) in heads.items()}

    async def state(self, channel: str) -> Any:
        return await self._state(_room_id(channel))

    def state_changed(self, channel: str) -> None:
        """The hub was told so, of any channel."""
        prefix, _, id = channel.partition(":")
        if prefix == "live":
            self._chat.room_changed(UUID(id))

    async def _slice(self, channel: str, since: int | None, limit: int, viewer: Viewer) -> Slice:
        history = await self._chat.history(_room_id(channel), since, limit)
        head = Position(str(history.epoch), history.head)
        rows = history.rows
        reacted = {row.kept.message.id for row in rows if row.kind == "reactions" and row.kept is not None}
        hidden = await self._chat.store.hidden_on(reacted) if reacted and not viewer.staff else {}
        if hidden:
            rows = [
                replace(row, own=hidden.get(row.kept.message.id, {}))
                if row.kind == "reactions" and row.kept is not None
                else row
                for row in rows
            ]
        return Slice(head, [entry(row, viewer) for row in rows])

    async def _do(self, caller: Caller, room_id: UUID, data: Mapping[str, Any]) -> tuple[Stored, Any]:
        """The deed is named by its member; without one it is a message."""
        chat, moderation = self._chat, self._moderation
        if "edit" in data:
            edit = msgspec.convert(data, bodies.EditDeed)
            stored = await chat.edit(caller, room_id, edit.edit, edit.text)
            return stored, {"message": stored.message}
        if "delete" in data:
            erase = msgspec.convert(data, bodies.DeleteBody)
            return await chat.delete(caller, room_id, erase.delete), {"id": str(erase.delete)}
        if "react" in data:
            react = msgspec.convert(data, bodies.ReactDeed)
            stored, counts = await chat.react(caller, room_id, react.react, react.emoji, remove=react.remove)
            return stored, {"id": str(react.react), "counts": counts}
        if "pin" in data:
            pin = msgspec.convert(data, bodies.PinDeed)
            return await chat.pin(caller, room_id, pin.pin), {"id": str(pin.pin)}
        if "unpin" in data:
            unpin = msgspec.convert(data, bodies.UnpinDeed)
            return await chat.pin(caller, room_id, unpin.unpin, remove=True), {"id": str(unpin.unpin)}
        if "mode" in data:
            stored, mode = await moderation.set_mode(caller, room_id, msgspec.convert(data, bodies.ModeDeed).mode)
            return stored, {"mode": mode}
        if "ban" in data:
            ban = msgspec.convert(data, bodies.BanDeed)
            stored, view = await moderation.ban(caller, room_id, ban.ban, ban)
            return stored, view
        if "unban" in data:
            unban = msgspec.convert(data, bodies.UnbanDeed)
            return await moderation.unban(caller, room_id, unban.unban), {"user": str(unban.unban)}
        stored, allowance = await chat.write(caller, room_id, msgspec.convert(data, bodies.WriteBody))
        return stored, Sent(message=stored.message, allowance=allowance)


class StaffChannels(ChatChannels):
    """Realtime's ChannelRules for the prefix `staff`."""

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        await super().authorize(who, channel, action)
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to moderate.")
        room = await self._chat.room_lately(_room_id(channel))
        if await self._chat.role(cast(Caller, who), room) < Role.MODERATOR:
            raise Refused(ErrorCode.FORBIDDEN, "Only those who moderate the chat see this.")

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        return await self._slice(channel, since, limit, STAFF)


def _check_scope(who: Identity | None, action: Action) -> None:
    """A program with an API key needs the scope that the same thing takes over HTTP."""
    scopes = None if who is None else cast(Caller, who).scopes
    needed = "chat:write" if action in _WRITES else "chat:read"
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


def _refused(problem: Problem) -> Refused:
    if problem.status >= 500:
        return Refused(ErrorCode.UNAVAILABLE, problem.detail)
    return Refused(problem.code, problem.detail, problem.extra.get("retry_after"))


def _away(error: BaseException) -> Refused:
    log.warning("the chat's database does not answer: %r", error)
    return Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
