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
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW)
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
        self._deltas = min(self._deltas + 1, 1000)
        self._delay += 1000 * (came - went)
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        self._points.append((1000 * at, self._smoothed))
        slope = self._slope
        if len(self._points) == WINDOW:
            slope = self._fit()
        self._judge(slope, 1000 * went, 1000 * at)

    def _fit(self) -> float:
        """Least squares, about the first point so that the sums stay small."""
        points = self._points
        first_x, first_y = points[0]
        x_sum = y_sum = xx_sum = xy_sum = 0.0
        for x, y in points:
            x -= first_x
            y -= first_y
            x_sum += x
            y_sum += y
            xx_sum += x * x
            xy_sum += x * y
        width = WINDOW * xx_sum - x_sum * x_sum
        return (WINDOW * xy_sum - x_sum * y_sum) / width if width > 0 else self._slope

    def _judge(self, slope: float, went: float, at: float) -> None:
        value = min(self._deltas, MAX_DELTAS) * slope * GAIN
        if value > self._threshold:
            self._over_for = went / 2 if self._over_for < 0 else self._over_for + went
            self._over_count += 1
            if self._over_for > OVER_TIME and self._over_count > 1 and slope >= self._slope:
                self._over_for, self._over_count = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._over_for, self._over_count = -1.0, 0
            self.usage = Usage.UNDER if value < -self._threshold else Usage.NORMAL
        self._slope = slope
        self._adapt(abs(value), at)

    def _adapt(self, value: float, at: float) -> None:
        since = 0.0 if self._adapted is None else min(100.0, at - self._adapted)
        self._adapted = at
        if value > self._threshold + MAX_OFFSET:
            return  # a sudden change says nothing of the path's usual restlessness
        rate = DOWN if value < self._threshold else UP
        changed = self._threshold + rate * (value - self._threshold) * since
        self._threshold = min(MAX_THRESHOLD, max(MIN_THRESHOLD, changed))
