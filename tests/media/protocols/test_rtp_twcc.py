"""Transport-wide feedback from the log of arrivals to the sender's pairs of times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.protocols.rtp import rtcp
from media.protocols.rtp.feedback import MAX_STATUSES, TransportFeedback
from media.protocols.rtp.twcc import MAX_MESSAGE, MAX_PENDING, Acked, ArrivalLog, SendLog


def over_the_wire(message: TransportFeedback) -> TransportFeedback:
    data = message.build()
    assert len(data) < 1400
    (found,) = rtcp.parse(data)
    assert isinstance(found, TransportFeedback)
    return found


def carry(arrivals: ArrivalLog, log: SendLog) -> list[Acked]:
    return [acked for message in arrivals.feedback() for acked in log.acknowledged(over_the_wire(message))]


def test_what_came_and_what_did_not() -> None:
    log, arrivals = SendLog(), ArrivalLog(sender=1, source=2)
    for i in range(5):
        assert log.sent(10 + i / 100, 1000 + i) == i
    for i, at in ((0, 99.98), (1, 100.001), (3, 100.0), (4, 100.5)):
        arrivals.arrived(i, at)
    (message,) = arrivals.feedback()
    assert (message.sender, message.source, message.base, message.number) == (1, 2, 0, 0)
    acked = log.acknowledged(over_the_wire(message))
    assert [(one.sequence, one.size) for one in acked] == [(i, 1000 + i) for i in range(5)]
    assert [one.sent for one in acked] == [10 + i / 100 for i in range(5)]
    assert acked[2].arrived is None
    came = [one.arrived for one in acked if one.arrived is not None]
    assert [at - came[0] for at in came] == pytest.approx([0, 0.021, 0.02, 0.52], abs=0.0003)
    assert arrivals.feedback() == []


def test_what_comes_late_is_told_then_and_only_once() -> None:
    log, arrivals = SendLog(), ArrivalLog(sender=1)
    for _ in range(6):
        log.sent(1.0, 100)
    for i in (0, 2, 3):
        arrivals.arrived(i, 5.0)
    first = carry(arrivals, log)
    assert [one.sequence for one in first if one.arrived is None] == [1]
    arrivals.arrived(1, 5.2)
    arrivals.arrived(5, 5.21)
    arrivals.arrived(5, 5.9)
    again = carry(arrivals, log)
    assert [one.sequence for one in again] == [1, 4, 5]
    assert [one.arrived is None for one in again] == [False, True, False]


@given(st.integers(0, 1 << 30), st.floats(0, 0.4), st.integers(1, 400), st.floats(0.0001, 0.02))
def test_every_packet_is_told_of(seed: int, loss: float, count: int, step: float) -> None:
    noise = random.Random(seed)
    log, arrivals = SendLog(), ArrivalLog(sender=1)
    log._count = 65300  # the numbers wrap soon
    came: dict[int, float] = {}
    told: dict[int, float | None] = {}
    for i in range(count):
        number = log.sent(i * step, 500)
        if noise.random() >= loss:
            came[number] = 5000 + i * step + noise.random() / 50
            arrivals.arrived(number, came[number])
        if noise.random() < 0.05:
            told |= {one.sequence: one.arrived for one in carry(arrivals, log)}
    told |= {one.sequence: one.arrived for one in carry(arrivals, log)}
    assert {number for number, at in told.items() if at is not None} == set(came)
    shift = {round(at - came[number], 3) for number, at in told.items() if at is not None}
    assert all(abs(one - min(shift)) <= 0.0011 for one in shift)


def test_times_too_far_apart_and_too_many_packets_take_more_messages() -> None:
    arrivals = ArrivalLog(sender=1)
    arrivals.arrived(1, 10.0)
    arrivals.arrived(2, 30.0)
    arrivals.arrived(30, 29.0)
    arrivals.arrived(5000, 30.1)
    messages = arrivals.feedback()
    assert [(message.base, len(message.deltas), message.number) for message in messages] == [
        (1, 1, 0),
        (2, 29, 1),
        (5000, 1, 2),
    ]
    for i in range(3000):
        arrivals.arrived(10_000 + i, 40 + i / 1000)
    messages = arrivals.feedback()
    assert len(messages) == 3000 / MAX_MESSAGE
    assert all(len(message.deltas) <= MAX_MESSAGE <= MAX_STATUSES for message in messages)


def test_both_sides_are_bounded() -> None:
    arrivals = ArrivalLog(sender=1)
    for i in range(3 * MAX_PENDING):
        arrivals.arrived(i & 0xFFFF, i / 1000)
    assert sum(delta is not None for message in arrivals.feedback() for delta in message.deltas) == MAX_PENDING
    log = SendLog(64)
    for i in range(200):
        log.sent(i, 1)
    old = TransportFeedback(1, 2, 100, 0, 0, (1,) * 100)
    assert [one.sequence for one in log.acknowledged(old)] == list(range(136, 200))
    with pytest.raises(ValueError, match="power of two"):
        SendLog(100)


def test_feedback_about_what_was_never_sent_is_nothing() -> None:
    log = SendLog(64)
    everything = TransportFeedback(1, 2, 65000, 0, 0, (1,) * 1000)
    assert log.acknowledged(everything) == []
    log.sent(1.0, 1)
    assert [one.sequence for one in log.acknowledged(everything)] == [0]
