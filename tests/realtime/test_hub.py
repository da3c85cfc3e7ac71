"""Channels lose nothing: order, holes, recovery, rights, viewers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from realtime.broker.memory import Exchange, MemoryBroker
from realtime.broker.redis import RedisBroker
from realtime.hub import HubOptions
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from realtime.protocol.codec import Payload
from realtime.rules import Entry
from tests.realtime.stage import Feature, Node, Tokens, all_hear, running
from tests.servers.redis import RedisServer
from tests.support import eventually

CHANNEL = "live:room"
QUICK = HubOptions(presence_seconds=0.05, check_seconds=0.1, check_seconds_degraded=0.1, hole_patience=0.005)


async def test_messages_out_of_turn_are_put_in_turn(node: Node) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    offsets = [node.say(CHANNEL, number, told=False) for number in range(6)]
    for offset in (3, 2, 2, 1, 6, 5, 4, 1):
        node.hub.deliver(CHANNEL, "1", Entry(offset, Payload(json.dumps(offset - 1).encode())))
    assert await all_hear(client, CHANNEL, 6) == offsets
    assert [told["data"] for told in client.told if told["type"] == "message"] == list(range(6))


async def test_a_hole_is_filled_by_reading_again(node: Node, feature: Feature) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    for number in range(10):
        node.say(CHANNEL, number, told=number in (0, 9))
    assert await all_hear(client, CHANNEL, 10) == list(range(1, 11))
    assert feature.reads[-1] == (CHANNEL, 1)
    assert node.hub.describe()["holes"] == 1


async def test_what_nobody_told_us_is_found_by_comparing(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, hub_options=QUICK)
    async with running(node):
        client = await node.connect()
        await client.ask("subscribe", channel=CHANNEL)
        for number in range(3):
            node.say(CHANNEL, number, told=False)
        assert await all_hear(client, CHANNEL, 3) == [1, 2, 3]


async def test_a_store_that_is_away_is_asked_until_it_answers(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, hub_options=QUICK)
    async with running(node):
        client = await node.connect()
        await client.ask("subscribe", channel=CHANNEL)
        feature.broken = True
        node.say(CHANNEL, "lost", told=False)
        node.say(CHANNEL, "told")
        other = await node.connect()
        assert (await other.ask("subscribe", channel="live:other"))["code"] == "unavailable"
        await eventually(lambda: len([read for read in feature.reads if read == (CHANNEL, 0)]) >= 2)
        assert client.offsets(CHANNEL) == []
        feature.broken = False
        assert await all_hear(client, CHANNEL, 2) == [1, 2]
        assert (await other.ask("subscribe", channel="live:other"))["type"] == "ack"


@pytest.mark.parametrize("missed", [0, 1, 150, 199, 200, 300, 500])
async def test_recovery_gives_exactly_what_was_missed(node: Node, feature: Feature, missed: int) -> None:
    """From memory and from the store."""
    holder = await node.connect()
    await holder.ask("subscribe", channel=CHANNEL)
    for number in range(600):
        node.say(CHANNEL, number)
    client = await node.connect()
    ack = await client.ask("subscribe", channel=CHANNEL, since={"epoch": "1", "offset": 600 - missed})
    assert ack["recovered"] is True
    assert [(item["offset"], item["data"]) for item in ack["messages"]] == [
        (number + 1, number) for number in range(600 - missed, 600)
    ]
    assert ack["offset"] == 600
    assert len(feature.reads) == (1 if missed <= 200 else 2)


async def test_who_missed_too_much_or_knows_another_past_starts_fresh(node: Node) -> None:
    for number in range(600):
        node.say(CHANNEL, number)
    client = await node.connect()
    for since in ({"epoch": "1", "offset": 99}, {"epoch": "0", "offset": 590}, {"epoch": "1", "offset": 601}):
        ack = await client.ask("subscribe", channel=CHANNEL, since=since)
        assert ack["recovered"] is False
        assert [item["offset"] for item in ack["messages"]] == list(range(551, 601))


async def test_nothing_falls_between_the_answer_and_what_follows(feature: Feature, tokens: Tokens) -> None:
    """Clients come and recover while messages are written; every one sees every message once, in order."""
    feature.delay = 0.002
    node = Node(feature, tokens, hub_options=HubOptions(tail_entries=20, hole_patience=0.001))
    async with running(node):
        for number in range(100):
            node.say(CHANNEL, number)

        async def come(since: int) -> list[int]:
            client = await node.connect()
            ack = await client.ask("subscribe", channel=CHANNEL, since={"epoch": "1", "offset": since})
            assert ack["recovered"] is True
            got = [item["offset"] for item in ack["messages"]]
            await eventually(lambda: got[-1:] == [500] or 500 in client.offsets(CHANNEL))
            return got + client.offsets(CHANNEL)

        comers = [asyncio.create_task(come(since)) for since in range(10, 100, 3)]
        for number in range(100, 500):
            node.say(CHANNEL, number, told=number % 7 != 0)
            if number % 5 == 0:
                await asyncio.sleep(0.001)
        for since, got in zip(range(10, 100, 3), await asyncio.gather(*comers), strict=True):
            assert got == list(range(since + 1, 501))


async def test_a_storm_of_reconnects_reads_once(node: Node, feature: Feature) -> None:
    feature.delay = 0.02
    for number in range(400):
        node.say(CHANNEL, number)
    clients = [await node.connect() for _ in range(50)]
    since = {"epoch": "1", "offset": 100}
    acks = await asyncio.gather(*(client.ask("subscribe", channel=CHANNEL, since=since) for client in clients))
    assert all(len(ack["messages"]) == 300 for ack in acks)
    assert feature.reads == [(CHANNEL, None), (CHANNEL, 100)]


async def test_a_new_epoch_ends_subscriptions(node: Node, feature: Feature) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    node.say(CHANNEL, "old")
    feature.epoch, feature.log = "2", {}
    node.say(CHANNEL, "new")
    assert (await client.hear("closed"))["code"] == "history_discarded"
    ack = await client.ask("subscribe", channel=CHANNEL, since={"epoch": "1", "offset": 1})
    assert (ack["epoch"], ack["recovered"], [item["data"] for item in ack["messages"]]) == ("2", False, ["new"])


async def test_what_was_erased_is_not_given_again(node: Node) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    node.say(CHANNEL, "secret")
    offset = node.feature.store(CHANNEL, {"delete": 1})
    node.hub.deliver(CHANNEL, "1", Entry(offset, Payload(b'{"delete":1}'), Entry(1, Payload(b'"gone"'))))
    ack = await client.ask("subscribe", channel=CHANNEL)
    assert [item["data"] for item in ack["messages"]] == ["gone", {"delete": 1}]


async def test_nothing_is_kept_of_what_was_erased_in_the_store(pair: tuple[Node, Node], feature: Feature) -> None:
    """By whoever did it, without a word: also at places that no later change tells of, and on every node."""
    first, second = pair
    clients = [await node.connect() for node in pair]
    for client in clients:
        await client.ask("subscribe", channel=CHANNEL)
    for number in range(3):
        first.say(CHANNEL, f"secret {number}")
    for client in clients:
        await all_hear(client, CHANNEL, 3)
    feature.log[CHANNEL][:2] = ["gone", "gone"]
    first.hub.reread(CHANNEL)
    second.say(CHANNEL, "meanwhile")
    for client, node in zip(clients, pair, strict=True):
        await all_hear(client, CHANNEL, 4)
        channel = node.hub._channels[CHANNEL]
        await eventually(
            lambda channel=channel: (  # type: ignore[misc]
                [entry.payload.json for entry in channel.tail.last(9)]
                == [b'"gone"', b'"gone"', b'"secret 2"', b'"meanwhile"']
            )
        )
        late = await node.connect()
        ack = await late.ask("subscribe", channel=CHANNEL, since={"epoch": "1", "offset": 0})
        assert [item["data"] for item in ack["messages"]] == ["gone", "gone", "secret 2", "meanwhile"]


async def test_a_lost_right_closes_the_subscription(node: Node, tokens: Tokens, feature: Feature) -> None:
    ann, bob = tokens.sign_in("ann"), tokens.sign_in("bob")
    clients = {name: await node.connect(token) for name, token in (("ann", ann), ("bob", bob), ("guest", ""))}
    for client in clients.values():
        await client.ask("subscribe", channel=CHANNEL)
    node.hub.revoke(CHANNEL, "banned", "You are banned.", user=str(tokens.known[ann].user_id))
    assert await clients["ann"].hear("closed") == {
        "type": "closed",
        "channel": CHANNEL,
        "code": "banned",
        "message": "You are banned.",
    }
    assert node.hub.holders(CHANNEL) == 2
    feature.banned.add(tokens.known[bob].user_id)
    node.hub.recheck(CHANNEL)
    assert (await clients["bob"].hear("closed"))["code"] == "forbidden"
    assert (await clients["bob"].ask("subscribe", channel=CHANNEL))["code"] == "forbidden"
    node.hub.revoke(CHANNEL, "deleted", "The broadcast was deleted.")
    assert (await clients["guest"].hear("closed"))["code"] == "deleted"
    assert node.hub.holders(CHANNEL) == 0


async def test_the_state_comes_with_the_answer_and_when_it_changes(node: Node, feature: Feature) -> None:
    feature.states[CHANNEL] = {"state": "created"}
    client = await node.connect(format="msgpack")
    assert (await client.ask("subscribe", channel=CHANNEL))["state"] == {"state": "created"}
    node.hub.state(CHANNEL, {"state": "live"})
    assert (await client.hear("state"))["data"] == {"state": "live"}
    other = await node.connect()
    assert (await other.ask("subscribe", channel=CHANNEL))["state"] == {"state": "live"}
    assert (await other.ask("subscribe", channel="live:other"))["state"] is None


async def test_several_sockets_of_one_viewer_count_once(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, presence=MemoryPresence(0.3), hub_options=HubOptions(presence_seconds=0.05))
    async with running(node):
        watcher = await node.connect(viewer="w")
        assert (await watcher.ask("subscribe", channel=CHANNEL))["viewers"] == 1
        phones = [await node.connect(viewer="p") for _ in range(3)]
        for phone in phones:
            await phone.ask("subscribe", channel=CHANNEL)
        await watcher.hear("presence", viewers=2)
        assert node.hub.viewers(CHANNEL) == {"w", "p"}
        assert node.hub.holders(CHANNEL) == 4
        for phone in phones:
            await phone.close()
        await watcher.hear("presence", viewers=1)
        assert node.hub.viewers(CHANNEL) == {"w"}


async def test_who_subscribes_again_is_there_once_and_gone_once(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, hub_options=QUICK)
    async with running(node):
        client, other = await node.connect(viewer="one"), await node.connect(viewer="two")
        await other.ask("subscribe", channel=CHANNEL)
        node.say(CHANNEL, 0)
        for presence in (False, True, False):
            ack = await client.ask("subscribe", channel=CHANNEL, presence=presence, since={"epoch": "1", "offset": 0})
            assert (ack["viewers"], [item["offset"] for item in ack["messages"]]) == (2, [1])
        node.say(CHANNEL, 1)
        assert await all_hear(client, CHANNEL, 1) == [2]
        await client.ask("unsubscribe", channel=CHANNEL)
        channel = node.hub._channels[CHANNEL]
        assert (channel.viewer_keys(), channel.holders()) == ({"two"}, 1)


async def test_the_product_s_count_goes_before_ours_and_is_told_on_change_only(node: Node) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    await client.hear("presence", viewers=1)
    for _ in range(3):
        node.hub.set_viewers(CHANNEL, 42)
    await client.hear("presence", viewers=42)
    other = await node.connect()
    assert (await other.ask("subscribe", channel=CHANNEL))["viewers"] == 42
    node.hub.set_viewers(CHANNEL, 42)
    node.hub.set_viewers(CHANNEL, 43)
    assert (await client.hear("presence"))["viewers"] == 43
    assert not [told for told in client.told if told["type"] == "presence"]


async def test_an_empty_channel_is_dropped_and_opens_again(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, hub_options=HubOptions(presence_seconds=0.02, idle_seconds=0.05))
    async with running(node):
        for turn in range(3):
            client = await node.connect()
            ack = await client.ask("subscribe", channel=CHANNEL)
            assert len(ack["messages"]) == turn
            node.say(CHANNEL, turn)
            await client.close()
            await eventually(lambda: node.hub.describe()["channels"] == 0)


# several nodes


@pytest.fixture(params=["memory", "redis"])
async def pair(request: pytest.FixtureRequest, feature: Feature, tokens: Tokens) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes on one bus. `cut` and `mend` of the first one break it."""
    if request.param == "memory":
        exchange, presence = Exchange(), MemoryPresence(0.5)
        brokers = [MemoryBroker(exchange), MemoryBroker(exchange)]
        nodes = [
            Node(feature, tokens, broker=broker, presence=presence, name=name, hub_options=QUICK)
            for broker, name in zip(brokers, "ab", strict=True)
        ]
        nodes[0].cut = lambda: [broker.cut() for broker in brokers]  # type: ignore[attr-defined]
        nodes[0].mend = lambda: [broker.connect() for broker in brokers]  # type: ignore[attr-defined]
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        if server.process is None:
            server.start()
        nodes = [
            Node(
                feature,
                tokens,
                broker=RedisBroker(server.url, silence=0.2, patience=0.5, prefix=request.node.name),
                presence=RedisPresence(server.url, linger=0.5, prefix=request.node.name + "viewers:"),
                name=name,
                hub_options=QUICK,
            )
            for name in "ab"
        ]
        nodes[0].cut, nodes[0].mend = server.close, server.start  # type: ignore[attr-defined]
    async with running(*nodes):
        yield nodes[0], nodes[1]


async def test_nodes_hear_each_other(pair: tuple[Node, Node], tokens: Tokens) -> None:
    a, b = pair
    token = tokens.sign_in("ann")
    here, there = await a.connect(token, viewer="1"), await b.connect(token, viewer="2")
    for client in (here, there):
        await client.ask("subscribe", channel=CHANNEL)
    for number in range(100):
        (a if number % 2 else b).say(CHANNEL, number)
    for client in (here, there):
        assert await all_hear(client, CHANNEL, 100) == list(range(1, 101))
    await there.hear("presence", viewers=2)
    assert b.hub.viewers(CHANNEL) == {"1", "2"}
    a.hub.state(CHANNEL, {"state": "ended"})
    assert (await there.hear("state"))["data"] == {"state": "ended"}
    a.hub.set_viewers(CHANNEL, 7)
    await there.hear("presence", viewers=7)
    a.hub.revoke(CHANNEL, "banned", "No.", user=str(tokens.known[token].user_id))
    for client in (here, there):
        assert (await client.hear("closed"))["code"] == "banned"


async def test_a_bus_that_is_gone_for_a_while(pair: tuple[Node, Node]) -> None:
    """Clients stay, are told, and nothing is lost or doubled."""
    a, b = pair
    clients = [await a.connect(), await b.connect()]
    for client in clients:
        await client.ask("subscribe", channel=CHANNEL)
    for number in range(60):
        if number == 20:
            a.cut()  # type: ignore[attr-defined]
            for client in clients:
                assert (await client.hear("notice"))["code"] == "degraded"
            late = await b.connect()
            assert (await late.hear("notice"))["code"] == "degraded"
            assert len((await late.ask("subscribe", channel=CHANNEL))["messages"]) == 20
        if number == 40:
            for client in (*clients, late):
                await eventually(lambda client=client: 40 in client.offsets(CHANNEL))  # type: ignore[misc]
            a.mend()  # type: ignore[attr-defined]
        (a if number % 3 else b).say(CHANNEL, number)
        if number < 20:
            for client in clients:
                await client.hear("message", offset=number + 1)
    for client in (*clients, late):
        assert await all_hear(client, CHANNEL, 40) == list(range(21, 61))
        assert (await client.hear("notice"))["code"] == "restored"
