"""What happens to broadcasts later: recordings that are past their time are deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from server.kit.clock import now
from server.streaming.broadcasts import store
from server.streaming.broadcasts.live import prefix
from storage.postgres.database import Database

BATCH = 100


class Files(Protocol):
    """The spool in a server, the bare store in a worker."""

    async def delete_prefix(self, prefix: str) -> int: ...


async def delete_files(files: Files, id: str) -> int:
    """Everything that a broadcast has in the store; the number of objects."""
    return await files.delete_prefix(prefix(id))


async def forget_recording(database: Database, id: UUID) -> None:
    """The row says that nothing of it is kept."""
    async with database.acquire() as conn:
        await store.forget_recording(conn, id)


async def sweep(database: Database, files: Files, days: int) -> int:
    """Delete recordings that ended more than `days` ago (0: never); how many. Files go first, so that a crash between
    repeats it."""
    if not days:
        return 0
    deleted = 0
    while True:
        async with database.transaction() as conn:
            old = await store.expired_recordings(conn, now() - timedelta(days=days), BATCH)
            for id in old:
                await delete_files(files, str(id))
                await store.forget_recording(conn, id)
        deleted += len(old)
        if len(old) < BATCH:
            return deleted
