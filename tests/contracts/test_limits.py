"""One suite for every way of counting how often somebody does something: in this process and in Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from server.kit.limits import Limits, Rate
from tests.servers.redis import RedisServer
from tests.support import eventually

SLOW = Rate(3, 30_000)  # one each 10,000 s: no test sees the next
QUICK = Rate(2, 0.4)


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Limits, Limits]]:
    """Two processes' views of the same limits."""
    if request.param == "memory":
        one = Limits()
        pair = (one, one)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        prefix = f"{uuid.uuid4()}"
        pair = (
            Limits(server.url, prefix=prefix, answer_seconds=10),
            Limits(server.url, prefix=prefix, answer_seconds=10),
        )
    for node in dict.fromkeys(pair):
        node.start()
    yield pair
    for node in dict.fromkeys(pair):
        assert not node.away
        await node.close()


async def test_so_many_at_once_wherever_they_are_asked_for(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    assert [(await node.take("x", SLOW)).remaining for node in (a, b, a)] == [2, 1, 0]
    for node in (a, b, a, b):
        refused = await node.take("x", SLOW)
        assert not refused.allowed
        assert refused.remaining == 0
        assert 9_990 < refused.retry_after <= 10_000
        assert refused.reset == refused.retry_after


async def test_when_there_is_more(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    first, second, third = [await node.take("x", SLOW) for node in (a, b, a)]
    assert 9_990 < first.reset <= 10_000  # all three are there again
    assert 19_990 < second.reset <= 20_000
    assert 9_990 < third.reset <= 10_000  # one is
    assert first.retry_after == second.retry_after == third.retry_after == 0


async def test_keys_count_for_themselves(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    for key in ("x", "y", "read:@2001:db8::/64", "odd {key} ü\n", ""):
        assert [(await node.take(key, SLOW)).allowed for node in (a, b, a, b)] == [True, True, True, False]


async def test_then_one_each_interval(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    assert [(await node.take("x", QUICK)).allowed for node in (a, b)] == [True, True]
    refused = await a.take("x", QUICK)
    assert 0 < refused.retry_after <= 0.2
    loop = asyncio.get_running_loop()
    started, allowed = loop.time(), 0

    async def three_more() -> bool:
        nonlocal allowed
        allowed += (await b.take("x", QUICK)).allowed
        return allowed == 3

    await eventually(three_more)
    assert loop.time() - started > 0.4  # the third comes two intervals after the first at the earliest


async def test_asking_in_vain_costs_nothing(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    for _ in range(3):
        await a.take("x", SLOW)
    before = await b.take("x", SLOW)
    for _ in range(50):
        assert not (await a.take("x", SLOW)).allowed
        assert not (await b.take("x", SLOW)).allowed
    assert (await b.take("x", SLOW)).retry_after <= before.retry_after


async def test_many_at_the_same_time_get_no_more_than_there_is(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    rate = Rate(40, 400_000)
    verdicts = await asyncio.gather(*((a, b)[number % 2].take("x", rate) for number in range(200)))
    assert sum(verdict.allowed for verdict in verdicts) == 40
    assert {verdict.remaining for verdict in verdicts if verdict.allowed} == set(range(40))


async def test_a_caller_who_moves_to_another_tier_keeps_what_he_used(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    for _ in range(3):
        await a.take("x", SLOW)
    assert not (await b.take("x", Rate(30, 30_000))).allowed
    assert (await b.take("x", Rate(30, 300_000))).remaining == 26


async def test_no_limit_in_time_refuses_nobody(nodes: tuple[Limits, Limits]) -> None:
    a, b = nodes
    assert all([(await node.take("x", Rate(1, 0))).allowed for node in (a, b, a, b)])
