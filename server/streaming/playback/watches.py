"""What one viewer has watched of one video: what was delivered to him, joined with what his player says it played.

Pure. A stretch that is said to have been played counts as far as its segments were delivered, and as far as there was
time for it: nobody plays faster than MAX_RATE. So neither telling without loading counts, nor loading without telling,
nor both at once in a moment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_RATE = 2.0
SLACK_SECONDS = 2.0
"""Players load and play the beginning before we hear of it."""
BUCKETS_MOST = 100
LEAST_BUCKET = 10.0


def bucket_width(duration: float) -> float:
    """Seconds: 1 % of the length, 10 s at least."""
    return max(LEAST_BUCKET, duration / BUCKETS_MOST)


def starts_of(playlist: str) -> list[float]:
    """Where each segment of a media playlist begins, and at last where it ends."""
    starts = [0.0]
    for line in playlist.splitlines():
        if line.startswith("#EXTINF:"):
            starts.append(starts[-1] + float(line[8:].partition(",")[0]))
    return starts


@dataclass(slots=True)
class Watch:
    """begun: when the first segment was delivered (monotonic, s). seconds: counted, not written down yet. buckets:
    those that were shown, a bit each; `width` is theirs in s. spent: seconds of the video that were counted in all."""

    begun: float
    used: float
    letter: str = ""
    width: float = LEAST_BUCKET
    segments: set[int] = field(default_factory=set)
    spent: float = 0.0
    seconds: float = 0.0
    buckets: int = 0
    written: int = 0
    counted: bool = False
    counted_written: bool = False

    @property
    def dirty(self) -> bool:
        return self.seconds > 0 or self.buckets != self.written or self.counted != self.counted_written

    def played(self, start: float, end: float, now: float, starts: Sequence[float]) -> float:
        """The seconds of [start, end) that count."""
        room = (now - self.begun) * MAX_RATE + SLACK_SECONDS - self.spent
        end = min(end, start + room, starts[-1])
        counted = 0.0
        at = start
        while at < end:
            number = bisect_right(starts, at) - 1
            until = min(end, starts[number + 1])
            if number in self.segments:
                counted += until - at
                self.buckets |= _bits(at, until, self.width)
            at = until
        self.spent += counted
        self.seconds += counted
        return counted


def _bits(start: float, end: float, width: float) -> int:
    first, last = int(start / width), int((end - 1e-6) / width)
    last = min(last, BUCKETS_MOST - 1)
    return ((1 << max(0, last - first + 1)) - 1) << first
