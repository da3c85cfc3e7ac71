"""Rates counted inside one process.

Memory owns one number a key, for at most `max_keys` keys: the key that was used longest ago is forgotten first, and it
is the one whose allowance has most likely been restored anyway. Nothing is swept by a timer. (The package limits has
memory storages too. They walk over all keys on a timer, in the loop or in a thread that holds the interpreter: with
100,000 addresses a request costs 330 µs there and the loop stands still for 40 ms at a time; here it costs one.)
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from server.kit.limits.rate import Rate, Verdict

MAX_KEYS = 100_000


def micros() -> int:
    """A clock that never goes back, µs."""
    return time.monotonic_ns() // 1000


class Memory:
    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Callable[[], int] = micros) -> None:
        """clock: µs."""
        self._max_keys = max_keys
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()  # when all that the key may do is there again, µs

    def take(self, key: str, rate: Rate) -> Verdict:
        now = self._clock()
        full_at = self._full_at.get(key, 0)
        full_at = max(full_at, now)
        verdict = rate.verdict(full_at - now)
        if verdict.allowed:
            self._keep(key, full_at + rate.interval)
        else:
            self._full_at.move_to_end(key)
        return verdict

    def refusal(self, key: str, rate: Rate) -> Verdict | None:
        """What `take` would answer if it refused; takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return None
        verdict = rate.verdict(max(full_at - self._clock(), 0))
        if verdict.allowed:
            return None
        self._full_at.move_to_end(key)
        return verdict

    def learn(self, key: str, full_at: int) -> None:
        """Somebody who counts for many processes says that the key is as far as this."""
        if full_at > self._full_at.get(key, 0):
            self._keep(key, full_at)

    def _keep(self, key: str, full_at: int) -> None:
        kept = self._full_at
        kept[key] = full_at
        kept.move_to_end(key)
        if len(kept) > self._max_keys:
            kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_at)


class Limiter:
    """One rate, by itself: `burst` at once, then one each `interval` seconds."""

    def __init__(
        self, burst: int, interval: float, *, max_keys: int = 50_000, clock: Callable[[], int] = micros
    ) -> None:
        self._rate = Rate(max(burst, 1), interval * max(burst, 1))
        self._memory = Memory(max_keys=max_keys, clock=clock)

    def take(self, key: str) -> Verdict:
        return self._memory.take(key, self._rate)

    def __len__(self) -> int:
        return len(self._memory)
