"""What restreaming keeps of a person: where his broadcasts are pushed to. Stream keys are in no archive.

Implements server.kit.personal.PersonalData; owns nothing between calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from server.kit.personal import Item, one
from server.streaming.restream import store
from storage.postgres import Connection, Database


class RestreamData:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        async with self._database.acquire() as conn:
            targets = await store.of_user(conn, user_id)
        if targets:
            told = [
                {
                    "id": target.id,
                    "name": target.name,
                    "url": target.url,
                    "key_hint": target.key_hint,
                    "enabled": target.enabled,
                    "created_at": target.created_at,
                }
                for target in targets
            ]
            yield Item("streaming/targets.json", one(told))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """His broadcasts end, and the pushes with them."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        pass

    async def hand_over(self, connection: Connection, user_id: UUID) -> None:
        """The account is another person's from now on: the keys are not his."""
        await store.delete_of(connection, user_id)

    async def erase(self, user_id: UUID) -> None:
        async with self._database.transaction() as conn:
            await store.delete_of(conn, user_id)
