"""Giving one frame to many viewers without holding the loop.

Rounds is a process's. It calls viewers for at most a few milliseconds in one turn of the loop, then lets everything
else have its turn. A round begins at once when nothing waits: to a handful of viewers a frame goes within the call that
brought it. Rounds are gone through in the order in which they were asked for, so each viewer gets frames in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

log = logging.getLogger(__name__)

_STRIDE = 4  # viewers between two looks at the clock


class Taker(Protocol):
    """Somebody whom a round goes to. One that raises is told that it `failed`, and does not stop the others."""

    def failed(self) -> None: ...


class Rounds:
    """`budget`: seconds of one turn of the loop. clock: seconds, the one that takers are told."""

    def __init__(self, budget: float = 0.002, clock: Callable[[], float] = time.monotonic) -> None:
        self.turns = 0
        self._budget = budget
        self._clock = clock
        self._waiting: deque[tuple[Iterator[Taker], Callable[[Any, Any, float], None], Any]] = deque()
        self._scheduled: asyncio.Handle | None = None
        self._running = False

    def close(self) -> None:
        self._waiting.clear()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def give(self, takers: Iterable[Taker], call: Callable[[Any, Any, float], None], what: object) -> None:
        """`call(taker, what, now)` for each of those who are there now. It must not block."""
        self._waiting.append((iter(tuple(takers)), call, what))
        if self._scheduled is None and not self._running:
            self._turn()

    def _turn(self) -> None:
        self._scheduled = None
        self._running = True
        self.turns += 1
        waiting, clock = self._waiting, self._clock
        now = clock()
        deadline = now + self._budget
        try:
            while waiting:
                takers, call, what = waiting[0]
                called = 0
                for taker in islice(takers, _STRIDE):
                    called += 1
                    try:
                        call(taker, what, now)
                    except Exception:
                        log.exception("a %s failed", type(taker).__name__)
                        taker.failed()
                if called < _STRIDE:
                    waiting.popleft()
                now = clock()
                if now >= deadline:
                    break
        finally:
            self._running = False
            if waiting:
                self._scheduled = asyncio.get_running_loop().call_soon(self._turn)
