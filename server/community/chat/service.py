"""Decides what is done in a chat, and hands it to the writer of its room.

Owns the writers of the rooms that something is being done in, what was read in the last second, and the task that shows
what was held back; all end with `close`. Everything else is in the database.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from uuid import UUID

from server.community.chat import text as texts
from server.community.chat.bodies import WriteBody
from server.community.chat.errors import NoSuchMessage, NoSuchRoom, NotStored, RoomClosed, TooFast
from server.community.chat.handling import Erase, Pin, React
from server.community.chat.held import Held
from server.community.chat.models import (
    Allowance,
    Audience,
    ChatLog,
    ChatMessage,
    Doors,
    Fanout,
    NoAudience,
    People,
    Room,
    Rooms,
    staff_channel_of,
)
from server.community.chat.options import ChatOptions
from server.community.chat.recall import Recall
from server.community.chat.recent import Recent
from server.community.chat.rights import Actor, Role
from server.community.chat.rules_store import RulesStore
from server.community.chat.state import States, entries
from server.community.chat.store import ChatStore, History
from server.community.chat.turn import Operation, Parts, Stored, Turn
from server.community.chat.view import Viewer
from server.community.chat.writer import AWAY, RoomWriter
from server.community.chat.writing import Edit, Release, Write, check_bonds, shadow_of
from server.kit.audit import Audit, NoAudit
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.http import decode_cursor, encode_cursor
from server.kit.ids import uuid7
from server.kit.limits import Limits, Rate, Verdict
from storage.postgres.database import Database

_BEFORE_START = timedelta(minutes=1)  # encoders' clocks differ from ours
_AHEAD = timedelta(seconds=5)
_NAME = re.compile(r"(?<![\w@])@(\w{1,40})")
_NOBODY = Actor(UUID(int=0), "", False)


class Chat:
    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        fanout: Fanout,
        *,
        options: ChatOptions | None = None,
        limits: Limits | None = None,
        audience: Audience | None = None,
        people: People | None = None,
        audit: Audit | None = None,
        doors: Doors | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """doors: who may watch what; without: everybody may all.

        limits: where authors' messages are counted; its owner closes it. Without: in this process. audience: who
        follows and subscribes to whom; without: that is not known here. people: whose names may be mentioned."""
        self.options = options or ChatOptions()
        self.store = ChatStore(database)
        self.rules = RulesStore(database)
        self.people = people
        self.database = database
        self.clock = clock
        self._parts = Parts(
            database,
            self.store,
            self.rules,
            fanout,
            audience or NoAudience(),
            audit or NoAudit(),
            self.options,
            Recall(),
        )
        self._fanout = fanout
        self._rooms = rooms
        self._doors = doors
        self._limits = limits or Limits()
        self._rate = _rate(self.options.burst, self.options.interval)
        self._reaction_rate = _rate(self.options.reaction_burst, self.options.reaction_interval)
        self._known_rooms: Recent[UUID, Room] = Recent(self.room, self.options.state_seconds)
        self._moderators: Recent[UUID, frozenset[UUID]] = Recent(self._read_moderators, self.options.state_seconds)
        self.states = States(database, self.store, self.rules, self.options)
        self._held = Held(self.store, self._release, clock)
        self._writers: dict[UUID, RoomWriter] = {}
        self._closed = False

    async def start(self) -> None:
        self._held.start()

    async def close(self) -> None:
        """Take nothing new; returns when what was taken is on disk."""
        self._closed = True
        await self._held.close()
        await asyncio.gather(*(writer.close() for writer in list(self._writers.values())))

    def describe(self) -> dict[str, int]:
        return {"rooms_written_in": len(self._writers), "rooms_known": len(self._parts.recall)}

    # who and where

    async def room(self, room_id: UUID) -> Room:
        """Raises NoSuchRoom."""
        room = await self._rooms.room(room_id)
        if room is None:
            raise NoSuchRoom("There is no such broadcast.")
        return room

    async def room_lately(self, room_id: UUID) -> Room:
        """As it was within the last second: for those who come in crowds and only read. Raises NoSuchRoom."""
        return await self._known_rooms.get(room_id)

    async def entered(self, caller: Caller | None, room_id: UUID) -> Room:
        """The room, for who may watch the broadcast. Raises NoSuchRoom."""
        room = await self.room(room_id)
        await self._check_door(caller, room_id)
        return room

    async def entered_lately(self, caller: Caller | None, room_id: UUID) -> Room:
        """The same, as it was within the last second."""
        room = await self.room_lately(room_id)
        await self._check_door(caller, room_id)
        return room

    async def _check_door(self, caller: Caller | None, room_id: UUID) -> None:
        try:
            if self._doors is None or await self._doors.may_still(room_id, caller):
                return
        except AWAY as error:
            raise NotStored("The chat cannot be asked right now; try again.") from error
        raise NoSuchRoom("There is no such broadcast, or it is not for you.")

    async def role(self, caller: Caller | None, room: Room) -> Role:
        """As it was within the last second; where it matters the transaction asks again."""
        if caller is None:
            return Role.GUEST
        actor = Actor.of(caller)
        if (role := actor.role(room.owner_id, ())).staff:  # whoever is named as a moderator
            return role
        try:
            moderators = await self._moderators.get(room.owner_id)
        except AWAY as error:
            raise NotStored("The chat cannot be asked right now; try again.") from error
        return actor.role(room.owner_id, moderators)

    async def viewer(self, caller: Caller | None, room: Room) -> Viewer:
        if caller is None:
            return Viewer()
        role = await self.role(caller, room)
        return await self.states.viewer(room.id, room.owner_id, caller.user_id, role.staff)

    async def shows_typing(self, caller: Caller, room: Room) -> bool:
        """Whether others are shown that he is writing: not of who is shadow-banned, and is not told so. Raises
        BannedHere, FollowersOnly, SubscribersOnly, NoSuchRoom."""
        at = self.clock()
        mode = (await self.states.state(room.id, room.owner_id, Viewer())).mode
        async with self.database.acquire() as connection:
            standing = await self.rules.standing(connection, room.owner_id, [caller.user_id])
            if Actor.of(caller).role(room.owner_id, standing.moderators).staff:
                return True
            shadow = shadow_of(standing, caller.user_id, at)
            await check_bonds(self._parts.bonds, connection, room.owner_id, caller.user_id, mode, at)
        return shadow is None

    # messages

    async def write(
        self, caller: Caller, room_id: UUID, body: WriteBody, origin: Origin | None = None
    ) -> tuple[Stored, Allowance]:
        """Returns once the message is on disk, with what is left to the author. Raises NoSuchRoom, RoomClosed, BadText,
        TooFast, NotStored and whatever `Write` refuses with."""
        room = await self.entered_lately(caller, room_id)
        if not room.open:
            raise RoomClosed("The broadcast has ended; its chat can be read, but not written.")
        text = texts.clean(body.text, self.options.max_length)
        verdict = await self._take(caller, room)
        at = self.clock()
        stored = await self.do(
            room,
            Write(
                id=uuid7(),
                actor=Actor.of(caller),
                text=text,
                at=at,
                media_time=_media_time(body.media_time, room, at),
                nonce=body.nonce,
                reply_to=body.reply_to,
                mentions=await self._mentioned(text),
                origin=origin,
            ),
        )
        return stored, _allowance(verdict, stored)

    async def edit(self, caller: Caller, room_id: UUID, message_id: UUID, text: str) -> Stored:
        """Raises NoSuchRoom, RoomClosed, BadText, TooFast, NotStored and whatever `Edit` refuses with."""
        room = await self.entered(caller, room_id)
        if not room.open:
            raise RoomClosed("The broadcast has ended; its chat can be read, but not written.")
        text = texts.clean(text, self.options.max_length)
        await self._take(caller, room)
        mentions = await self._mentioned(text)
        return await self.do(
            room,
            Edit(message_id=message_id, actor=Actor.of(caller), text=text, at=self.clock(), mentions=mentions),
        )

    async def delete(self, caller: Caller, room_id: UUID, message_id: UUID, origin: Origin | None = None) -> Stored:
        """Also after the broadcast has ended. Raises NoSuchRoom, NoSuchMessage, NotYours, NotStored."""
        room = await self.entered(caller, room_id)
        erase = Erase(message_id=message_id, actor=Actor.of(caller), at=self.clock(), origin=origin)
        return await self.do(room, erase)

    async def react(
        self, caller: Caller, room_id: UUID, message_id: UUID, emoji: str, *, remove: bool = False
    ) -> tuple[Stored, dict[str, int]]:
        """With all reactions to the message as the caller sees them. Raises NoSuchRoom, RoomClosed, TooFast, NotStored
        and whatever `React` refuses with."""
        room = await self.entered(caller, room_id)
        if not room.open:
            raise RoomClosed("The broadcast has ended; its chat can be read, but not written.")
        if not (await self.role(caller, room)).staff:
            verdict = await self._limits.take(f"chat-reaction:{caller.user_id.hex}", self._reaction_rate)
            if not verdict.allowed:
                raise TooFast("You are reacting too fast.", retry_after=verdict.retry_after)
        stored = await self.do(
            room,
            React(message_id=message_id, actor=Actor.of(caller), emoji=emoji, remove=remove, at=self.clock()),
        )
        viewer = await self.viewer(caller, room)
        return stored, viewer.with_own(message_id, stored.data)

    async def pin(
        self, caller: Caller, room_id: UUID, message_id: UUID, origin: Origin | None = None, *, remove: bool = False
    ) -> Stored:
        """Raises NoSuchRoom, NotYours, NoSuchMessage, TooMany, NotStored."""
        room = await self.entered(caller, room_id)
        pin = Pin(message_id=message_id, actor=Actor.of(caller), at=self.clock(), origin=origin, remove=remove)
        return await self.do(room, pin)

    async def do(self, room: Room, operation: Operation) -> Stored:
        """Returns when it is on disk and told. Raises NotStored, NoSuchRoom and what the operation refuses with."""
        if self._closed:
            raise NotStored("The server is stopping. Try again.")
        writer = self._writers.get(room.id)
        if writer is None:
            writer = RoomWriter(room.id, room.owner_id, self._parts, told=self._told, idle=self._writer_idle)
            self._writers[room.id] = writer
        return await writer.write(operation)

    # reading

    async def message(self, caller: Caller | None, room_id: UUID, message_id: UUID) -> ChatMessage:
        """With its reactions. Raises NoSuchRoom, NoSuchMessage."""
        room = await self.entered_lately(caller, room_id)
        viewer = await self.viewer(caller, room)
        found = await self.store.messages(room_id, [message_id])
        if not found or not viewer.sees_message(found[0]):
            raise NoSuchMessage("There is no such message in this chat.")
        return viewer.message(found[0])

    async def log(self, caller: Caller | None, room_id: UUID, since: int | None, limit: int) -> ChatLog:
        """As the caller sees it. Raises NoSuchRoom."""
        room = await self.entered_lately(caller, room_id)
        viewer = await self.viewer(caller, room)
        epoch, head, rows = await self.states.log(room_id, since, limit)
        after = rows[-1].offset if rows else min(since or 0, head)
        return ChatLog(epoch=str(epoch), offset=after, head=head, items=entries(rows, viewer))

    async def replay(
        self,
        caller: Caller | None,
        room_id: UUID,
        start: datetime | None,
        end: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[ChatMessage], str | None]:
        """Messages by the moment at which a replay shows them, as they stand now, and the cursor of the next page.
        Raises NoSuchRoom, BadCursor.
        """
        room = await self.entered_lately(caller, room_id)
        viewer = await self.viewer(caller, room)
        after = decode_cursor(cursor, datetime, int) if cursor is not None else None
        place = (after[0], after[1]) if after is not None else None
        kept = await self.store.replay(room_id, start, end, place, limit + 1, viewer.user_id, viewer.staff)
        messages = [viewer.message(one) for one in kept]
        if len(messages) <= limit:
            return messages, None
        last = messages[limit - 1]
        return messages[:limit], encode_cursor(last.media_time or last.at, last.offset)

    async def history(self, room_id: UUID, since: int | None, limit: int) -> History:
        """As it is in the database, for those who fill a hole with it."""
        return await self.store.history(room_id, since, limit)

    async def heads(self, room_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
        return await self.store.heads(room_ids)

    async def forget(self, room_id: UUID) -> None:
        """The broadcast was deleted: so is everything that was said beside it."""
        writer = self._writers.get(room_id)
        if writer is not None:
            await writer.close()
        await self.store.forget_room(room_id)
        self._parts.recall.drop(room_id)
        self._known_rooms.forget(room_id)

    def room_changed(self, room_id: UUID) -> None:
        """Its broadcast has begun or ended: what was known of it a moment ago holds no more."""
        self._known_rooms.forget(room_id)

    # within

    async def _take(self, caller: Caller, room: Room) -> Verdict | None:
        """None: he is not limited. Raises TooFast."""
        if (await self.role(caller, room)).staff:
            return None
        verdict = await self._limits.take(f"chat:{caller.user_id.hex}", self._rate)
        if not verdict.allowed:
            raise TooFast("You are writing too fast.", retry_after=verdict.retry_after)
        return verdict

    async def _mentioned(self, text: str) -> tuple[UUID, ...]:
        if self.people is None or "@" not in text:
            return ()
        names = list(dict.fromkeys(name.lower() for name in _NAME.findall(text)))[: self.options.mentions]
        found = [await self.people.by_username(name) for name in names]
        return tuple(dict.fromkeys(person.id for person in found if person is not None))

    async def _release(self, room_id: UUID, message_id: UUID) -> None:
        room = await self._rooms.room(room_id)
        if room is not None:  # else the message goes in a moment
            await self.do(room, Release(message_id=message_id, actor=_NOBODY, at=self.clock()))

    async def _read_moderators(self, owner_id: UUID) -> frozenset[UUID]:
        return frozenset(id for id, _ in await self.rules.moderators(owner_id))

    def _told(self, turn: Turn) -> None:
        if not turn.rows:
            return
        self.states.forget(turn.room_id, turn.owner_id)
        for row in turn.rows:
            if row.kind == "moderator":
                self._moderators.forget(turn.owner_id)
            if row.kept is not None and row.kept.held_until is not None:
                self._held.expect(row.kept.held_until)
        if turn.recheck_staff:
            self._fanout.recheck(staff_channel_of(turn.room_id))

    def _writer_idle(self, room_id: UUID) -> None:
        self._writers.pop(room_id, None)


def _rate(burst: int, interval: float) -> Rate:
    burst = max(burst, 1)
    return Rate(burst, burst * interval)


def _allowance(verdict: Verdict | None, stored: Stored) -> Allowance:
    """stored.data: the seconds of slow mode that its author is under."""
    if verdict is None:
        return Allowance(left=None, next_in=0.0)
    next_in = verdict.reset if verdict.remaining == 0 else 0.0
    left = verdict.remaining
    if stored.data:
        left, next_in = 0, max(next_in, float(stored.data))
    return Allowance(left=left, next_in=round(next_in, 3))


def _media_time(claimed: datetime | None, room: Room, at: datetime) -> datetime | None:
    """What the author says he saw, when it can be true."""
    started = room.started_at
    if claimed is None or started is None or not started - _BEFORE_START <= claimed <= at + _AHEAD:
        return None
    return claimed


__all__ = ["AWAY", "Chat", "ChatOptions"]
