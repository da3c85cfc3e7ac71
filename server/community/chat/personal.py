"""What the chat keeps of a person: what he has said. Implements server.kit.personal.PersonalData.

When he leaves, his messages are deleted as he could have done himself: the text goes, the places of the log stay dense,
and whoever looks on sees them go. Beyond that nothing says any more that they were his.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from server.community.chat.errors import NoSuchRoom
from server.community.chat.store import ChatStore
from server.kit.clock import now
from server.kit.personal import Item, rows
from storage.postgres import Connection, Database

BATCH = 500


class ChatData:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._store = ChatStore(database)

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        yield Item("chat/messages.json", rows(self._messages(user_id)))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """What he has said stays in its conversations until it is erased: he may come back."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        """Nothing was taken away."""

    async def erase(self, user_id: UUID) -> None:
        while True:
            async with self._database.transaction() as connection:
                room_id = await self._store.room_of(connection, user_id)
                if room_id is None:
                    break
                # one that is being forgotten has no log to go on with, and its messages go in a moment
                with contextlib.suppress(NoSuchRoom):
                    await self._store.lock(connection, room_id)
                await self._store.erase_some(connection, room_id, user_id, now(), BATCH)
        async with self._database.transaction() as connection:
            await self._store.forget_deeds(connection, user_id)

    async def _messages(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            found = await self._store.said_by(user_id, after, BATCH)
            if not found:
                return
            yield [dict(row) for row in found]
            after = found[-1]["id"]
