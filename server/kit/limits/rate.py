"""What a rate is, and what asking for one more comes to. All in whole microseconds, so that this process and Redis
come to the same answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec

_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"(\d{1,9})\s*(?:/|per\s)\s*(\d{1,5})?\s*(second|minute|hour|day)s?")
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` at once, then one each `seconds / amount`. Over any length of time: amount / seconds on average."""

    amount: int
    seconds: float
    interval: int = field(init=False, repr=False)  # after which there is one more, µs
    window: int = field(init=False, repr=False)  # after which all are there again, µs

    def __post_init__(self) -> None:
        if self.amount < 1 or self.seconds < 0:
            raise ValueError(f"{self.amount} in {self.seconds} s is no rate")
        interval = round(self.seconds * _MICRO / self.amount)
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "window", interval * self.amount)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """As `600/minute`, `5/10seconds` or `5 per 10 seconds`: the notation of the package limits. Raises ValueError,
        whose text says what is taken."""
        found = _RATE.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0 or (found[2] is not None and int(found[2]) == 0):
            raise ValueError(f"{text.strip()!r} is no rate such as 600/minute or 5/10seconds")
        return cls(int(found[1]), int(found[2] or 1) * _PERIODS[found[3]])

    def verdict(self, used: int) -> Verdict:
        """used: how much of the window was taken before this one, µs."""
        interval = self.interval
        room = self.window - used - interval
        if room < 0:
            return Verdict(False, -room / _MICRO, 0, -room / _MICRO)
        if interval == 0:
            return Verdict(True, 0.0, self.amount, 0.0)
        left = room // interval
        # with none left, what is of interest is the next one
        reset = used + interval if left else interval - room
        return Verdict(True, 0.0, left, reset / _MICRO)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """retry_after: seconds until one more is allowed, 0 when this one was. remaining: how many more right now.
    reset: seconds until all are there again; with none remaining, until one is."""

    allowed: bool
    retry_after: float
    remaining: int
    reset: float
