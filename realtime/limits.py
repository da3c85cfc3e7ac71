"""Token buckets and counts per address."""

from __future__ import annotations

from collections import Counter


class Bucket:
    """`burst` at once, then one each `interval` seconds. Holds 24 bytes of state and no timer."""

    __slots__ = ("_burst", "_full_at", "_interval")

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._full_at = 0.0  # when the bucket is full again

    def take(self, now: float) -> float:
        """0.0 when one was taken; else the seconds until one can be."""
        level = max(self._full_at, now)
        wait = level + self._interval - (now + self._burst * self._interval)
        if wait > 1e-9:
            return wait
        self._full_at = level + self._interval
        return 0.0

    def idle(self, now: float) -> bool:
        """Whether forgetting this bucket changes nothing."""
        return self._full_at <= now


class Places:
    """How many connections there are, in all and from each address."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()
        self.taken = 0

    def full(self) -> bool:
        return self.taken >= self._most

    def full_for(self, address: str) -> bool:
        return self._by_address[address] >= self._most_per_address if address in self._by_address else False

    def take(self, address: str) -> None:
        self.taken += 1
        self._by_address[address] += 1

    def give(self, address: str) -> None:
        self.taken -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
