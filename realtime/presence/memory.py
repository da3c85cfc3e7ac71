"""Presence inside one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any

from realtime.presence import Attendance, Attending


class MemoryPresence:
    def __init__(self, linger: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._linger = linger
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}
        self._rooms: dict[str, dict[str, float]] = {}

    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        now = self._clock()
        for channel, viewers in held.items():
            seen = self._seen.setdefault(channel, {})
            for viewer in viewers:
                seen[viewer] = now
        return {channel: self._present(self._seen, channel) for channel in held}

    async def viewers(self, channel: str) -> frozenset[str]:
        return self._present(self._seen, channel)

    async def attend(self, rooms: Mapping[str, Attending]) -> dict[str, Attendance]:
        now = self._clock()
        found = {}
        for room, asked in rooms.items():
            seen = self._rooms.setdefault(room, {})
            for key in asked.gone:
                seen.pop(key, None)
            seen.update(dict.fromkeys(asked.here, now))
            await asyncio.sleep(0)  # thousands may be here
            self._forget_gone(self._rooms, room)
            seen = self._rooms.get(room, {})
            few = len(seen) <= asked.most
            found[room] = Attendance(len(seen), frozenset(seen if few else islice(seen, asked.sample)))
            await asyncio.sleep(0)
        return found

    async def among(self, room: str, keys: Collection[str]) -> frozenset[str]:
        seen, limit = self._rooms.get(room, {}), self._clock() - self._linger
        return frozenset(key for key in keys if seen.get(key, limit) > limit)

    async def clear(self, channel: str) -> None:
        self._seen.pop(channel, None)

    async def close(self) -> None:
        self._seen.clear()
        self._rooms.clear()

    def describe(self) -> dict[str, Any]:
        return {"kind": "memory", "channels": len(self._seen), "rooms": len(self._rooms)}

    def _present(self, kept: dict[str, dict[str, float]], channel: str) -> frozenset[str]:
        self._forget_gone(kept, channel)
        return frozenset(kept.get(channel, ()))

    def _forget_gone(self, kept: dict[str, dict[str, float]], channel: str) -> None:
        seen = kept.get(channel, {})
        limit = self._clock() - self._linger
        for viewer in [viewer for viewer, at in seen.items() if at <= limit]:
            del seen[viewer]
        if not seen:
            kept.pop(channel, None)
