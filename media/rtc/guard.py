"""Bounds on what strangers cost: datagrams from addresses that belong to no peer.

A stranger who proves a password is no stranger any more and pays nothing. What fails is charged to its address; one
that failed too often in a second is not even read until the second is over. Answers to those who failed are bounded
for all of them together, so that the port cannot be used against others; a success is never held up by this.
"""

from __future__ import annotations

from collections import Counter

from media.households import household
from media.rtc.options import Address

MAX_HOUSEHOLDS = 4096


class Guard:
    def __init__(self, per_address: int, answers: int) -> None:
        self._per_address = per_address
        self._answers = answers
        self._second = 0
        self._bad: Counter[str] = Counter()
        self._answered = 0

    def turned_away(self, address: Address, now: float) -> bool:
        """Whether this address has used up what it may get wrong in a second."""
        self._roll(now)
        return bool(self._bad) and self._bad.get(household(address[0]), 0) >= self._per_address

    def failed(self, address: Address, now: float) -> bool:
        """Note a failure. Returns whether it may be answered."""
        self._roll(now)
        name = household(address[0])
        if name in self._bad or len(self._bad) < MAX_HOUSEHOLDS:
            self._bad[name] += 1
        self._answered += 1
        return self._answered <= self._answers

    def _roll(self, now: float) -> None:
        if int(now) != self._second:
            self._second = int(now)
            self._bad.clear()
            self._answered = 0
