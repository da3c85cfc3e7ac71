"""Decides what is said in a chat: who may write and delete, how often, what a message may be.

Owns the writers of the rooms that are being written in; they end with `close`. Everything else is in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from server.community.chat import text as texts
from server.community.chat.errors import NoSuchRoom, NotStored, RoomClosed, TooFast
from server.community.chat.models import (
    Author,
    ChatLog,
    ChatMessage,
    Fanout,
    Room,
    Rooms,
    WriteBody,
)
from server.community.chat.store import ChatStore, History
from server.community.chat.writer import AWAY, Erase, Operation, RoomWriter, Stored, Write
from server.kit.auth import Caller
from server.kit.clock import now
from server.kit.http import decode_cursor, encode_cursor
from server.kit.ids import uuid7
from server.kit.limits import Limits, Rate
from server.kit.ownership import may
from storage.postgres.database import Database

_BEFORE_START = timedelta(minutes=1)  # encoders' clocks differ from ours
_AHEAD = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    max_length: int = 500  # characters
    burst: int = 5  # messages that an author may send at once…
    interval: float = 1.0  # …then one each, s


class Chat:
    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        fanout: Fanout,
        *,
        options: ChatOptions | None = None,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """limits: where authors' messages are counted; its owner closes it. Without: in this process."""
        self._database = database
        self._store = ChatStore(database)
        self._rooms = rooms
        self._fanout = fanout
        self._options = options or ChatOptions()
        self._clock = clock
        self._limits = limits or Limits()
        burst = max(self._options.burst, 1)
        self._rate = Rate(burst, burst * self._options.interval)
        self._writers: dict[UUID, RoomWriter] = {}
        self._closed = False

    async def close(self) -> None:
        """Take nothing new; returns when what was taken is on disk."""
        self._closed = True
        await asyncio.gather(*(writer.close() for writer in list(self._writers.values())))

    def describe(self) -> dict[str, int]:
        return {"rooms_written_in": len(self._writers)}

    async def room(self, room_id: UUID) -> Room:
        """Raises NoSuchRoom."""
        room = await self._rooms.room(room_id)
        if room is None:
            raise NoSuchRoom("There is no such broadcast.")
        return room

    async def write(self, caller: Caller, room_id: UUID, body: WriteBody) -> Stored:
        """Returns once the message is on disk. Raises NoSuchRoom, RoomClosed, BadText, TooFast, NotStored."""
        room = await self.room(room_id)
        if not room.open:
            raise RoomClosed("The broadcast has ended; its chat can be read, but not written.")
        text = texts.clean(body.text, self._options.max_length)
        verdict = await self._limits.take(f"chat:{caller.user_id.hex}", self._rate)
        if not verdict.allowed:
            raise TooFast("You are writing too fast.", retry_after=verdict.retry_after)
        at = self._clock()
        return await self._write(
            room_id,
            Write(
                id=uuid7(),
                author=Author(caller.user_id, caller.username),
                text=text,
                at=at,
                media_time=_media_time(body.media_time, room, at),
                nonce=body.nonce,
            ),
        )

    async def delete(self, caller: Caller, room_id: UUID, message_id: UUID) -> Stored:
        """Also after the broadcast has ended. Raises NoSuchRoom, NoSuchMessage, NotYours, NotStored."""
        room = await self.room(room_id)
        return await self._write(
            room_id,
            Erase(
                message_id=message_id,
                by=caller.user_id,
                at=self._clock(),
                any_author=may(caller, room.owner_id, "chat.moderate"),
            ),
        )

    async def log(self, room_id: UUID, since: int | None, limit: int) -> ChatLog:
        """Raises NoSuchRoom."""
        await self.room(room_id)
        history = await self.history(room_id, since, limit)
        after = history.entries[-1].offset if history.entries else min(since or 0, history.head)
        return ChatLog(epoch=str(history.epoch), offset=after, head=history.head, items=history.entries)

    async def replay(
        self, room_id: UUID, start: datetime | None, end: datetime | None, cursor: str | None, limit: int
    ) -> tuple[list[ChatMessage], str | None]:
        """Messages by the moment at which a replay shows them, and the cursor of the next page. Raises NoSuchRoom,
        BadCursor.
        """
        await self.room(room_id)
        after = decode_cursor(cursor, datetime, int) if cursor is not None else None
        place = (after[0], after[1]) if after is not None else None
        messages = await self._store.replay(room_id, start, end, place, limit + 1)
        if len(messages) <= limit:
            return messages, None
        last = messages[limit - 1]
        return messages[:limit], encode_cursor(last.media_time or last.at, last.offset)

    async def history(self, room_id: UUID, since: int | None, limit: int) -> History:
        return await self._store.history(room_id, since, limit)

    async def heads(self, room_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
        return await self._store.heads(room_ids)

    async def forget(self, room_id: UUID) -> None:
        """The broadcast was deleted: so is everything that was said beside it."""
        writer = self._writers.get(room_id)
        if writer is not None:
            await writer.close()
        await self._store.forget_room(room_id)

    async def _write(self, room_id: UUID, operation: Operation) -> Stored:
        if self._closed:
            raise NotStored("The server is stopping. Try again.")
        writer = self._writers.get(room_id)
        if writer is None:
            writer = RoomWriter(room_id, self._database, self._store, self._fanout, self._writer_idle)
            self._writers[room_id] = writer
        return await writer.write(operation)

    def _writer_idle(self, room_id: UUID) -> None:
        self._writers.pop(room_id, None)


def _media_time(claimed: datetime | None, room: Room, at: datetime) -> datetime | None:
    """What the author says he saw, when it can be true."""
    started = room.started_at
    if claimed is None or started is None or not started - _BEFORE_START <= claimed <= at + _AHEAD:
        return None
    return claimed


__all__ = ["AWAY", "Chat", "ChatOptions"]
