"""Two nodes and a real Redis that is killed, started again, stopped: clients stay, are told, and miss nothing."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest

from realtime.broker.redis import RedisBroker
from realtime.hub import HubOptions
from realtime.presence.redis import RedisPresence
from tests.realtime.stage import Client, Feature, Node, Tokens, all_hear, running
from tests.servers.redis import RedisServer
from tests.support import eventually

CHANNEL = "live:room"
QUICK = HubOptions(
    presence_seconds=0.05, check_seconds=30, check_seconds_degraded=0.1, hole_patience=0.005, doubt_seconds=0.1
)


class Fleet:
    def __init__(self, server: RedisServer, nodes: list[Node]) -> None:
        self.server = server
        self.a, self.b = nodes

    def signal(self, number: int) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(number)

    async def whole(self) -> None:
        await eventually(lambda: not self.a.hub.describe()["degraded"] and not self.b.hub.describe()["degraded"])


@pytest.fixture
async def fleet(
    redis_server: RedisServer, feature: Feature, tokens: Tokens, request: pytest.FixtureRequest
) -> AsyncIterator[Fleet]:
    if redis_server.process is None:
        redis_server.start()
    name = request.node.name
    nodes = [
        Node(
            feature,
            tokens,
            broker=RedisBroker(redis_server.url, silence=0.2, patience=0.4, prefix=name),
            presence=RedisPresence(redis_server.url, linger=0.5, prefix=name + "viewers:", patience=0.4),
            name=which,
            hub_options=QUICK,
        )
        for which in "ab"
    ]
    async with running(*nodes):
        fleet = Fleet(redis_server, nodes)
        try:
            yield fleet
        finally:
            if redis_server.process is not None:
                fleet.signal(signal.SIGCONT)
            else:
                redis_server.start()


async def holders(fleet: Fleet, token: str = "") -> list[Client]:
    clients = [await fleet.a.connect(token), await fleet.b.connect(token)]
    for client in clients:
        await client.ask("subscribe", channel=CHANNEL)
    return clients


async def all_have(clients: list[Client], count: int) -> None:
    """Every message once, in order, and the connection has lived."""
    for client in clients:
        assert await all_hear(client, CHANNEL, count) == list(range(1, count + 1))
        assert client.close_code is None


@pytest.mark.parametrize("times", [1, 3])
async def test_redis_is_killed_and_started_again(fleet: Fleet, times: int) -> None:
    clients = await holders(fleet)
    said = 0
    for _ in range(times):
        for node in (fleet.a, fleet.b):
            said = node.say(CHANNEL, "before")
        fleet.server.close()
        for node in (fleet.a, fleet.b) * 5:
            said = node.say(CHANNEL, "meanwhile")
        await eventually(lambda: fleet.a.hub.describe()["degraded"] and fleet.b.hub.describe()["degraded"])
        for client in clients:
            await all_hear(client, CHANNEL, said)
        fleet.server.start()
        await fleet.whole()
    for node in (fleet.a, fleet.b):
        said = node.say(CHANNEL, "after")
    await all_have(clients, said)
    for client in clients:
        notices = [told["code"] for told in client.told if told["type"] == "notice"]
        assert notices[:1] == ["degraded"]
        assert notices.count("degraded") >= times
        await eventually(
            lambda client=client: [t for t in client.told if t["type"] == "notice"][-1]["code"] == "restored"  # type: ignore[misc]
        )


async def test_redis_stands_still_for_a_while(fleet: Fleet) -> None:
    """Its connections live, but nothing answers: what it hears afterwards comes late, and again."""
    clients = await holders(fleet)
    fleet.a.say(CHANNEL, "before")
    fleet.signal(signal.SIGSTOP)
    for number in range(20):
        (fleet.a if number % 2 else fleet.b).say(CHANNEL, number)
    await eventually(lambda: fleet.a.hub.describe()["degraded"] and fleet.b.hub.describe()["degraded"])
    for client in clients:
        await eventually(lambda client=client: 21 in client.offsets(CHANNEL))  # type: ignore[misc]
    late = await fleet.b.connect()
    assert (await late.hear("notice"))["code"] == "degraded"
    assert (await late.ask("subscribe", channel="live:other"))["type"] == "ack"
    fleet.signal(signal.SIGCONT)
    await fleet.whole()
    fleet.b.say(CHANNEL, "after")
    await all_have(clients, 22)


async def test_rights_and_states_that_changed_unheard(fleet: Fleet, feature: Feature, tokens: Tokens) -> None:
    """The node that knows cannot tell the other: that one asks by itself."""
    token = tokens.sign_in("ann")
    here, there = await holders(fleet, token)
    guest = await fleet.b.connect()
    await guest.ask("subscribe", channel=CHANNEL)
    fleet.server.close()
    await eventually(lambda: fleet.a.hub.describe()["degraded"] and fleet.b.hub.describe()["degraded"])
    feature.banned.add(tokens.known[token].user_id)
    feature.states[CHANNEL] = {"state": "ended"}
    fleet.a.hub.recheck(CHANNEL)
    fleet.a.hub.state(CHANNEL, {"state": "ended"})
    assert (await guest.hear("state"))["data"] == {"state": "ended"}
    for client in (here, there):
        assert (await client.hear("closed"))["code"] == "forbidden"
    assert fleet.b.hub.holders(CHANNEL) == 1
    fleet.server.start()
    await fleet.whole()


async def test_what_was_lost_in_a_short_pause_is_asked_for(fleet: Fleet, feature: Feature, tokens: Tokens) -> None:
    """The one that spoke loses its message to a time-out; the other never noticed anything."""
    token = tokens.sign_in("ann")
    _, there = await holders(fleet, token)
    feature.banned.add(tokens.known[token].user_id)
    await eventually(lambda: fleet.b.hub.describe()["broker"]["connected"])
    broker = fleet.a.hub._broker
    assert isinstance(broker, RedisBroker)
    broker._outgoing._maxsize = 1  # type: ignore[attr-defined]
    for _ in range(3):  # more than the queue takes: the last ones are dropped
        fleet.a.hub.state("live:unheard", 1)
    fleet.a.hub.recheck(CHANNEL)
    assert (await there.hear("closed"))["code"] == "forbidden"


async def test_an_outage_of_everything_sends_nobody_away(fleet: Fleet, feature: Feature) -> None:
    clients = await holders(fleet)
    fleet.a.say(CHANNEL, "before")
    fleet.server.close()
    feature.broken = True
    await eventually(lambda: fleet.b.hub.describe()["degraded"])
    fleet.a.say(CHANNEL, "told here only")
    await eventually(lambda: 2 in clients[0].offsets(CHANNEL))
    feature.broken = False
    fleet.server.start()
    await all_have(clients, 2)
    assert fleet.a.hub.holders(CHANNEL) == fleet.b.hub.holders(CHANNEL) == 1
