"""Who is writing just now: told to the others, and over by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.broker.memory import Exchange, MemoryBroker
from realtime.hub import HubOptions
from realtime.presence.memory import MemoryPresence
from realtime.rules import Action
from realtime.typists import TypingOptions
from tests.realtime.stage import Client, Feature, Node, Tokens, running
from tests.realtime.test_members import Shy

ROOM = "live:x"


@pytest.fixture
async def nodes(tokens: Tokens, feature: Feature) -> AsyncIterator[tuple[Node, Node]]:
    exchange, there = Exchange(), MemoryPresence()
    options = HubOptions(
        presence_seconds=0.05,
        check_seconds=30,
        typing=TypingOptions(seconds=2.0, every=0.0, tell_every=0.05, named=2, most=4),
    )
    a, b = [
        Node(feature, tokens, name=name, broker=MemoryBroker(exchange), presence=there, hub_options=options)
        for name in "ab"
    ]
    feature.hub = a.hub
    async with running(a, b):
        yield a, b


async def enter(node: Node, name: str) -> Client:
    client = await node.connect(node.tokens.sign_in(name), viewer=name)
    await client.ask("subscribe", channel=ROOM)
    return client


async def names(client: Client) -> list[str]:
    return [user["username"] for user in (await client.hear("typing"))["people"]]


async def test_the_others_are_told_and_it_ends_by_itself(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    ann, bob, cid = await enter(a, "ann"), await enter(a, "bob"), await enter(b, "cid")
    assert (await ann.ask("typing", channel=ROOM))["type"] == "ack"
    assert await names(bob) == await names(cid) == ["ann"]
    assert await names(ann) == []  # never oneself
    assert await names(bob) == await names(cid) == []
    assert a.feature.log == {}  # nothing of it is kept


async def test_it_ends_with_the_message_and_when_one_says_so(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    ann, bob = await enter(a, "ann"), await enter(b, "bob")
    await ann.ask("typing", channel=ROOM)
    assert await names(bob) == ["ann"]
    await ann.ask("publish", channel=ROOM, data={"text": "hello"})
    assert await names(bob) == []
    await ann.ask("typing", channel=ROOM)
    assert await names(bob) == ["ann"]
    await ann.ask("typing", channel=ROOM, typing=False)
    assert await names(bob) == []


async def test_many_are_named_in_part(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    writers = [await enter(a, f"p{number}") for number in range(6)]
    reader = await enter(b, "ann")
    for writer in writers:
        await writer.ask("typing", channel=ROOM)
    told: dict[str, Any] = {}
    while told.get("more") != 2:  # four are known, two of them named
        told = await reader.hear("typing")
        assert len(told["people"]) <= 2
    own = [one for one in writers[0].told if one["type"] == "typing"]
    assert own
    assert all(user["username"] != "p0" for one in own for user in one["people"])


async def test_what_is_refused(nodes: tuple[Node, Node], feature: Feature) -> None:
    a, _ = nodes
    ann, bob = await enter(a, "ann"), await enter(a, "bob")
    guest = await a.connect()
    assert (await guest.ask("typing", channel=ROOM))["code"] == "not_subscribed"
    await guest.ask("subscribe", channel=ROOM)
    assert (await guest.ask("typing", channel=ROOM))["code"] == "unauthenticated"
    ids = {who.username: who.user_id for who in a.tokens.known.values()}
    await ann.ask("typing", channel=ROOM)
    assert await names(bob) == ["ann"]
    feature.may_not = {(ids["ann"], Action.TYPING)}
    assert (await ann.ask("typing", channel=ROOM))["code"] == "forbidden"
    assert await names(bob) == []
    # who is not to know is answered as always, and the others are told nothing
    feature.may_not, feature.unheard = set(), {ids["ann"]}
    assert (await ann.ask("typing", channel=ROOM))["type"] == "ack"
    ann.told.clear()
    await bob.ask("typing", channel=ROOM)
    assert await names(ann) == ["bob"]
    assert all(not one["people"] for one in bob.told if one["type"] == "typing")


async def test_who_does_not_want_to_be_named_is_not_shown(tokens: Tokens, feature: Feature) -> None:
    shy = Shy()
    node = Node(feature, tokens, hub_options=HubOptions(typing=TypingOptions(every=0)), discretion=shy)
    feature.hub = node.hub
    async with running(node):
        ann, bob = await enter(node, "ann"), await enter(node, "bob")
        shy.ids = {str(who.user_id) for who in tokens.known.values() if who.username == "ann"}
        assert (await ann.ask("typing", channel=ROOM))["type"] == "ack"
        await bob.ask("typing", channel=ROOM)
        assert await names(ann) == ["bob"]
        assert await names(bob) == []


async def test_it_is_said_often_enough(tokens: Tokens, feature: Feature) -> None:
    node = Node(feature, tokens, hub_options=HubOptions(typing=TypingOptions(every=60)))
    feature.hub = node.hub
    async with running(node):
        ann = await enter(node, "ann")
        assert (await ann.ask("typing", channel=ROOM))["type"] == "ack"
        refused = await ann.ask("typing", channel=ROOM)
        assert (refused["code"], 0 < refused["retry_after"] <= 60) == ("rate_limited", True)
        assert (await ann.ask("typing", channel=ROOM, typing=False))["type"] == "ack"
