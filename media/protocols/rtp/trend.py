"""Whether a queue grows on the path: the slope of the one-way delay (draft-ietf-rmcat-gcc-02, 5; the line that
libwebrtc fits in place of the draft's Kalman filter).

Packets sent within a few milliseconds are one group. From group to group the time between arrivals is held against the
time between sendings; the sum of the differences, smoothed, is the delay so far, and a line through the last of them
tells its slope. The slope is held against a threshold that follows how restless the path is.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

GROUP = 0.005
"""Seconds of sending that make a group."""
WINDOW = 20
MOVE_EVERY = 64
LEAST_WIDTH = 1.0
"""Of points a quarter of a millisecond apart it is some hundreds; below this it is rounding."""
SMOOTHING = 0.9
GAIN = 4.0
MAX_DELTAS = 60
THRESHOLD, MIN_THRESHOLD, MAX_THRESHOLD = 12.5, 6.0, 600.0
UP, DOWN = 0.0087, 0.039
MAX_OFFSET = 15.0
OVER_TIME = 10.0
"""Milliseconds for which the slope must stay above the threshold."""
STALE = 3.0
"""Seconds between two arrivals after which everything begins anew."""


class Usage(Enum):
    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class Trend:
    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._threshold = THRESHOLD
        self._reset()

    def _reset(self) -> None:
        self.usage = Usage.NORMAL
        self._group: tuple[float, float, float] | None = None  # first sent, last sent, last arrived
        self._before: tuple[float, float] | None = None  # last sent, last arrived of the group before
        self._delay = self._smoothed = 0.0
        self._line = Line()
        self._deltas = 0
        self._slope = 0.0
        self._over_for = -1.0
        self._over_count = 0
        self._adapted: float | None = None

    def arrived(self, sent: float, arrived: float) -> None:
        """Packets in the order of their arrival. Seconds; the two clocks need not agree."""
        group = self._group
        if group is None:
            self._group = sent, sent, arrived
            return
        first, last, came = group
        if abs(arrived - came) > STALE:
            self._reset()
            self._group = sent, sent, arrived
            return
        if sent < first:
            return  # overtaken: it belongs to a group that is closed
        if sent - first <= GROUP or (arrived - came <= GROUP and (arrived - came) - (sent - last) < 0):
            # sent together, or come together because they waited together
            self._group = first, max(last, sent), max(came, arrived)
            return
        if self._before is not None:
            self._step(last - self._before[0], came - self._before[1], came)
        self._before = last, came
        self._group = sent, sent, arrived

    def _step(self, went: float, came: float, at: float) -> None:
        """A group's distance from the one before, as it went and as it came, in seconds."""
        if came < 0:
            return
        if self._deltas < MAX_DELTAS:
            self._deltas += 1
        self._delay += 1000 * (came - went)
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        line = self._line
        line.add(1000 * at, self._smoothed)
        self._judge(line.slope() if line.full else self._slope, 1000 * went, 1000 * at)

    def _judge(self, slope: float, went: float, at: float) -> None:
        value, threshold = self._deltas * slope * GAIN, self._threshold
        size = abs(value)
        if value > threshold:
            self._over_for = went / 2 if self._over_for < 0 else self._over_for + went
            self._over_count += 1
            if self._over_for > OVER_TIME and self._over_count > 1 and slope >= self._slope:
                self._over_for, self._over_count = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._over_for, self._over_count = -1.0, 0
            self.usage = Usage.UNDER if size > threshold else Usage.NORMAL
        self._slope = slope
        since = 0.0 if self._adapted is None else min(100.0, at - self._adapted)
        self._adapted = at
        if size > threshold + MAX_OFFSET:
            return  # a sudden change says nothing of the path's usual restlessness
        changed = threshold + (DOWN if size < threshold else UP) * (size - threshold) * since
        self._threshold = min(MAX_THRESHOLD, max(MIN_THRESHOLD, changed))


class Line:
    """The line of least squares through the last WINDOW points.

    Its sums are kept: a point costs the same however many there are. They are of distances from a point that is moved
    up now and then, and then made anew, so that they stay small and what is rounded does not gather.
    """

    def __init__(self) -> None:
        self.full = False
        self._points: deque[tuple[float, float]] = deque()
        self._origin = 0.0, 0.0
        self._x = self._y = self._xx = self._xy = 0.0
        self._until = 0  # points until the origin moves

    def add(self, x: float, y: float) -> None:
        if not self._until:
            self._move(x, y)
        self._until -= 1
        x -= self._origin[0]
        y -= self._origin[1]
        points = self._points
        points.append((x, y))
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y
        if len(points) > WINDOW:
            x, y = points.popleft()
            self._x -= x
            self._y -= y
            self._xx -= x * x
            self._xy -= x * y
            self.full = True
        elif len(points) == WINDOW:
            self.full = True

    def slope(self) -> float:
        """0 where all points are above each other, or almost."""
        width = WINDOW * self._xx - self._x * self._x
        return (WINDOW * self._xy - self._x * self._y) / width if width > LEAST_WIDTH else 0.0

    def _move(self, x: float, y: float) -> None:
        self._until = MOVE_EVERY
        by_x, by_y = x - self._origin[0], y - self._origin[1]
        self._origin = x, y
        points = self._points = deque((x - by_x, y - by_y) for x, y in self._points)
        self._x = sum(x for x, _ in points)
        self._y = sum(y for _, y in points)
        self._xx = sum(x * x for x, _ in points)
        self._xy = sum(x * y for x, y in points)
