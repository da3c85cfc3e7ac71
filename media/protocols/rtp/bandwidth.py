"""What a path to a viewer carries, estimated by the sender in the manner of Google congestion control.

(draft-ietf-rmcat-gcc-02.) A BandwidthEstimator lives as long as its peer. Two controllers look at the feedback: one at
the delay, which grows before anything is lost, and one at the loss; the lower of them, and what the receiver itself
allows (REMB), is the estimate. Times are seconds: of our clock for `now` and for sending, of the receiver's for
arrivals; only differences of the latter count.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from media.protocols.rtp.trend import Trend, Usage
from media.protocols.rtp.twcc import Acked

BACK_OFF = 0.85
"""What of the rate that arrives is kept when the delay grows."""
GROWTH = 1.08
"""A second, while the limit is unknown."""
HEADROOM = 1.5
"""How far above what is sent the estimate may rise: more has not been tried. (Whoever could send more tries it, see
media/egress/layers.py: padding to find out beforehand would cost a viewer what the try costs, and tell him nothing.)"""
RATE_WINDOW = 0.5
MAX_WINDOW_PACKETS = 8192
LOSS_INTERVAL = 0.5
LOSS_HIGH, LOSS_LOW = 0.10, 0.02
MIN_LOSS_PACKETS = 20
TRIAL_AFTER, TRIAL_TIME, TRIAL_PAUSE = 2.0, 1.5, 30.0
"""Seconds: of moderate loss before a lower rate is tried, of the trial, and of peace after one that did not help."""
REMB_LIFE = 10.0
"""Seconds for which a REMB binds."""


class BandwidthEstimator:
    def __init__(self, *, start: int = 500_000, lowest: int = 50_000, highest: int = 50_000_000) -> None:
        """Bits per second."""
        if not 0 < lowest <= start <= highest:
            raise ValueError("bit rates must be positive and in order: lowest, start, highest")
        self.loss = 0.0
        """Of the last interval, 0 to 1."""
        self.received = 0
        """Bits per second that arrive, over the last half second that feedback told of."""
        self._lowest = lowest
        self._highest = highest
        self._trend = Trend()
        self._delay_rate = float(start)
        self._loss_rate = float(highest)
        self._remb = math.inf
        self._remb_at = -math.inf
        self._now = -math.inf
        self._rtt = 0.1
        self._arrivals: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self._increased: float | None = None
        self._decreased = -math.inf
        self._loss_decreased = -math.inf
        self._limit: float | None = None  # what arrived when the delay last grew, smoothed
        self._limit_spread = 0.0
        self._holding = False
        self._lost = self._told = 0
        self._loss_since: float | None = None
        self._moderate: float | None = None  # since when the loss lies between low and high
        self._trial: _Trial | None = None
        self._trials_from = -math.inf

    @property
    def estimate(self) -> int:
        """Bits per second, headers included as far as `Acked.size` includes them."""
        remb = self._remb if self._now - self._remb_at <= REMB_LIFE else math.inf
        return int(max(self._lowest, min(self._highest, self._delay_rate, self._loss_rate, remb)))

    @property
    def decreased(self) -> float:
        """When the path last showed its limit, by a delay that grew or by loss; -inf: never."""
        return max(self._decreased, self._loss_decreased)

    def rtt(self, seconds: float) -> None:
        """As the last receiver report tells, see `clock.round_trip`."""
        self._rtt = min(max(seconds, 0.01), 2.0)

    def remb(self, bitrate: int, now: float) -> None:
        self._now = max(self._now, now)
        self._remb, self._remb_at = float(bitrate), now

    def feedback(self, acked: Sequence[Acked], now: float, *, lost: int = -1, told: int = 0) -> None:
        """What one feedback message told, in the order of sending. lost, told: packets, where `acked` is of batches
        that came in part or whole."""
        self._now = max(self._now, now)
        came = [(arrived, sent, size) for _, sent, arrived, size in acked if arrived is not None]
        if len(came) > 1:
            came.sort()
        trend, note = self._trend.arrived, self._arrivals.append
        total = 0
        for arrived, sent, size in came:
            note((arrived, size))
            total += size
            trend(sent, arrived)
        self._bytes += total
        self._measure()
        if came:
            self._follow_delay(now)
        if lost < 0:
            lost, told = len(acked) - len(came), len(acked)
        self._follow_loss(lost, told, now)

    def unheard(self, now: float) -> None:
        """Nothing came back for a while of what was sent: the path is worse than anything that feedback would tell.
        Each call halves the estimate; feedback that comes again shows what arrives."""
        self._now = max(self._now, now)
        self._delay_rate = max(float(self._lowest), min(self._delay_rate, float(self.estimate)) / 2)
        self._decreased = now
        self._limit = None
        self._trial = None

    def reported_loss(self, fraction: float, packets: int, now: float) -> None:
        """From receiver reports, for a peer that sends no transport-wide feedback. fraction: 0 to 1, of `packets`."""
        self._now = max(self._now, now)
        self._follow_loss(round(fraction * packets), packets, now)

    def _measure(self) -> None:
        arrivals = self._arrivals
        if not arrivals:
            return
        newest = arrivals[-1][0]
        while arrivals and (newest - arrivals[0][0] > RATE_WINDOW or len(arrivals) > MAX_WINDOW_PACKETS):
            self._bytes -= arrivals.popleft()[1]
        span = newest - arrivals[0][0]
        if span >= RATE_WINDOW / 4:
            self.received = int(8 * (self._bytes - arrivals[0][1]) / span)

    def _follow_delay(self, now: float) -> None:
        usage = self._trend.usage
        since = 0.0 if self._increased is None else min(1.0, max(0.0, now - self._increased))
        self._increased = now
        if usage is Usage.OVER:
            pause = max(0.2, self._rtt)
            if self.received and (now - self._decreased >= pause or self.received < self._delay_rate / 2):
                self._decrease(now)
            self._holding = True
        elif usage is Usage.UNDER:
            self._holding = True
        elif self._holding:
            self._holding = False
        else:
            self._increase(since)

    def _decrease(self, now: float) -> None:
        received = float(self.received)
        self._delay_rate = max(self._lowest, min(self._delay_rate, BACK_OFF * received))
        self._decreased = now
        limit = self._limit
        if limit is None or abs(received - limit) > 3 * self._limit_spread:
            self._limit, self._limit_spread = received, 0.1 * received
            return
        error = received - limit
        self._limit = limit + 0.05 * error
        self._limit_spread = max(0.02 * received, min(0.2 * received, 0.95 * self._limit_spread + 0.05 * abs(error)))

    def _increase(self, since: float) -> None:
        rate, limit = self._delay_rate, self._limit
        if limit is not None and self.received > limit + 3 * self._limit_spread:
            self._limit = limit = None  # the path has grown
        if limit is None:
            rate *= GROWTH**since
        else:
            # near the limit: less than half a packet in each response time
            frame = rate / 30
            packet = frame / max(1.0, math.ceil(frame / 9600))
            rate += max(4000.0, 0.4 * packet / (self._rtt + 0.1)) * since
        ceiling = HEADROOM * self.received + 10_000 if self.received else math.inf
        if rate > ceiling:
            rate = max(self._delay_rate, ceiling)
        self._delay_rate = min(rate, float(self._highest))

    def _follow_loss(self, lost: int, told: int, now: float) -> None:
        self._lost += lost
        self._told += told
        if self._loss_since is None:
            self._loss_since = now
        if now - self._loss_since < LOSS_INTERVAL or self._told < MIN_LOSS_PACKETS:
            return
        elapsed = min(1.0, now - self._loss_since)
        self.loss = loss = self._lost / self._told
        self._lost = self._told = 0
        self._loss_since = now
        if self._trial is not None and loss <= LOSS_HIGH:
            if now - self._trial.at >= TRIAL_TIME:
                self._end_trial(self._trial, loss, now)
            return
        self._trial = None
        if not LOSS_LOW <= loss <= LOSS_HIGH:
            self._moderate = None
        if loss > LOSS_HIGH:
            if now - self._loss_decreased >= 0.3 + self._rtt:
                self._loss_decreased = now
                rate = min(self._loss_rate, self._delay_rate)
                self._loss_rate = max(self._lowest, rate * (1 - 0.5 * loss))
        elif loss < LOSS_LOW:
            self._loss_rate = min(float(self._highest), self._loss_rate * GROWTH**elapsed + 1000 * elapsed)
        elif self._moderate is None:
            self._moderate = now
        elif now - self._moderate >= TRIAL_AFTER and now >= self._trials_from:
            self._trial = _Trial(now, loss, self._loss_rate)
            self._loss_rate = BACK_OFF * min(self._loss_rate, self._delay_rate)

    def _end_trial(self, trial: _Trial, loss: float, now: float) -> None:
        """A short queue that overflows shows no growing delay, only some loss, which goes with a lower rate. Loss that
        stays is the path's own, and nothing is won by sending less."""
        self._trial = self._moderate = None
        if loss < trial.loss / 2:
            self._delay_rate = min(self._delay_rate, self._loss_rate)
            self._limit, self._limit_spread = self._delay_rate / BACK_OFF, 0.1 * self._delay_rate
        else:
            self._loss_rate = trial.rate
            self._trials_from = now + TRIAL_PAUSE


class _Trial(NamedTuple):
    """A lower rate that is being tried. loss and rate: as they were before."""

    at: float
    loss: float
    rate: float
