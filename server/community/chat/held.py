"""Shows what was held back for a chat's delay once its time has come.

Owns one task from `start` to `close`. What is held is in the database, so that it is shown also when the process that
took it has died; each process looks, and whoever is first shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from server.community.chat.store import ChatStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often one looks for what another process held back and left."""
_AT_ONCE = 200


class Held:
    def __init__(
        self,
        store: ChatStore,
        release: Callable[[UUID, UUID], Awaitable[object]],
        clock: Callable[[], datetime],
    ) -> None:
        """release: shows one message of a room."""
        self._store = store
        self._release = release
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._next: datetime | None = None
        self._sooner = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def expect(self, at: datetime) -> None:
        """Something was held back until then."""
        if self._next is None or at < self._next:
            self._next = at
            self._sooner.set()

    async def _run(self) -> None:
        while True:
            self._sooner.clear()
            seconds = LOOK_SECONDS
            if self._next is not None:
                seconds = min(max((self._next - self._clock()).total_seconds(), 0.02), LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._sooner.wait()
                    continue
            try:
                await self._look()
            except Exception as error:
                log.warning("what is held back in chats cannot be shown: %r", error)
                await asyncio.sleep(1)

    async def _look(self) -> None:
        at = self._clock()
        first = await self._store.held(_AT_ONCE)
        due = [(room_id, id) for room_id, id, until in first if until <= at]
        results = await asyncio.gather(*(self._release(*one) for one in due), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            log.warning("%d messages that were held back could not be shown: %r", len(failed), failed[0])
            await asyncio.sleep(1)
        if self._next is not None and self._next <= at:
            self._next = None
        if failed or len(due) == _AT_ONCE:
            self.expect(at)
        elif len(due) < len(first):
            self.expect(first[len(due)][2])
