"""How much a publisher may send.

A Pace lives as long as one connection. It is a bucket that leaks at the highest bit rate that is taken: what an encoder
has buffered may come at once, what goes on at a higher rate may not.
"""

from __future__ import annotations

BURST_SECONDS = 5.0
"""The bucket holds this much of the highest rate."""
STEPS = 16
"""The level is looked at each time a bucket's sixteenth has come."""
FRAME_SECONDS = 10.0
MAX_FRAMES = 20_000
"""In so many seconds: 120 pictures and 400 packets of Opus a second are a quarter of it. Tiny frames cost work too."""


class Pace:
    def __init__(self, megabits: float, now: float) -> None:
        """megabits: highest bit rate, Mbit/s; 0: any, and any number of frames."""
        self.next_look: float = float("inf")
        """Bytes received at which to call `excess`."""
        self._megabits = megabits
        self._rate = megabits * 1e6 / 8
        self._level = 0.0
        self._received = 0
        self._at = self._filling_since = now
        self._filled_from = 0
        self._frames = 0
        self._frames_at = now
        if megabits:
            self.next_look = self._rate * BURST_SECONDS / STEPS

    def excess(self, received: int, now: float) -> str:
        """Why it is too much, "" when it is not. received: bytes in all. now: time.monotonic()."""
        burst = self._rate * BURST_SECONDS
        self._level += received - self._received - (now - self._at) * self._rate
        self._received, self._at = received, now
        if self._level <= 0:
            self._level = 0.0
            self._filling_since, self._filled_from = now, received
        self.next_look = received + burst / STEPS
        if self._level <= burst:
            return ""
        seconds = max(now - self._filling_since, 1.0)
        megabits = (received - self._filled_from) * 8 / 1e6 / seconds
        return (
            f"the encoder sends {max(megabits, self._megabits):.0f} Mbit/s, at most {self._megabits:g} Mbit/s are taken"
        )

    def crowd(self, frames: int, now: float) -> str:
        """Why these are too many frames, "" when they are not. frames: in all."""
        if now - self._frames_at >= FRAME_SECONDS:
            self._frames_at, self._frames = now, frames
        elif self._megabits and frames - self._frames > MAX_FRAMES:
            return f"{frames - self._frames} frames within {FRAME_SECONDS:g} s; at most {MAX_FRAMES}"
        return ""
