"""Work on bytes in a thread, behind whoever brings them.

What comes while the thread is at work is taken by the next in one go: many small pieces cost few threads, and the one
who brings them waits only when more is under way than may be. Owns that thread's work until `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

MOST = 1 << 20
"""Bytes that may wait while as many are worked on."""


class Behind:
    """One task at a time. Once the work has raised, so does all but `close`, and nothing more is done."""

    def __init__(self, work: Callable[[Sequence[bytes]], None], *, most: int = MOST) -> None:
        """work: called in a thread with what came, in order, and never twice at once."""
        self._work = work
        self._most = most
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._under_way: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._closed = False

    async def put(self, data: bytes) -> None:
        """Hand over; it is worked on later. Raises what the work raised."""
        self._check()
        self._waiting.append(data)
        self._bytes += len(data)
        self._go_on()
        while self._bytes >= self._most and self._under_way is not None:
            await asyncio.wait({self._under_way})
        self._check()

    async def done(self) -> None:
        """All that was handed over is worked on. Raises what the work raised."""
        while self._under_way is not None:
            await asyncio.wait({self._under_way})
        self._check()

    async def close(self) -> None:
        """What waits is forgotten; a thread that is at work cannot be stopped, and is waited for."""
        self._closed = True
        self._waiting = []
        while self._under_way is not None:
            await asyncio.wait({self._under_way})

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _go_on(self) -> None:
        if self._under_way is not None or not self._waiting or self._failure is not None or self._closed:
            return
        taken, self._waiting, self._bytes = self._waiting, [], 0
        self._under_way = asyncio.get_running_loop().run_in_executor(None, self._work, taken)
        self._under_way.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[None]) -> None:
        self._under_way = None
        self._failure = asyncio.CancelledError() if work.cancelled() else work.exception()
        self._go_on()
