"""One suite for every way of knowing who is there: memory and Redis."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from realtime.presence import Presence
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from tests.servers.redis import RedisServer
from tests.support import eventually

LINGER = 0.6


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Presence, Presence]]:
    """Two nodes' views of the same presence."""
    if request.param == "memory":
        one = MemoryPresence(LINGER)
        pair: tuple[Presence, Presence] = (one, one)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        prefix = f"{uuid.uuid4()}:"
        pair = (
            RedisPresence(server.url, linger=LINGER, prefix=prefix),
            RedisPresence(server.url, linger=LINGER, prefix=prefix),
        )
    yield pair
    for node in dict.fromkeys(pair):
        await node.close()


async def test_viewers_of_all_nodes_count_once(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    assert await a.refresh({"x": {"1", "2"}, "y": set()}) == {"x": {"1", "2"}, "y": frozenset()}
    assert (await b.refresh({"x": {"2", "3"}}))["x"] == {"1", "2", "3"}
    assert await a.viewers("x") == {"1", "2", "3"}
    assert await a.viewers("y") == await a.viewers("never heard of") == frozenset()


async def test_who_gives_no_sign_of_life_expires_and_others_stay(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    await a.refresh({"x": {"gone", "both"}})

    async def only_two() -> bool:
        return (await b.refresh({"x": {"here", "both"}}))["x"] == {"here", "both"}

    assert not await only_two()
    await eventually(only_two, within=60)
    await eventually(lambda: _none(a, "x"), within=60)


async def _none(presence: Presence, channel: str) -> bool:
    return not await presence.viewers(channel)


async def test_a_leaving_viewer_lingers(nodes: tuple[Presence, Presence]) -> None:
    a, _ = nodes
    await a.refresh({"x": {"1"}})
    assert (await a.refresh({"x": set()}))["x"] == {"1"}


async def test_many_viewers_and_odd_keys(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    keys = {f"viewer {number} ü" for number in range(5000)}
    assert (await a.refresh({"x": keys}))["x"] == keys
    assert await b.viewers("x") == keys


async def test_nothing_held_asks_nothing(nodes: tuple[Presence, Presence]) -> None:
    assert await nodes[0].refresh({}) == {}


async def test_clear(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    await a.refresh({"x": {"1"}, "y": {"1"}})
    await a.clear("x")
    assert await b.viewers("x") == frozenset()
    assert await b.viewers("y") == {"1"}
    assert (await a.refresh({"x": {"1"}}))["x"] == {"1"}
