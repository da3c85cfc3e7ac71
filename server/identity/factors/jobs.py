"""What is done about second factors from time to time."""

from __future__ import annotations

from server.identity.factors import store
from server.kit.clock import now
from storage.postgres import Database

PRUNE_JOB = "identity.factors.prune"
PRUNE_CRON = "29 * * * *"


async def prune(database: Database) -> None:
    """Forget challenges that nobody can answer any more."""
    async with database.transaction() as connection:
        await store.prune(connection, now())
