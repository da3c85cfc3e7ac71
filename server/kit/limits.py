"""Rate limits inside one process: so many per time, then one each interval (the generic cell rate algorithm).

A Limiter owns one number a key, for at most `max_keys` keys: the key that was used longest ago is forgotten first, and
it is the one whose allowance has most likely been restored anyway.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """retry_after: seconds until one more is allowed, 0 when this one was. remaining: how many more right now."""

    allowed: bool
    retry_after: float
    remaining: int


class Limiter:
    def __init__(
        self, burst: int, interval: float, *, max_keys: int = 50_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """burst: how many at once. interval: seconds after which one more is allowed."""
        self.burst = max(burst, 1)
        self.interval = interval
        self._max_keys = max_keys
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the key's whole burst is there again

    def take(self, key: str) -> Verdict:
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        room = self.burst * self.interval - (full_at - now)
        if room < self.interval - 1e-9:
            return Verdict(False, self.interval - room, 0)
        self._full_at[key] = full_at + self.interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)
        return Verdict(True, 0.0, int((room - self.interval) / self.interval + 1e-9) if self.interval else self.burst)

    def __len__(self) -> int:
        return len(self._full_at)


def address_key(address: str) -> str:
    """One key a household: IPv6 clients own a network of 64 bits, so that counts as one address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
