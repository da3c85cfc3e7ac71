"""Who holds which broadcast's live side: leases renewed, lost, and taken over from processes that are gone.

A lease is a row's owner with a fencing number and an end. Leases owns one task that beats a few times within a lease;
it lives as long as its Director.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Protocol

from server.streaming.broadcasts import store
from server.streaming.broadcasts.live import Live
from server.streaming.broadcasts.models import Broadcast, State
from storage.objects import StoreError
from storage.postgres.database import Database

log = logging.getLogger(__name__)

BEATS = 3
"""A lease is renewed so often before it would run out."""


class Audience(Protocol):
    """How many watch."""

    def count(self, broadcast_id: str) -> int: ...


class Holder(Protocol):
    """The Director, as its leases see it."""

    def __iter__(self) -> Iterator[Live]: ...

    def get(self, id: str) -> Live | None: ...

    def lost(self, live: Live) -> None: ...

    def behind(self, live: Live) -> None: ...

    async def resume(self, row: Broadcast, lease_until: datetime | None) -> None: ...


class Leases:
    def __init__(self, database: Database, holder: Holder, audience: Audience, node: str, lease: timedelta) -> None:
        self._database = database
        self._holder = holder
        self._audience = audience
        self._node = node
        self._lease = lease
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Continue what an earlier process left, then keep what is ours."""
        await self._pick_up()
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        pause = self._lease.total_seconds() / BEATS
        while True:
            await asyncio.sleep(pause)
            try:
                await self._renew()
                await self._pick_up()
            except Exception:
                log.exception("leases could not be renewed; trying again in %.0f s", pause)

    async def close(self) -> None:
        """No more beats. Giving the leases up is the Director's, when everything is written."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _renew(self) -> None:
        held = [live for live in self._holder if live.state is not State.ENDED]
        if not held:
            return
        facts = [(live.row.id, live.fence, self._audience.count(live.id)) for live in held]
        async with self._database.acquire() as conn:
            ours = await store.renew(conn, self._node, facts, self._lease)
        for live in held:
            if self._holder.get(live.id) is not live or live.state is State.ENDED:
                continue
            if live.row.id in ours:
                self._holder.behind(live)
            else:
                self._holder.lost(live)

    async def _pick_up(self) -> None:
        async with self._database.acquire() as conn:
            left = await store.left_behind(conn, self._node)
        for row, lease_until in left:
            if self._holder.get(str(row.id)) is not None:
                continue
            try:
                await self._holder.resume(row, lease_until)
            except StoreError as error:
                # its journal is in a store that is away; the next beat tries again
                log.warning("broadcast %s cannot be continued yet: %s", row.id, error)
            except Exception:
                # one that cannot be continued keeps no other from it, nor the server from starting
                log.exception("broadcast %s cannot be continued", row.id)
