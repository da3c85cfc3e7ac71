"""The jitter buffer: a table of arrivals, any arrivals, what it asks for, and its statistics."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.protocols.rtp.jitter import MAX_NACKS, JitterBuffer
from media.protocols.rtp.packet import RtpPacket


def packet(sequence: int, timestamp: int = 0) -> RtpPacket:
    return RtpPacket(96, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1, b"x")


def push(buffer: JitterBuffer, sequence: int, at: float = 0.0, *, repaired: bool = False) -> list[int]:
    return [found.sequence for found in buffer.push(packet(sequence), at, repaired=repaired)]


@pytest.mark.parametrize(
    ("arrivals", "handed_on"),
    [
        pytest.param([1, 2, 3], [[1], [2], [3]], id="in order"),
        pytest.param([65534, 65535, 0, 1], [[65534], [65535], [0], [1]], id="a wrap"),
        pytest.param([1, 3, 2, 4], [[1], [], [2, 3], [4]], id="two swapped"),
        pytest.param([65535, 1, 2, 0, 3], [[65535], [], [], [0, 1, 2], [3]], id="swapped about a wrap"),
        pytest.param([1, 4, 2, 6, 3, 5], [[1], [], [2], [], [3, 4], [5, 6]], id="several gaps"),
        pytest.param([1, 1, 3, 3, 2, 2, 3], [[1], [], [], [], [2, 3], [], []], id="duplicates"),
        pytest.param([100, 99, 101], [[100], [], [101]], id="before the first"),
        pytest.param([1, 30000, 2], [[1], [], [2]], id="one far off"),
        pytest.param([1, 30000, 30001, 30002], [[1], [], [30000, 30001], [30002]], id="begun anew ahead"),
        pytest.param([50000, 10, 11, 12], [[50000], [], [10, 11], [12]], id="begun anew behind"),
        pytest.param([1, 3, 30000, 30001], [[1], [], [], [3, 30000, 30001]], id="begun anew with a gap open"),
        pytest.param([1, 30000, 2, 30001, 3], [[1], [], [2], [], [3]], id="far off, but not in a row"),
    ],
)
def test_arrivals(arrivals: list[int], handed_on: list[list[int]]) -> None:
    buffer = JitterBuffer(90_000, capacity=64)
    assert [push(buffer, sequence) for sequence in arrivals] == handed_on


@given(
    first=st.integers(0, 65535),
    count=st.integers(1, 300),
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from([0.0, 0.05, 0.5]),
    spread=st.integers(0, 20),
)
def test_whatever_comes_is_handed_on_once_and_in_order(
    first: int, count: int, seed: int, loss: float, spread: int
) -> None:
    noise = random.Random(seed)
    order = sorted(range(count), key=lambda i: i + noise.random() * spread)
    start = order.pop(order.index(0))
    arrivals = [start, *(i for i in order if noise.random() >= loss)]
    arrivals += [i for i in arrivals if noise.random() < 0.1]
    buffer = JitterBuffer(90_000, capacity=1024)
    got: list[int] = []
    for i in arrivals:
        got += push(buffer, first + i)
        assert buffer.held <= count
    got += [found.sequence for found in buffer.flush()]
    assert got == [first + i & 0xFFFF for i in sorted(set(arrivals))]
    assert buffer.received == len(set(arrivals))
    assert buffer.duplicates == len(arrivals) - len(set(arrivals))
    assert buffer.lost == max(arrivals) + 1 - len(set(arrivals))
    assert buffer.held == 0
    assert buffer.deadline() is None


@given(st.lists(st.tuples(st.integers(0, 65535) | st.integers(0, 100), st.integers(0, 3)), max_size=200))
def test_any_numbers_are_bounded(arrivals: list[tuple[int, int]]) -> None:
    buffer = JitterBuffer(90_000, capacity=16)
    now = 0.0
    out = 0
    for sequence, step in arrivals:
        now += step / 10
        out += len(push(buffer, sequence, now))
        out += len(buffer.expire(now))
        assert buffer.held <= 16
        assert len(buffer._missing) <= 16
        assert len(buffer._given_up) <= 16
        buffer.nacks(now)
    assert out + buffer.held <= len(arrivals)
    report = buffer.report(1)
    assert 0 <= report.fraction <= 255


def test_a_gap_is_given_up_when_its_time_is_over() -> None:
    buffer = JitterBuffer(90_000, max_wait=0.5)
    push(buffer, 1, 10.0)
    push(buffer, 3, 10.1)
    push(buffer, 6, 10.3)
    assert not buffer.expire(10.59)
    assert [found.sequence for found in buffer.expire(10.6)] == [3]
    assert (buffer.lost, buffer.held) == (1, 1)
    assert [found.sequence for found in buffer.expire(10.8)] == [6]
    assert (buffer.lost, buffer.held) == (3, 0)
    assert push(buffer, 2, 10.9) == []
    assert (buffer.late, buffer.duplicates) == (1, 0)
    assert push(buffer, 2, 10.9) == []
    assert (buffer.late, buffer.duplicates) == (1, 1)
    assert push(buffer, 7, 10.9) == [7]


def test_what_is_missing_is_asked_for_again_and_again() -> None:
    buffer = JitterBuffer(90_000, max_wait=1.0, reorder=0.01, max_tries=3)
    push(buffer, 65534, 5.0)
    push(buffer, 1, 5.0)
    assert buffer.nacks(5.005, 0.1) == []
    assert buffer.deadline() == pytest.approx(5.01)
    assert buffer.nacks(5.01, 0.1) == [65535, 0]
    assert buffer.nacks(5.1, 0.1) == []
    assert push(buffer, 65535, 5.1, repaired=True) == [65535]
    assert buffer.recovered == 1
    assert buffer.nacks(5.11, 0.1) == [0]
    assert buffer.nacks(5.21, 0.1) == [0]
    assert buffer.nacks(5.31, 0.1) == []
    assert buffer.deadline() == pytest.approx(6.0)
    assert push(buffer, 0, 5.4, repaired=True) == [0, 1]
    assert (buffer.recovered, buffer.requested, buffer.lost, buffer.received) == (2, 4, 0, 2)
    assert buffer.deadline() is None


def test_nothing_is_asked_for_that_would_come_too_late_or_all_at_once() -> None:
    buffer = JitterBuffer(90_000, max_wait=0.5)
    push(buffer, 1, 5.0)
    push(buffer, 1000, 5.0)
    assert len(buffer.nacks(5.1, 0.1)) == MAX_NACKS
    assert len(buffer.nacks(5.1, 0.1)) == 998 - MAX_NACKS
    late = JitterBuffer(90_000, max_wait=0.5)
    push(late, 1, 5.0)
    push(late, 3, 5.0)
    assert late.nacks(5.1, 0.45) == []


def test_the_report_tells_loss_of_the_interval_and_of_all() -> None:
    buffer = JitterBuffer(90_000, max_wait=0.1)
    for i in range(100):
        if i % 4 != 3:
            push(buffer, 65500 + i, i / 100)
    push(buffer, 65600, 1.0)
    report = buffer.report(7, 5, 6)
    assert (report.ssrc, report.last_report, report.delay) == (7, 5, 6)
    assert report.highest == 65600
    assert report.lost == 25
    assert report.fraction == 25 * 256 // 101
    for i in range(10):
        push(buffer, 65601 + i, 1.0)
    assert (again := buffer.report(7)).fraction == 0
    assert again.lost == 25


def test_jitter_is_that_of_the_arrivals() -> None:
    """Frames of 20 ms that come 5 ms early and late in turn: the estimate goes to 10 ms (RFC 3550, 6.4.1)."""
    steady, shaken = JitterBuffer(48_000), JitterBuffer(48_000)
    for i in range(300):
        sound = packet(i, 0xFFFFF000 + 960 * i)
        steady.push(sound, 1000 + i / 50)
        shaken.push(sound, 1000 + i / 50 + (0.005 if i % 2 else -0.005))
    assert steady.jitter < 1.5
    assert shaken.jitter == pytest.approx(480, rel=0.02)


@pytest.mark.parametrize("capacity", [0, 1, 3, 1000, 32768])
def test_a_capacity_is_a_power_of_two(capacity: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        JitterBuffer(90_000, capacity=capacity)
