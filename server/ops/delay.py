"""How late the event loop is: the one figure that says whether everything else is late."""

from __future__ import annotations

import asyncio
from collections import deque

from server.ops.metrics import Metrics

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_REMEMBERED = 600


class LoopDelay:
    """Owns a task that sleeps and measures by how much it overslept, from start to close."""

    def __init__(self, metrics: Metrics, interval: float = 0.1) -> None:
        self._interval = interval
        self._histogram = metrics.histogram("event_loop_delay_seconds", "Lateness of a timer of the loop", _BOUNDS)
        self._recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._task: asyncio.Task[None] | None = None
        metrics.gauge("event_loop_delay_max_seconds", "Largest lateness in the last minute", lambda: self.worst)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.run(), name="loop delay")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            late = max(loop.time() - due, 0.0)
            self._histogram.observe(late)
            self._recent.append(late)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def worst(self) -> float:
        """Seconds, over about the last minute."""
        return max(self._recent, default=0.0)

    def describe(self) -> dict[str, object]:
        return {"worst_ms": round(self.worst * 1000, 1)}
