"""Presence inside one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any


class MemoryPresence:
    def __init__(self, linger: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._linger = linger
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}

    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        now = self._clock()
        for channel, viewers in held.items():
            seen = self._seen.setdefault(channel, {})
            for viewer in viewers:
                seen[viewer] = now
        return {channel: self._present(channel) for channel in held}

    async def viewers(self, channel: str) -> frozenset[str]:
        return self._present(channel)

    async def clear(self, channel: str) -> None:
        self._seen.pop(channel, None)

    async def close(self) -> None:
        self._seen.clear()

    def describe(self) -> dict[str, Any]:
        return {"kind": "memory", "channels": len(self._seen)}

    def _present(self, channel: str) -> frozenset[str]:
        seen = self._seen.get(channel)
        if seen is None:
            return frozenset()
        limit = self._clock() - self._linger
        for viewer in [viewer for viewer, at in seen.items() if at <= limit]:
            del seen[viewer]
        if not seen:
            del self._seen[channel]
        return frozenset(seen)
