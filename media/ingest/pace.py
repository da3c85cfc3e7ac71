"""How much a publisher may send.

A Pace lives as long as one connection. It is a bucket that leaks at the highest bit rate that is taken: what an encoder
has buffered may come at once, what goes on at a higher rate may not.
"""

from __future__ import annotations

BURST_SECONDS = 5.0
"""The bucket holds this much of the highest rate."""
STEPS = 16
"""The level is looked at each time a bucket's sixteenth has come."""


class Pace:
    def __init__(self, megabits: float, now: float) -> None:
        """megabits: highest bit rate, Mbit/s; 0: any."""
        self.next_look: float = float("inf")
        """Bytes received at which to call `excess`."""
        self._megabits = megabits
        self._rate = megabits * 1e6 / 8
        self._level = 0.0
        self._received = 0
        self._at = self._full_since = now
        self._since_received = 0
        if megabits:
            self.next_look = self._rate * BURST_SECONDS / STEPS

    def excess(self, received: int, now: float) -> str:
        """Why it is too much, "" when it is not. received: bytes in all. now: time.monotonic()."""
        left = self._level - (now - self._at) * self._rate
        if left <= 0:
            left = 0.0
            self._full_since, self._since_received = self._at, self._received
        burst = self._rate * BURST_SECONDS
        self._level = left + received - self._received
        self._received, self._at = received, now
        self.next_look = received + burst / STEPS
        if self._level <= burst:
            return ""
        seconds = max(now - self._full_since, 1.0)
        megabits = (received - self._since_received) * 8 / 1e6 / seconds
        return (
            f"the encoder sends {max(megabits, self._megabits):.0f} Mbit/s, at most {self._megabits:g} Mbit/s are taken"
        )
