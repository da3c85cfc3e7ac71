"""What the chat keeps of a person: what he has said and done there, and the rules of his own channel. Implements
server.kit.personal.PersonalData.

When he leaves, his messages are deleted as he could have done himself: the text goes, the places of the log stay dense,
and whoever looks on sees them go. So do his reactions. Beyond that nothing says any more that any of it was his.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

from server.community.chat.errors import NoSuchRoom
from server.community.chat.personal_store import PersonalStore
from server.community.chat.store import ChatStore
from server.kit.clock import now
from server.kit.personal import Item, one, rows
from storage.postgres import Connection, Database

BATCH = 500


class ChatData:
    def __init__(self, database: Database, reread: Callable[[UUID], None] = lambda _: None) -> None:
        """reread: told of each room in which something of his is gone, so that nothing of it stays in memory. Without,
        the rooms' own comparing with the database finds it within seconds."""
        self._database = database
        self._reread = reread
        self._rooms = ChatStore(database)
        self._store = PersonalStore(database)

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        yield Item("chat/messages.json", rows(self._messages(user_id)))
        yield Item("chat/reactions.json", rows(self._reactions(user_id)))
        # also a ban that he was not told of: the law gives him what is kept about him
        yield Item("chat/rules.json", one(await self._store.rules(user_id)))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """What he has said stays in its conversations until it is erased: he may come back."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        """Nothing was taken away."""

    async def erase(self, user_id: UUID) -> None:
        changed: set[UUID] = set()
        try:
            await self._erase(user_id, changed)
        finally:  # also when it goes on later
            for room_id in changed:
                self._reread(room_id)

    async def _erase(self, user_id: UUID, changed: set[UUID]) -> None:
        while True:
            async with self._database.transaction() as connection:
                room_id = await self._store.room_of(connection, user_id)
                if room_id is None:
                    break
                await self._hold(connection, room_id)
                await self._store.erase_some(connection, room_id, user_id, now(), BATCH)
                changed.add(room_id)
        while True:
            async with self._database.transaction() as connection:
                room_id = await self._store.room_reacted_in(connection, user_id)
                if room_id is None:
                    break
                await self._hold(connection, room_id)
                await self._store.take_reactions(connection, room_id, user_id, now(), BATCH)
                changed.add(room_id)
        while True:
            async with self._database.transaction() as connection:
                if not await self._store.forget_mentions(connection, user_id, BATCH):
                    break
        async with self._database.transaction() as connection:
            await self._store.forget_deeds(connection, user_id)

    async def _hold(self, connection: Connection, room_id: UUID) -> None:
        # one that is being forgotten has no log to go on with, and its messages go in a moment
        with contextlib.suppress(NoSuchRoom):
            await self._rooms.lock(connection, room_id)

    async def _messages(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            found = await self._store.said_by(user_id, after, BATCH)
            if not found:
                return
            yield [dict(row) for row in found]
            after = found[-1]["id"]

    async def _reactions(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: tuple[UUID, str] | None = None
        while True:
            found = await self._store.reactions_of(user_id, after, BATCH)
            if not found:
                return
            yield [dict(row) for row in found]
            after = (found[-1]["message_id"], found[-1]["emoji"])
