"""What uploads keep of a person: files that are not complete, or not yet videos. The videos are their own part.

Implements server.kit.personal.PersonalData; owns nothing between calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from server.kit.personal import Item, one
from server.streaming.uploads import store
from storage.objects import Parts
from storage.postgres import Connection, Database


class UploadsData:
    def __init__(self, database: Database, parts: Parts) -> None:
        self._database = database
        self._parts = parts

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        """What an upload has brought so far is no file yet; of videos their own part tells."""
        async with self._database.acquire() as conn:
            uploads = await store.of_user(conn, user_id)
        if uploads:
            told = [
                {
                    "id": upload.id,
                    "video_id": upload.video_id,
                    "state": upload.state,
                    "length": upload.length,
                    "received": upload.received,
                    "metadata": upload.metadata,
                    "expires_at": upload.expires_at,
                }
                for upload in uploads
            ]
            yield Item("streaming/uploads.json", one(told))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """His sessions end, and nothing more comes; what has come expires by itself."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        pass

    async def hand_over(self, connection: Connection, user_id: UUID) -> None:
        """The account is another person's from now on: what was not complete goes."""
        await store.expire_all(connection, user_id)

    async def erase(self, user_id: UUID) -> None:
        async with self._database.acquire() as conn:
            uploads = await store.of_user(conn, user_id)
        for upload in uploads:
            # the row first: whoever brings bytes is told at his next ones, and removes what he brought
            async with self._database.transaction() as conn:
                await store.delete(conn, [upload.id])
            await self._parts.abort(upload.place)
