"""One clock for all that viewers of a broadcast are sent.

Each timeline of a publisher counts from a zero of its own; viewers stay through several. A ProgrammeClock maps the
media times of all timelines to seconds since it was made, so that picture and sound keep their offset to each other,
time never goes back, and what comes now has the time of now. It dies with the Programme that made it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from media.protocols.rtp.clock import ntp_time

LEAST_GAP = 0.02
"""A timeline begins so much after the last time of the one before, s."""


class ProgrammeClock:
    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.offset: float | None = None
        """What is added to a media time of the current timeline, s; None until its first media came."""
        self._clock = clock
        self._zero = clock()
        self._unix_zero = wall()
        self._edge = 0.0

    def restart(self) -> None:
        """A new timeline: its zero is yet to be found."""
        self.offset = None

    def place(self, first: float, last: float) -> float:
        """The offset for media of the current timeline, whose batch reaches from `first` to `last` (s)."""
        offset = self.offset
        if offset is None:
            now = self._clock() - self._zero
            offset = self.offset = max(now - last, self._edge + LEAST_GAP - first)
        if (edge := last + offset) > self._edge:
            self._edge = edge
        return offset

    def now(self) -> float:
        """The time that media taken now would have if nothing were late, s."""
        return self._clock() - self._zero

    def ntp(self, at: float) -> int:
        """A time of this clock as a 64-bit NTP timestamp (RFC 5905, section 6)."""
        return ntp_time(self._unix_zero + at)
