"""Which rendition of the picture a viewer is sent.

A Chooser belongs to one viewer and is asked a few times a second. Going down is quick, because what does not fit only
makes delay; going up is slow, and when it turned out to be too much the next try waits longer. Below the smallest
rendition there are its key frames alone, and below those no picture at all: sound goes on.

What is not sent cannot be measured: an estimate that was made with a small rendition says little about a large one. So
after a while without congestion the next step up is simply tried, and judged by congestion alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

MARGIN = 1.1
"""The estimate has to be so much more than a rendition takes before it is gone up to."""
TOO_MUCH = 0.5
"""Seconds that what is sent is more than the estimate before it is left."""
PROVEN = 10.0
"""Seconds after which a step up has proven itself."""
FIRST_TRY, LAST_TRY = 4.0, 60.0
"""Seconds until the next step up is tried; doubled each time it was too much."""


class Picture(IntEnum):
    NONE = 0
    KEYS = 1
    FULL = 2


class Rendition(NamedTuple):
    """bitrate, key_bitrate: all frames, and key frames alone, bit/s."""

    name: str
    bitrate: float
    key_bitrate: float


class Choice(NamedTuple):
    name: str
    picture: Picture


class Chooser:
    def __init__(self, name: str) -> None:
        """name: the rendition to begin with."""
        self.choice = Choice(name, Picture.FULL)
        self._since = 0.0
        self._over_since: float | None = None
        self._wait = FIRST_TRY
        self._raised = False

    def look(
        self, now: float, renditions: Sequence[Rendition], estimate: float, *, congested: bool, besides: float
    ) -> Choice:
        """What to send from now on. renditions: the largest first, at least one. estimate: of what the network carries,
        bit/s. congested: it has just shown its limit. besides: what the sound takes, bit/s."""
        steps = _steps(renditions)
        at = next((i for i, (choice, _) in enumerate(steps) if choice == self.choice), None)
        if at is None:  # the rendition is gone
            at = 0 if self.choice.picture is Picture.FULL else len(steps) - 3 + Picture.FULL - self.choice.picture
            self._go(steps[at][0], now, raised=False)
        if not self._since:
            self._since = now
        settled = now - self._since
        if self._raised and settled >= PROVEN:
            self._raised, self._wait = False, FIRST_TRY
        if self._fits(now, steps[at][1] + besides, estimate, congested):
            if at and not congested and self._may_rise(steps[at - 1][1] + besides, estimate, settled):
                self._go(steps[at - 1][0], now, raised=True)
        elif at < len(steps) - 1:
            if self._raised:
                self._wait = min(2 * self._wait, LAST_TRY)
            below = range(at + 1, len(steps))
            lower = next((i for i in below if steps[i][1] + besides <= estimate), len(steps) - 1)
            self._go(steps[lower][0], now, raised=False)
        return self.choice

    def _fits(self, now: float, needed: float, estimate: float, congested: bool) -> bool:
        """An estimate alone binds nobody: when little is sent it is low."""
        if not (congested and estimate < needed):
            self._over_since = None
            return True
        if self._over_since is None:
            self._over_since = now
        return now - self._over_since < TOO_MUCH

    def _may_rise(self, needed: float, estimate: float, settled: float) -> bool:
        return settled >= (FIRST_TRY / 2 if estimate >= needed * MARGIN and not self._raised else self._wait)

    def _go(self, choice: Choice, now: float, *, raised: bool) -> None:
        self.choice = choice
        self._since = now
        self._over_since = None
        self._raised = raised


def _steps(renditions: Sequence[Rendition]) -> list[tuple[Choice, float]]:
    """Every choice there is with what it takes in bit/s, the best first."""
    lowest = renditions[-1]
    steps = [(Choice(r.name, Picture.FULL), r.bitrate) for r in renditions]
    steps.append((Choice(lowest.name, Picture.KEYS), lowest.key_bitrate))
    steps.append((Choice(lowest.name, Picture.NONE), 0.0))
    return steps
