"""What a chat is right now, and the end of its log, for everybody who asks: read once, then cut for each viewer.

The place is read first and the rest after it. So the rest may be newer than the place says, never older; and as every
change says what is so after it, going on from the place ends in the same state as having been there all along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from server.community.chat.bodies import ChatState, EmoteView
from server.community.chat.models import LogEntry
from server.community.chat.options import ChatOptions
from server.community.chat.recent import Recent
from server.community.chat.rules_store import RulesStore
from server.community.chat.store import ChatStore, History, RoomRow
from server.community.chat.view import Kept, LogRow, Viewer, change
from storage.postgres.database import Database

_LOG_KEPT = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """private_to: people of whom something in here is hidden from others."""

    room: RoomRow
    pins: Sequence[Kept]
    moderators: Sequence[UUID]
    emotes: Sequence[EmoteView]
    latest: Sequence[Kept]
    private_to: frozenset[UUID]


class States:
    """Owns what was read in the last second (`Recent`)."""

    def __init__(self, database: Database, store: ChatStore, rules: RulesStore, options: ChatOptions) -> None:
        self._database = database
        self._store = store
        self._rules = rules
        self._most = options.state_messages
        self._snapshots: Recent[tuple[UUID, UUID], Snapshot] = Recent(self._read, options.state_seconds)
        self._ends: Recent[UUID, History] = Recent(self._read_end, options.state_seconds)

    def forget(self, room_id: UUID, owner_id: UUID) -> None:
        self._snapshots.forget((room_id, owner_id))
        self._ends.forget(room_id)

    async def viewer(self, room_id: UUID, owner_id: UUID, user_id: UUID | None, staff: bool) -> Viewer:
        """What the person sees besides what all see."""
        if user_id is None:
            return Viewer()
        snapshot = await self._snapshots.get((room_id, owner_id))
        own = await self._store.hidden_reactions(room_id, user_id) if user_id in snapshot.private_to else {}
        return Viewer(user_id, staff, own)

    async def state(self, room_id: UUID, owner_id: UUID, viewer: Viewer) -> ChatState:
        snapshot = await self._snapshots.get((room_id, owner_id))
        latest = [kept for kept in snapshot.latest if viewer.sees_message(kept)]
        return ChatState(
            epoch=str(snapshot.room.epoch),
            offset=snapshot.room.offset,
            mode=snapshot.room.mode,
            pins=[viewer.message(kept) for kept in snapshot.pins if viewer.sees_message(kept)],
            moderators=list(snapshot.moderators),
            emotes=list(snapshot.emotes),
            messages=[viewer.message(kept) for kept in latest[-self._most :]],
        )

    async def log(self, room_id: UUID, since: int | None, limit: int) -> tuple[int, int, list[LogRow]]:
        """Epoch, last place, changes. From memory when they are of the last ones."""
        end = await self._ends.get(room_id)
        begin = end.rows[0].offset - 1 if end.rows else end.head
        if since is None and (limit <= len(end.rows) or begin == 0):
            return end.epoch, end.head, end.rows[-limit:]
        if since is not None and since >= begin:
            return end.epoch, end.head, [row for row in end.rows if row.offset > since][:limit]
        history = await self._store.history(room_id, since, limit)
        return history.epoch, history.head, history.rows

    async def _read(self, key: tuple[UUID, UUID]) -> Snapshot:
        room_id, owner_id = key
        room = await self._store.room(room_id)
        moderators = await self._rules.moderators(owner_id)
        async with self._database.acquire() as connection:
            emotes = await self._rules.emotes(connection, owner_id)
        if room.offset == 0:
            return Snapshot(room, (), [id for id, _ in moderators], _emotes(emotes), (), frozenset())
        private_to = await self._store.private_to(room_id)
        return Snapshot(
            room,
            await self._store.messages(room_id, room.pins) if room.pins else (),
            [id for id, _ in moderators],
            _emotes(emotes),
            # one who was hidden may have written a good part of them
            await self._store.latest(room_id, self._most * (2 if private_to else 1)),
            private_to,
        )

    async def _read_end(self, room_id: UUID) -> History:
        return await self._store.history(room_id, None, _LOG_KEPT)


def entries(rows: Sequence[LogRow], viewer: Viewer) -> list[LogEntry]:
    return [LogEntry(row.offset, change(row, viewer)) for row in rows]


def _emotes(emotes: dict[str, str]) -> list[EmoteView]:
    return [EmoteView(name=name, art=art) for name, art in emotes.items()]
