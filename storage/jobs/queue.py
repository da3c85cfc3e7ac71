"""Putting jobs into the queue. Holds nothing: a job is a row in the caller's transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.queries import Queries

from storage.postgres.database import Connection


class Jobs:
    async def enqueue(
        self,
        conn: Connection | asyncpg.Connection[asyncpg.Record],
        name: str,
        payload: bytes | msgspec.Struct = b"",
        *,
        dedupe: str | None = None,
        after: timedelta | None = None,
        priority: int = 0,
    ) -> bool:
        """Have the job done once this transaction commits; never, if it is rolled back.

        payload: bytes, or a struct that is stored as JSON. dedupe: while a job of this key waits or runs, another is
        not added (and the transaction goes on). after: not before this much time. priority: the highest is taken
        first, then the oldest. True when the job was added.
        """
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        queries = Queries(AsyncpgDriver(_plain(conn)))
        if dedupe is None:
            return bool(await queries.enqueue(name, body, priority, execute_after=after))
        # One statement that skips: no error that would spoil the caller's transaction.
        added = await queries.enqueue(name, body, priority, execute_after=after, dedupe_key=dedupe, on_conflict="skip")
        return added[0] is not None


def _plain(conn: Any) -> asyncpg.Connection[asyncpg.Record]:
    """A pool's connection stands in for the real one in everything the driver does."""
    connection: asyncpg.Connection[asyncpg.Record] = conn
    return connection
