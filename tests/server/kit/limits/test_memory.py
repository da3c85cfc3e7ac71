"""Rates counted in one process."""

from __future__ import annotations

import sys
from itertools import islice

import pytest

from server.kit.limits import Limiter, Limits, Memory, Rate


def test_a_burst_then_one_an_interval() -> None:
    moment = 100_000_000
    limiter = Limiter(3, 10.0, clock=lambda: moment)
    assert [limiter.take("a").remaining for _ in range(3)] == [2, 1, 0]
    refused = limiter.take("a")
    assert (refused.allowed, refused.retry_after) == (False, 10.0)
    assert limiter.take("b").allowed
    moment += 9_000_000
    assert limiter.take("a").retry_after == 1.0
    moment += 1_000_000
    assert limiter.take("a").allowed
    assert not limiter.take("a").allowed
    moment += 1_000_000_000
    assert [limiter.take("a").allowed for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("rate", [Rate.parse("7/minute"), Rate.parse("600/minute"), Rate.parse("1000000/second")])
def test_the_amount_is_exact_at_once_and_over_time(rate: Rate) -> None:
    moment = 1
    memory = Memory(clock=lambda: moment)
    sizes = rate.amount if rate.amount < 1000 else 0
    for _ in range(sizes):
        assert memory.take("a", rate).allowed
    assert memory.take("a", rate).allowed == (not sizes)
    start, allowed = moment, 0
    for moment in range(start, start + rate.window * 3 + 1, max(rate.interval // 3, 1)):
        if moment - start > rate.interval * 1000:
            break
        allowed += memory.take("a", rate).allowed
    assert allowed <= (moment - start) // rate.interval + (0 if sizes else rate.amount)


def test_a_million_addresses_are_bounded() -> None:
    memory = Memory(max_keys=1000)
    rate = Rate.parse("1/hour")
    sizes = set()
    for number in range(1_000_000):
        memory.take(f"read:@10.{number >> 16}.{number >> 8 & 255}.{number & 255}", rate)
        if number % 50_000 == 49_999:
            assert len(memory) == 1000
            sizes.add(sys.getsizeof(memory._full_at))
    assert len(sizes) <= 2  # the table of the dictionary does not grow either
    assert not memory.take("read:@10.15.66.63", rate).allowed  # the last ones are still known


async def test_the_limits_of_a_process_are_bounded_too() -> None:
    limits = Limits(max_keys=100)
    for number in range(1000):
        await limits.take(str(number), Rate.parse("1/hour"))
    assert limits.describe() == {"counted": "in this process", "callers": 100}


def test_who_asks_in_vain_is_not_forgotten_for_it() -> None:
    memory = Memory(max_keys=2)
    rate = Rate.parse("1/hour")
    assert memory.take("a", rate).allowed
    assert memory.take("b", rate).allowed
    assert not memory.take("a", rate).allowed
    assert list(islice(memory._full_at, 2)) == ["b", "a"]
    assert memory.take("c", rate).allowed
    assert not memory.take("a", rate).allowed
