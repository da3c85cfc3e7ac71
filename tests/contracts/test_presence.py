"""One suite for every way of knowing who is there: memory and Redis."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.presence import Attendance, Attending, Presence
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from tests.servers.redis import RedisServer
from tests.support import eventually

LINGER = 0.6


@asynccontextmanager
async def two(request: pytest.FixtureRequest, linger: float) -> AsyncIterator[tuple[Presence, Presence]]:
    if request.param == "memory":
        one = MemoryPresence(linger)
        pair: tuple[Presence, Presence] = (one, one)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        prefix = f"{uuid.uuid4()}:"
        pair = (
            RedisPresence(server.url, linger=linger, prefix=prefix),
            RedisPresence(server.url, linger=linger, prefix=prefix),
        )
    yield pair
    for node in dict.fromkeys(pair):
        await node.close()


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Presence, Presence]]:
    """Two nodes' views of the same presence."""
    async with two(request, LINGER) as pair:
        yield pair


@pytest.fixture(params=["memory", "redis"])
async def patient(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Presence, Presence]]:
    """The same, for what takes its time on a busy machine."""
    async with two(request, 60.0) as pair:
        yield pair


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


async def test_many_viewers_and_odd_keys(patient: tuple[Presence, Presence]) -> None:
    a, b = patient
    keys = {f"viewer {number} ü" for number in range(5000)}
    assert (await a.refresh({"x": keys}))["x"] == keys
    assert await b.viewers("x") == keys
    more = {f"late {number}" for number in range(300)}  # beside small sets, of which several fit into one step
    small = {f"room {number}": {f"{number} {at}" for at in range(90)} for number in range(20)}
    for _ in range(2):
        assert await b.refresh({"x": more, **small}) == {"x": keys | more, **small}


async def test_nothing_held_asks_nothing(nodes: tuple[Presence, Presence]) -> None:
    assert await nodes[0].refresh({}) == {}


async def test_clear(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    await a.refresh({"x": {"1"}, "y": {"1"}})
    await a.clear("x")
    assert await b.viewers("x") == frozenset()
    assert await b.viewers("y") == {"1"}
    assert (await a.refresh({"x": {"1"}}))["x"] == {"1"}


async def test_members_come_and_go_at_once(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    room = Attending(frozenset({"ann", "bob"}), most=10)
    assert await a.attend({"x": room, "y": Attending(frozenset())}) == {
        "x": Attendance(2, frozenset({"ann", "bob"})),
        "y": Attendance(0, frozenset()),
    }
    assert (await b.attend({"x": Attending(frozenset({"cid"}), most=10)}))["x"].keys == {"ann", "bob", "cid"}
    assert (await a.attend({"x": Attending(frozenset({"ann"}), gone={"bob"}, most=10)}))["x"].keys == {"ann", "cid"}
    assert await b.among("x", {"ann", "bob", "nobody"}) == {"ann"}
    assert await b.among("never heard of", {"ann"}) == await b.among("x", ()) == frozenset()
    # viewers of the same name are something else
    assert await a.viewers("x") == frozenset()


async def test_who_is_gone_from_one_node_and_stays_at_another_is_there(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    await a.attend({"x": Attending(frozenset({"ann"}), most=10)})
    await b.attend({"x": Attending(frozenset({"ann"}), most=10)})
    await a.attend({"x": Attending(frozenset(), gone={"ann"}, most=10)})
    for _ in range(2):
        found = await b.attend({"x": Attending(frozenset({"ann"}), most=10)})
    assert found["x"].keys == {"ann"}
    assert await a.among("x", {"ann"}) == {"ann"}


async def test_of_many_members_a_sample_is_told(patient: tuple[Presence, Presence]) -> None:
    a, b = patient
    everybody = {f"{number} ü" for number in range(5000)}
    found = (await a.attend({"x": Attending(everybody, most=100, sample=7)}))["x"]
    assert (found.count, len(found.keys), found.keys <= everybody) == (5000, 7, True)
    assert (await b.attend({"x": Attending(frozenset(), most=100)}))["x"] == Attendance(5000, frozenset())
    assert await b.among("x", everybody | {"nobody"}) == everybody


async def test_members_that_give_no_sign_of_life_expire(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    await a.attend({"x": Attending(frozenset({"gone"}), most=10)})

    async def only_here() -> bool:
        return (await b.attend({"x": Attending(frozenset({"here"}), most=10)}))["x"].keys == {"here"}

    assert not await only_here()
    await eventually(only_here, within=60)
    assert await b.among("x", {"gone", "here"}) == {"here"}


async def test_members_are_told_again_when_the_store_has_lost_them(nodes: tuple[Presence, Presence]) -> None:
    a, b = nodes
    if not isinstance(a, RedisPresence):
        return
    await a.attend({"x": Attending(frozenset({"ann"}), most=10)})
    await a._redis.delete(a._room("x"))
    for _ in range(2):
        await a.attend({"x": Attending(frozenset({"ann"}), most=10)})
    assert await b.among("x", {"ann"}) == {"ann"}
