"""The bandwidth estimate over simulated paths: a bottleneck with a queue, loss, and restless delays. No real time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import pairwise
from statistics import linear_regression
from typing import NamedTuple

import pytest

from media.protocols.rtp import rtcp
from media.protocols.rtp.bandwidth import REMB_LIFE, BandwidthEstimator
from media.protocols.rtp.feedback import TransportFeedback
from media.protocols.rtp.trend import WINDOW, Line
from media.protocols.rtp.twcc import Acked, ArrivalLog, SendLog

MBIT = 1_000_000
SIZE = 1200
STEP = 0.002


class Path(NamedTuple):
    """capacity: bits per second at a time. queue: seconds of it. loss: at random, 0 to 1. shake: seconds that a packet
    is late at most, in order. drift: how fast the receiver's clock goes by ours."""

    capacity: Callable[[float], float]
    queue: float = 0.3
    loss: float = 0.0
    shake: float = 0.0
    delay: float = 0.05
    drift: float = 1.0


class Moment(NamedTuple):
    at: float
    estimate: int
    waiting: float


class Simulation:
    """A sender that sends what the estimate allows, evenly or as a frame each 33 ms."""

    def __init__(self, path: Path, *, start: int = 300_000, most: float = 1e12, frames: bool = False):
        self.path = path
        self.most = most
        self.frames = frames
        self.estimator = BandwidthEstimator(start=start)
        self.estimator.rtt(path.delay)
        self.log = SendLog()
        self.arrivals = ArrivalLog(sender=1)
        self.moments: list[Moment] = []
        self.noise = random.Random(1)
        self.free = 0.0
        self.last = 0.0
        self.flying: list[tuple[float, int]] = []

    def send(self, now: float) -> None:
        path = self.path
        number = self.log.sent(now, SIZE)
        if self.noise.random() < path.loss or self.free - now > path.queue:
            return
        self.free = max(self.free, now) + 8 * SIZE / path.capacity(now)
        self.last = max(self.last, self.free + path.delay / 2 + self.noise.random() * path.shake)
        heapq.heappush(self.flying, (self.last, number))

    def run(self, seconds: float) -> None:
        now, credit, next_told, next_frame = 0.0, 0.0, 0.1, 0.0
        told: list[tuple[float, TransportFeedback]] = []
        while now < seconds:
            credit += min(self.estimator.estimate, self.most) * STEP / 8
            if not self.frames or now >= next_frame:
                next_frame = now + 1 / 30
                while credit >= SIZE:
                    credit -= SIZE
                    self.send(now)
            while self.flying and self.flying[0][0] <= now:
                at, number = heapq.heappop(self.flying)
                self.arrivals.arrived(number, 1000 + at * self.path.drift)
            if now >= next_told:
                next_told += 0.1
                for message in self.arrivals.feedback():
                    (found,) = rtcp.parse(message.build())
                    assert isinstance(found, TransportFeedback)
                    told.append((now + self.path.delay / 2, found))
                self.moments.append(Moment(now, self.estimator.estimate, max(0.0, self.free - now)))
            while told and told[0][0] <= now:
                self.estimator.feedback(self.log.acknowledged(told.pop(0)[1]), now)
            now += STEP

    def after(self, at: float) -> list[Moment]:
        return [moment for moment in self.moments if moment.at >= at]


@pytest.mark.parametrize(
    ("path", "frames"),
    [
        pytest.param(Path(lambda _: MBIT), False, id="plain"),
        pytest.param(Path(lambda _: MBIT), True, id="a frame at a time"),
        pytest.param(Path(lambda _: MBIT, drift=1.0002), False, id="another clock"),
        pytest.param(Path(lambda _: MBIT, shake=0.01), False, id="restless"),
        pytest.param(Path(lambda _: MBIT, queue=0.05), False, id="short queue"),
        pytest.param(Path(lambda _: MBIT, loss=0.01), False, id="random loss"),
        pytest.param(Path(lambda _: MBIT, delay=0.2), False, id="far away"),
    ],
)
@pytest.mark.parametrize("start", [300_000, 3 * MBIT])
def test_the_estimate_settles_at_the_bottleneck(path: Path, frames: bool, start: int) -> None:
    simulation = Simulation(path, start=start, frames=frames)
    simulation.run(40)
    settled = simulation.after(20)
    assert all(0.7 * MBIT <= moment.estimate <= 1.05 * MBIT for moment in settled)
    assert max(moment.waiting for moment in settled) < 0.15


def test_it_follows_a_path_that_grows() -> None:
    simulation = Simulation(Path(lambda now: MBIT if now < 10 else 3 * MBIT), start=900_000)
    simulation.run(40)
    assert all(moment.estimate <= 1.05 * MBIT for moment in simulation.after(5) if moment.at < 10)
    assert all(0.7 * 3 * MBIT <= moment.estimate <= 1.05 * 3 * MBIT for moment in simulation.after(35))


def test_it_follows_a_path_that_shrinks() -> None:
    simulation = Simulation(Path(lambda now: 3 * MBIT if now < 10 else MBIT), start=2 * MBIT)
    simulation.run(20)
    assert all(moment.estimate >= 2 * MBIT for moment in simulation.after(5) if moment.at < 10)
    assert all(0.7 * MBIT <= moment.estimate <= 1.05 * MBIT for moment in simulation.after(13))


def test_what_is_sent_bounds_it() -> None:
    """500 kbit/s over a path of 5 Mbit/s: sending alone cannot tell that 2.5 Mbit/s would go."""
    quiet = Simulation(Path(lambda _: 5 * MBIT), most=500_000)
    quiet.run(25)
    assert quiet.moments[-1].estimate < 0.9 * MBIT


def feed(estimator: BandwidthEstimator, seconds: float, rate: int, lost: float = 0.0, begin: float = 0.0) -> float:
    """A path without a bottleneck that loses every so many packets."""
    gap = 8 * SIZE / rate
    now, number = begin, 0
    while now < begin + seconds:
        batch = []
        for _ in range(max(1, int(0.1 / gap))):
            number += 1
            now += gap
            gone = bool(lost) and number % round(1 / lost) == 0
            batch.append(Acked(number & 0xFFFF, now, None if gone else 500 + now, SIZE))
        estimator.feedback(batch, now)
    return now


def test_heavy_loss_lowers_it_and_its_end_raises_it() -> None:
    estimator = BandwidthEstimator(start=MBIT)
    now = feed(estimator, 3, MBIT)
    before = estimator.estimate
    now = feed(estimator, 3, MBIT, 0.2, now)
    low = estimator.estimate
    assert low < 0.7 * before
    assert estimator.loss == pytest.approx(0.2, abs=0.05)
    feed(estimator, 5, MBIT, 0.0, now)
    assert estimator.estimate > 1.3 * low


def test_reported_loss_serves_peers_without_transport_feedback() -> None:
    estimator = BandwidthEstimator(start=MBIT)
    for second in range(5):
        estimator.reported_loss(0.3, 100, float(second))
    assert estimator.estimate < 0.6 * MBIT
    low = estimator.estimate
    for second in range(5, 15):
        estimator.reported_loss(0.0, 100, float(second))
    assert low < estimator.estimate <= MBIT


def test_loss_that_is_the_paths_own_is_borne() -> None:
    """5 % without any queue: trying less does not help, so that the rate returns to what it was."""
    estimator = BandwidthEstimator(start=MBIT)
    now = feed(estimator, 1.5, MBIT)
    seen = []
    for _ in range(20):
        now = feed(estimator, 0.5, MBIT, 0.05, now)
        seen.append(estimator.estimate)
    dips = [i for i, (before, after) in enumerate(pairwise(seen)) if after < before]
    assert len(dips) == 1
    assert seen[-1] > seen[dips[0]]


def test_remb_binds_while_it_is_fresh() -> None:
    estimator = BandwidthEstimator(start=2 * MBIT)
    estimator.remb(500_000, 1.0)
    assert estimator.estimate == 500_000
    estimator.remb(10 * MBIT, 2.0)
    assert estimator.estimate == 2 * MBIT
    estimator.remb(500_000, 3.0)
    estimator.reported_loss(0.0, 1, 3.1 + REMB_LIFE)
    assert estimator.estimate == 2 * MBIT


def test_silence_lowers_it_again_and_again_and_what_is_told_then_counts() -> None:
    estimator = BandwidthEstimator(start=4 * MBIT)
    estimator.unheard(1.0)
    assert estimator.estimate == 2 * MBIT
    assert estimator.decreased == 1.0
    for second in range(2, 20):
        estimator.unheard(float(second))
    assert estimator.estimate == 50_000
    for number in range(300):
        at = 20 + number / 30
        estimator.feedback([Acked(number, at, at + 0.02, 9000)], at + 0.04)
    assert 50_000 < estimator.estimate <= 4 * MBIT


def test_it_stays_within_its_bounds() -> None:
    estimator = BandwidthEstimator(start=MBIT, lowest=300_000, highest=2 * MBIT)
    feed(estimator, 30, 10 * MBIT)
    assert estimator.estimate == 2 * MBIT
    estimator.remb(1, 31.0)
    assert estimator.estimate == 300_000
    with pytest.raises(ValueError, match="in order"):
        BandwidthEstimator(start=1, lowest=2)


def test_the_line_is_that_of_least_squares_however_long_it_goes_on() -> None:
    noise, line = random.Random(9), Line()
    x, y, points = 1e9, 0.0, list[tuple[float, float]]()
    for _ in range(1000):
        x, y = x + noise.uniform(5, 200), y + noise.uniform(-30, 31)
        line.add(x, y)
        points = [*points, (x, y)][-WINDOW:]
        assert line.full == (len(points) == WINDOW)
        if line.full:
            assert line.slope() == pytest.approx(linear_regression(*zip(*points, strict=True)).slope, abs=1e-6)
    for _ in range(WINDOW):
        line.add(x, noise.random())
    assert line.slope() == 0


def test_any_times_are_survived() -> None:
    noise = random.Random(5)
    estimator = BandwidthEstimator()
    for _ in range(500):
        batch = [
            Acked(
                i,
                noise.choice([0.0, noise.uniform(-1e6, 1e6), noise.random()]),
                noise.choice([None, 0.0, noise.uniform(-1e6, 1e6), noise.random()]),
                noise.choice([0, 1, 1200, 65535]),
            )
            for i in range(noise.randrange(30))
        ]
        estimator.feedback(batch, noise.uniform(0, 1e6))
        assert 50_000 <= estimator.estimate <= 50 * MBIT
