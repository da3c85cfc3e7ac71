"""One suite for every bus: memory and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.broker import Broker
from realtime.broker.memory import Exchange, MemoryBroker
from realtime.broker.redis import RedisBroker
from tests.servers.redis import RedisServer
from tests.support import eventually


class Ear:
    """A started broker and what it heard."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.heard: list[tuple[str, bytes]] = []
        self.statuses: list[bool] = []

    async def start(self) -> None:
        await self.broker.start(lambda topic, payload: self.heard.append((topic, payload)), self.statuses.append)


class Wire:
    """Makes brokers on one wire, and breaks that wire."""

    def __init__(self, make: Callable[[], Broker], cut: Callable[[], Any], mend: Callable[[], Any]) -> None:
        self._make = make
        self.cut, self.mend = cut, mend
        self.stack = AsyncExitStack()

    async def ear(self) -> Ear:
        ear = Ear(self._make())
        await ear.start()
        self.stack.push_async_callback(ear.broker.close)
        return ear


@pytest.fixture(params=["memory", "redis"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    if request.param == "memory":
        exchange = Exchange()
        brokers: list[MemoryBroker] = []

        def make() -> Broker:
            brokers.append(MemoryBroker(exchange))
            return brokers[-1]

        wire = Wire(make, lambda: [b.cut() for b in brokers], lambda: [b.connect() for b in brokers])
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        wire = Wire(lambda: RedisBroker(server.url, silence=0.2, patience=0.5), server.close, server.start)
    async with wire.stack:
        yield wire


async def test_who_subscribed_hears_in_the_sender_s_order(wire: Wire) -> None:
    a, b = await wire.ear(), await wire.ear()
    await a.broker.subscribe("x")
    await b.broker.subscribe("y")
    for number in range(500):
        b.broker.publish("x", b"%d" % number)
        b.broker.publish("y", b"%d" % number)
    await eventually(lambda: len(a.heard) == len(b.heard) == 500)
    assert a.heard == [("x", b"%d" % number) for number in range(500)]
    assert b.heard == [("y", b"%d" % number) for number in range(500)]


async def test_any_bytes_and_any_topic(wire: Wire) -> None:
    ear = await wire.ear()
    topic, payload = "live:ünïcode *?[x]", bytes(range(256)) * 300
    await ear.broker.subscribe(topic)
    ear.broker.publish(topic, payload)
    ear.broker.publish(topic, b"")
    await eventually(lambda: len(ear.heard) == 2)
    assert ear.heard == [(topic, payload), (topic, b"")]


async def test_subscribing_twice_hears_once_and_unsubscribing_ends_it(wire: Wire) -> None:
    ear = await wire.ear()
    for _ in range(2):
        await ear.broker.subscribe("x")
    await ear.broker.subscribe("y")
    ear.broker.publish("x", b"1")
    await eventually(lambda: ear.heard)
    await ear.broker.unsubscribe("x")
    await ear.broker.unsubscribe("never subscribed")
    ear.broker.publish("x", b"2")
    ear.broker.publish("y", b"3")
    await eventually(lambda: ("y", b"3") in ear.heard)
    assert ear.heard == [("x", b"1"), ("y", b"3")]


async def test_a_subscription_may_be_taken_up_again(wire: Wire) -> None:
    ear = await wire.ear()
    for number in range(5):
        await ear.broker.subscribe("x")
        ear.broker.publish("x", b"%d" % number)
        await eventually(lambda number=number: len(ear.heard) == number + 1)  # type: ignore[misc]
        await ear.broker.unsubscribe("x")


async def test_a_broken_wire_is_told_and_heals_by_itself(wire: Wire) -> None:
    a, b = await wire.ear(), await wire.ear()
    await a.broker.subscribe("x")
    assert a.broker.connected
    wire.cut()
    await eventually(lambda: not a.broker.connected and not b.broker.connected)
    b.broker.publish("x", b"lost")
    await a.broker.subscribe("y")  # while it is broken
    wire.mend()
    await eventually(lambda: a.broker.connected and b.broker.connected)
    assert a.statuses == [True, False, True]
    await a.broker.subscribe("y")
    b.broker.publish("x", b"1")
    b.broker.publish("y", b"2")
    await eventually(lambda: len(a.heard) == 2)
    assert sorted(a.heard) == [("x", b"1"), ("y", b"2")]


async def test_starting_without_the_wire(wire: Wire) -> None:
    wire.cut()
    try:
        ear = await wire.ear()
        await ear.broker.subscribe("x")
    finally:
        wire.mend()
    await eventually(lambda: ear.broker.connected)
    await ear.broker.subscribe("x")
    ear.broker.publish("x", b"1")
    await eventually(lambda: ear.heard == [("x", b"1")])


async def test_describe_says_what_it_is(wire: Wire) -> None:
    ear = await wire.ear()
    await ear.broker.subscribe("x")
    told = ear.broker.describe()
    assert told["connected"] is True
    assert told["topics"] == 1
    await ear.broker.close()
    assert ear.broker.connected is False
