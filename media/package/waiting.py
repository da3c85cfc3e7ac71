"""Requests that wait for a part or a segment: one future for each thing waited for, however many wait for it.

Owned by a LivePackage. The caller bounds how many requests may wait; here each costs one shielded future.
"""

from __future__ import annotations

import asyncio

Key = tuple[str, int, int]
"""letter, msn, part; part -1: the whole segment."""

ANYTHING: Key = ("", 0, 0)
"""The first thing that can be played."""


class Waiting:
    def __init__(self, patience: float) -> None:
        """patience: s after which a wait is given up."""
        self.count = 0
        self._patience = patience
        self._futures: dict[Key, tuple[asyncio.Future[bool], asyncio.TimerHandle]] = {}

    async def until(self, key: Key) -> bool:
        """True when something happened that may be what was waited for, False when nothing came in time."""
        entry = self._futures.get(key)
        if entry is None:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[bool] = loop.create_future()
            entry = self._futures[key] = (future, loop.call_later(self._patience, self._resolve, key, False))
        self.count += 1
        try:
            # shielded: a client that hangs up must not wake the others
            return await asyncio.shield(entry[0])
        finally:
            self.count -= 1

    def reached(self, letter: str, msn: int, parts: int) -> None:
        """Segment msn of the track now has this many parts, and all before it are closed."""
        if not self._futures:
            return
        for key in list(self._futures):
            if key is ANYTHING or (key[0] == letter and (key[1] < msn or (key[1] == msn and 0 <= key[2] < parts))):
                self._resolve(key, True)

    def release(self, *, found: bool) -> None:
        for key in list(self._futures):
            self._resolve(key, found)

    def _resolve(self, key: Key, found: bool) -> None:
        future, timer = self._futures.pop(key)
        timer.cancel()
        if not future.done():
            future.set_result(found)
