"""Who is in a channel by name: joins, leaves, counts, over connections, nodes, crashes and outages."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime.broker.memory import Exchange, MemoryBroker
from realtime.broker.redis import RedisBroker
from realtime.crowds import CrowdOptions
from realtime.hub import HubOptions
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from realtime.rules import Action
from tests.realtime.stage import Client, Feature, Node, Tokens, running
from tests.servers.redis import RedisServer

ROOM = "live:x"
LINGER = 1.5


def options(**crowds: Any) -> HubOptions:
    given = {"leave_seconds": 0.6, "wanted_seconds": 2.0, "doubt_seconds": 2.0, **crowds}
    return HubOptions(presence_seconds=0.1, check_seconds=30, check_seconds_degraded=30, crowds=CrowdOptions(**given))


@dataclass
class Shy:
    """A discretion: who is not to be named, by id."""

    ids: set[str] = field(default_factory=set)

    async def hidden(self, ids: Collection[str]) -> Collection[str]:
        return self.ids & set(ids)


class Room:
    """What a client knows of who is there, from what it was told."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.people: dict[str, str] = {}
        self.count = 0
        self.sampled = False
        self.left: list[str] = []
        self.joined: list[str] = []

    def take(self) -> None:
        told, kept = list(self.client.told), []
        for message in told:
            if message["type"] != "members":
                kept.append(message)
                continue
            self.count, self.sampled = message["count"], message.get("sampled", False)
            if "people" in message:
                self.people = {}
            for user in message.get("people", []):
                self.people[user["id"]] = user["username"]
            for user in message.get("joined", []):
                self.joined.append(user["username"])
                self.people[user["id"]] = user["username"]
            for id in message.get("left", []):
                self.left.append(self.people.pop(id))
        self.client.told.clear()
        self.client.told.extend(kept)

    async def until(self, *names: str, count: int | None = None, within: float = 20.0) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    self.take()
                    if sorted(self.people.values()) == sorted(names) and count in (None, self.count):
                        return
                    await asyncio.sleep(0.02)
        raise AssertionError(f"{sorted(self.people.values())} ({self.count}), not {sorted(names)} ({count})")


async def enter(node: Node, name: str, *, presence: bool = True, room: str = ROOM, **more: Any) -> tuple[Client, Room]:
    token = next((token for token, who in node.tokens.known.items() if who.username == name), None)
    client = await node.connect(token or node.tokens.sign_in(name), viewer=name, **more)
    answer = await client.ask("subscribe", channel=room, presence=presence)
    assert answer["type"] == "ack", answer
    return client, Room(client)


@dataclass
class Fleet:
    a: Node
    b: Node
    shy: Shy
    feature: Feature
    redis: RedisServer | None


@pytest.fixture(params=["memory", "redis"])
async def fleet(request: pytest.FixtureRequest, tokens: Tokens, feature: Feature) -> AsyncIterator[Fleet]:
    server: RedisServer | None = None
    shy = Shy()
    parts: list[Callable[[], Any]]
    if request.param == "memory":
        exchange, there = Exchange(), MemoryPresence(LINGER)
        parts = [lambda: MemoryBroker(exchange), lambda: there]
    else:
        server = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        url, prefix = server.url, f"{uuid.uuid4()}:"
        parts = [
            lambda: RedisBroker(url, prefix=prefix, silence=0.3, patience=1.0),
            lambda: RedisPresence(url, prefix=prefix, linger=LINGER, patience=1.0),
        ]
    nodes = [
        Node(feature, tokens, name=name, broker=parts[0](), presence=parts[1](), hub_options=options(), discretion=shy)
        for name in "ab"
    ]
    feature.hub = nodes[0].hub
    async with running(*nodes):
        try:
            yield Fleet(nodes[0], nodes[1], shy, feature, server)
        finally:
            if server is not None and server.process is None:
                server.start()


async def test_people_join_once_and_leave_with_their_last_connection(fleet: Fleet) -> None:
    _, seen = await enter(fleet.a, "ann")
    await seen.until("ann", count=1)
    first, _ = await enter(fleet.a, "bob", presence=False)
    second, _ = await enter(fleet.b, "bob", presence=False, format="msgpack")
    guest = await fleet.b.connect(viewer="some guest")
    await guest.ask("subscribe", channel=ROOM)
    await seen.until("ann", "bob", count=3)
    await first.close()
    await enter(fleet.b, "cid")
    await seen.until("ann", "bob", "cid", count=4)
    assert (seen.joined.count("bob"), seen.left) == (1, [])
    await second.close()
    await guest.ask("unsubscribe", channel=ROOM)
    await seen.until("ann", "cid", count=2)
    assert seen.left == ["bob"]
    # who comes later gets all that there is; who subscribes again without it hears no more
    client, later = await enter(fleet.b, "dan")
    await later.until("ann", "cid", "dan", count=3)
    await client.ask("subscribe", channel=ROOM)
    await enter(fleet.a, "eve")
    await seen.until("ann", "cid", "dan", "eve", count=4)
    later.take()
    assert "eve" not in later.people.values()


async def test_a_page_that_is_loaded_again_is_no_leave(fleet: Fleet) -> None:
    _, seen = await enter(fleet.a, "ann")
    for _ in range(3):
        bob, _ = await enter(fleet.b, "bob", presence=False)
        await seen.until("ann", "bob")
        await bob.close()
    bob, _ = await enter(fleet.a, "bob", presence=False)
    await enter(fleet.a, "cid", presence=False)
    await seen.until("ann", "bob", "cid")
    assert (seen.joined.count("bob"), seen.left) == (1, [])


async def test_who_does_not_want_to_be_named_is_counted(fleet: Fleet) -> None:
    _, seen = await enter(fleet.a, "ann")
    await enter(fleet.b, "bob", presence=False)
    await seen.until("ann", "bob", count=2)
    fleet.shy.ids = {str(who.user_id) for who in fleet.b.tokens.known.values() if who.username == "bob"}
    await seen.until("ann", count=2)
    assert seen.left == ["bob"]
    fleet.shy.ids = set()
    await seen.until("ann", "bob", count=2)


async def test_only_who_may_sees_who_is_there(fleet: Fleet) -> None:
    ann, seen = await enter(fleet.a, "ann")
    _, others = await enter(fleet.a, "bob")
    await others.until("ann", "bob")
    id = next(who.user_id for who in fleet.a.tokens.known.values() if who.username == "ann")
    fleet.feature.may_not = {(id, Action.PRESENCE), (None, Action.PRESENCE)}
    fleet.b.hub.recheck(ROOM)
    assert (await ann.hear("members_closed"))["code"] == "forbidden"
    await enter(fleet.a, "cid", presence=False)
    await others.until("ann", "bob", "cid")
    seen.take()
    assert "cid" not in seen.people.values()
    # the subscription goes on
    fleet.a.say(ROOM, {"text": "hello"})
    await ann.hear("message")
    assert (await ann.ask("subscribe", channel=ROOM, presence=True))["code"] == "forbidden"
    guest = await fleet.a.connect()
    assert (await guest.ask("subscribe", channel=ROOM, presence=True))["code"] == "forbidden"


async def test_those_of_a_node_that_crashed_expire(fleet: Fleet) -> None:
    _, seen = await enter(fleet.a, "ann")
    await enter(fleet.b, "bob", presence=False)
    await seen.until("ann", "bob", count=2)
    while tasks := list(fleet.b.hub._tasks):  # as kill -9: no farewell of any kind, and nothing that goes on
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)  # Python 3.11's wait_for and redis may swallow it: then once more
    await seen.until("ann", count=1)
    assert seen.left == ["bob"]


async def test_redis_restarts_and_nobody_has_left(fleet: Fleet) -> None:
    if fleet.redis is None:
        pytest.skip("there is no Redis in this one")
    ann, seen = await enter(fleet.a, "ann")
    _, others = await enter(fleet.b, "bob")
    await seen.until("ann", "bob")
    await others.until("ann", "bob")
    fleet.redis.close()
    await ann.hear("notice", code="degraded", within=20)
    await enter(fleet.a, "cid")
    await seen.until("ann", "bob", "cid")  # who is here is seen; who is elsewhere stays
    fleet.redis.start()
    await ann.hear("notice", code="restored", within=30)
    await others.until("ann", "bob", "cid", within=30)
    _, late = await enter(fleet.b, "dan")
    await late.until("ann", "bob", "cid", "dan")
    await seen.until("ann", "bob", "cid", "dan")
    assert (seen.left, others.left) == ([], [])


async def test_a_large_room_is_counted_and_sampled(tokens: Tokens, feature: Feature) -> None:
    node = Node(feature, tokens, hub_options=options(most=3, sample=2))
    feature.hub = node.hub
    async with running(node):
        _, seen = await enter(node, "p0")
        others = [(await enter(node, f"p{number}", presence=False))[0] for number in range(1, 6)]
        async with asyncio.timeout(20):
            while not (seen.sampled and seen.count == 6):
                seen.take()
                await asyncio.sleep(0.02)
        assert len(seen.people) == 2
        _, late = await enter(node, "p6")
        async with asyncio.timeout(20):
            while late.count != 7:
                late.take()
                await asyncio.sleep(0.02)
        assert (late.sampled, len(late.people)) == (True, 2)
        for other in others:
            await other.close()
        await seen.until("p0", "p6", count=2)
        assert not seen.sampled


async def test_over_server_sent_events(tokens: Tokens, feature: Feature) -> None:
    node = Node(feature, tokens, hub_options=options())
    feature.hub = node.hub
    async with running(node):
        stream = await node.listen(ROOM, token=tokens.sign_in("ann"), presence=True)
        seen = Room(stream)
        await enter(node, "bob", presence=False)
        await seen.until("ann", "bob", count=2)


async def test_a_crowd_that_nobody_looks_at_is_forgotten(fleet: Fleet) -> None:
    ann, seen = await enter(fleet.a, "ann")
    await enter(fleet.b, "bob", presence=False)
    await seen.until("ann", "bob")
    await ann.close()
    async with asyncio.timeout(20):
        while any(node.hub.describe()["members"]["crowds"] for node in (fleet.a, fleet.b)):
            await asyncio.sleep(0.05)
