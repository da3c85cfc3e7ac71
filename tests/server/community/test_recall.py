"""A plain message is one statement, which rests on what this process knows of the room only where that still holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asyncpg.connection import LoggedQuery

from realtime.broker.memory import Exchange, MemoryBroker
from server.community.chat.models import channel_of
from storage.postgres import Database
from tests.server.community.conftest import Broadcast, Server, World
from tests.support import eventually


class Seen:
    """The statements of one process, as they end."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, query: LoggedQuery) -> None:
        self.statements.append(query.query)


@pytest.fixture
async def seen(database_url: str) -> AsyncIterator[tuple[Database, Seen]]:
    seen = Seen()
    database = Database(database_url, max_size=4, on_query=seen)
    await database.start()
    yield database, seen
    await database.close()


async def say(server: Server, room: Broadcast, name: str, text: str, status: int = 201, **more: Any) -> Any:
    return await server.json("POST", f"{room.id}/chat", name, status, json={"text": text, **more})


async def test_a_plain_message_is_one_statement(seen: tuple[Database, Seen], world: World) -> None:
    database, watch = seen
    room = world.broadcast()
    async with Server(database, world) as server:
        server.chat.store.heads = _nothing  # type: ignore[method-assign]  # the hub's own comparison
        first = await say(server, room, "ann", "one")
        watch.statements.clear()
        second = await say(server, room, "bob", "two")
        assert len(watch.statements) == 1
        ann = await server.connect("ann")
        acks = await asyncio.gather(
            *(ann.ask("publish", channel=channel_of(room.id), data={"text": str(number)}) for number in range(5))
        )
        assert len(watch.statements) <= 6
        assert [first["offset"], second["offset"], *(ack["offset"] for ack in acks)] == list(range(1, 8))
        log = await server.json("GET", f"{room.id}/chat?since=0")
        assert [entry["data"]["message"]["text"] for entry in log["items"]] == ["one", "two", *map(str, range(5))]


async def _nothing(_: Any) -> Any:
    return {}


async def test_what_another_process_does_counts_at_once(database: Database, world: World) -> None:
    """Bans, moderators, filters, modes and messages of another node, none of which this one has asked for again."""
    exchange, room = Exchange(), world.broadcast()
    elsewhere = world.broadcast()  # of the same owner
    async with (
        Server(database, world, broker=MemoryBroker(exchange)) as here,
        Server(database, world, broker=MemoryBroker(exchange), name="b") as there,
    ):
        ann, bob = world.person("ann").user_id, world.person("bob").user_id
        assert (await say(here, room, "ann", "a rude word"))["text"] == "a rude word"
        await there.json(
            "POST", f"{elsewhere.id}/chat/filters", "owner", 200, json={"pattern": "rude", "action": "mask"}
        )
        assert (await say(here, room, "ann", "a rude word"))["text"] == "a **** word"
        assert (await say(here, room, "ann", "a rude word"))["text"] == "a **** word"
        await there.json("PUT", f"{elsewhere.id}/chat/moderators/{bob}", "owner", 204)
        assert (await say(here, room, "bob", "a rude word"))["badge"] == "moderator"
        assert (await say(here, room, "ann", "a rude word"))["text"] == "a **** word"
        assert (await say(here, room, "bob", "a rude word"))["text"] == "a rude word"
        await there.json("PUT", f"{elsewhere.id}/chat/bans/{ann}", "owner", 200, json={"kind": "ban"})
        assert (await say(here, room, "ann", "hello", 403))["code"] == "banned"
        await there.json("PATCH", f"{room.id}/chat/mode", "owner", 200, json={"slow": 600})
        await say(here, room, "cat", "hello")
        assert (await say(here, room, "cat", "hello", 429))["code"] == "slow_mode"
        await there.json("PATCH", f"{room.id}/chat/mode", "owner", 200, json={"slow": 0})
        nonce = uuid4().hex
        one = await say(here, room, "cat", "once", nonce=nonce)
        other = await say(there, room, "cat", "once", nonce=nonce)
        again = await say(here, room, "cat", "once", nonce=nonce)
        assert one["id"] == other["id"] == again["id"]
        client = await here.connect()
        await client.ask("subscribe", channel=channel_of(room.id))
        said = await asyncio.gather(
            *(
                say(server, room, name, f"{name} {n}")
                for n in range(8)
                for server, name in ((here, "dan"), (there, "eve"))
            )
        )
        head = (await here.json("GET", f"{room.id}/chat?since=0"))["head"]
        assert sorted(one["offset"] for one in said) == list(range(head - 15, head + 1))
        await eventually(lambda: client.offsets(channel_of(room.id)) == list(range(head - 15, head + 1)))
