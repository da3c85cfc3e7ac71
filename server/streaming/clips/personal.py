"""What clips keep of a person: what his are of, and who may make clips of what is his. The clips themselves are videos.

Implements server.kit.personal.PersonalData; owns nothing between calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from server.kit.personal import Item, one, rows
from server.streaming.clips import store
from storage.postgres import Connection, Database

BATCH = 200


class ClipsData:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        yield Item("clips/clips.json", rows(self._clips(user_id)))
        async with self._database.acquire() as conn:
            yield Item("clips/rules.json", one(await store.rules_of(conn, user_id)))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """His clips are suspended as videos; those that others made of what is his stay."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        pass

    async def erase(self, user_id: UUID) -> None:
        async with self._database.transaction() as conn:
            await store.erase(conn, user_id)

    async def _clips(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                found = await store.all_of_maker(conn, user_id, after, BATCH)
            if not found:
                return
            yield [msgspec.structs.asdict(clip) for clip in found]
            after = found[-1].video_id
