"""Following as part of a person's data. Implements server.kit.personal.PersonalData."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from server.community.follows import store
from server.kit.personal import Item, rows
from storage.postgres import Connection, Database

BATCH = 500


class FollowsData:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        yield Item("follows/following.json", rows(self._rows(user_id, "following")))
        yield Item("follows/followers.json", rows(self._rows(user_id, "followers")))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        await store.set_away(connection, user_id, True)

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        await store.set_away(connection, user_id, False)

    async def erase(self, user_id: UUID) -> None:
        while True:
            async with self._database.transaction() as connection:
                found = await store.some_of(connection, user_id, BATCH)
                if not found:
                    await store.forget(connection, user_id)
                    return
                held = await store.hold(connection, {id for pair in found for id in pair})
                for follower_id, followee_id in found:
                    await store.remove(connection, follower_id, followee_id, counted=not held[follower_id])

    async def _rows(self, user_id: UUID, direction: store.Direction) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as connection:
                found = await store.all_of(connection, user_id, direction, after, BATCH)
            if not found:
                return
            yield found
            after = found[-1]["user_id"]
