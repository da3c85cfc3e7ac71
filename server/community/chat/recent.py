"""What many ask for at once, read once: whose chat a room is, the state of a room, the end of its log.

Owns what it has read, for a second or so, and the reading that is under way; nothing else. A change that this process
writes is in the next answer; one of another process within that second, which harms nobody: an answer says at which
place of the log it is, and whoever goes on from there misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    def __init__(
        self,
        read: Callable[[K], Awaitable[V]],
        seconds: float,
        *,
        most: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """seconds: how old an answer may be. most: how many are kept."""
        self._read = read
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, asyncio.Task[V]]] = OrderedDict()

    async def get(self, key: K) -> V:
        """Raises what the reading raises; that is not kept."""
        found = self._kept.get(key)
        if found is None or (found[1].done() and self._clock() - found[0] >= self._seconds):
            task = asyncio.get_running_loop().create_task(self._of(key))
            task.add_done_callback(_looked_at)
            found = (self._clock(), task)
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        try:
            return await asyncio.shield(found[1])
        except BaseException:
            if found[1].done() and self._kept.get(key) is found:
                del self._kept[key]
            raise

    def forget(self, key: K) -> None:
        """It has changed. Who waits for a reading that began before gets that one."""
        self._kept.pop(key, None)

    def __len__(self) -> int:
        return len(self._kept)

    async def _of(self, key: K) -> V:
        return await self._read(key)


def _looked_at(task: asyncio.Task[V]) -> None:
    if not task.cancelled():
        task.exception()  # told to those who wait; nobody may be left
