"""Who is online of those whom one follows, and who is named in a chat: with real accounts, over two servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from server.community.presence.discretion import Discretion
from server.identity.profile.models import Privacy
from tests.realtime.stage import Client
from tests.realtime.test_members import Room
from tests.server.identity.privacy.place import Person, Place, place
from tests.servers.redis import RedisServer
from tests.support import eventually

FOLLOW, UNFOLLOW = "/api/v1/follows/follow", "/api/v1/follows/unfollow"


@pytest.fixture
async def fleet(tmp_path: Path, database_url: str, redis_server: RedisServer) -> AsyncIterator[tuple[Place, Place]]:
    """Two servers, one database, one Redis."""
    if redis_server.process is None:
        redis_server.start()
    given: dict[str, Any] = {
        "redis_url": redis_server.url,
        "presence_seconds": 0.2,
        "presence_leave_seconds": 1.0,
        "viewer_seconds": 3.0,
        "typing_every": 0.0,
    }
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(place(tmp_path / "a", database_url, **given))
        b = await stack.enter_async_context(place(tmp_path / "b", database_url, **given))
        yield a, b


async def connect(here: Place, who: Person) -> Client:
    protocols = ["socialflow.v1.json", f"token.{who.token}"]
    client = Client(await here.client.ws_connect("/ws", protocols=protocols), "json")
    assert (await client.hear("welcome"))["user"]["username"] == who.name
    return client


async def test_those_whom_one_follows_come_and_go(fleet: tuple[Place, Place]) -> None:
    a, b = fleet
    ann, bob, cid, dan = [await a.register(name) for name in ("ann", "bob", "cid", "dan")]
    for followed in (bob, cid):
        await ann.call("POST", FOLLOW, {"user_id": followed.id})
    bobs = await connect(b, bob)
    looking = await connect(a, ann)
    channel = f"people:{ann.id}"
    assert (await looking.ask("subscribe", channel=channel, presence=True))["messages"] == []
    seen = Room(looking)
    await seen.until("bob", count=1)
    cids, dans = await connect(a, cid), await connect(b, dan)
    await seen.until("bob", "cid", count=2)
    assert (await ann.call("GET", "/api/v1/follows/online"))["count"] == 2
    # whom one follows from now on, and who wants not to be seen any more, at the other server
    await ann.call("POST", FOLLOW, {"user_id": dan.id})
    await seen.until("bob", "cid", "dan")
    await Person(b, "bob", bob.id, bob.token, bob.email).call("PUT", "/api/v1/users/me/privacy", {"show_online": False})
    await seen.until("cid", "dan")
    online = await ann.call("GET", "/api/v1/follows/online")
    assert [one["username"] for one in online["items"]] == ["cid", "dan"]
    await ann.call("DELETE", f"{UNFOLLOW}?user_id={cid.id}", expect=204)
    await seen.until("dan")
    await dans.close()
    await seen.until(count=0)
    # it is one's own alone
    assert (await cids.ask("subscribe", channel=channel))["code"] == "forbidden"
    assert (await looking.ask("publish", channel=channel, data={}))["code"] == "forbidden"
    assert (await looking.ask("typing", channel=channel))["code"] == "forbidden"
    for client in (bobs, looking, cids):
        await client.close()


async def test_a_server_that_dies_takes_its_people_with_it(fleet: tuple[Place, Place]) -> None:
    a, b = fleet
    ann, bob = [await a.register(name) for name in ("ann", "bob")]
    await ann.call("POST", FOLLOW, {"user_id": bob.id})
    bobs, looking = await connect(b, bob), await connect(a, ann)
    await looking.ask("subscribe", channel=f"people:{ann.id}", presence=True)
    seen = Room(looking)
    await seen.until("bob")
    for task in list(b.wiring.hub._tasks):  # as kill -9: no farewell of any kind
        task.cancel()
    await seen.until(count=0, within=30)
    for client in (bobs, looking):
        await client.close()


async def test_who_is_in_a_chat_and_who_writes_there(fleet: tuple[Place, Place]) -> None:
    a, b = fleet
    ann, bob, eve = [await a.register(name) for name in ("ann", "bob", "eve")]
    started = await ann.call("POST", "/api/v1/live/start", {"title": "Hello"}, expect=201)
    channel, chat = f"live:{started['id']}", f"/api/v1/live/{started['id']}/chat"
    clients = [await connect(a, ann), await connect(b, bob), await connect(b, eve)]
    for client in clients:
        assert (await client.ask("subscribe", channel=channel, presence=True))["type"] == "ack"
    anns, bobs, eves = clients
    await Room(anns).until("ann", "bob", "eve")
    assert (await bobs.ask("typing", channel=channel))["type"] == "ack"
    assert [one["username"] for one in (await anns.hear("typing"))["people"]] == ["bob"]
    assert (await bobs.ask("publish", channel=channel, data={"text": "hello"}))["type"] == "ack"
    assert (await anns.hear("typing"))["people"] == []
    # who may not write does not show as writing; who is not to know it is told nothing
    await ann.call("PUT", f"{chat}/bans/{bob.id}", {"kind": "timeout", "seconds": 600})
    assert (await bobs.ask("typing", channel=channel))["code"] == "banned"
    await ann.call("PUT", f"{chat}/bans/{eve.id}", {"kind": "shadow"})
    assert (await eves.ask("typing", channel=channel))["type"] == "ack"
    await ann.call("DELETE", f"{chat}/bans/{bob.id}", expect=204)
    anns.told.clear()
    assert (await bobs.ask("typing", channel=channel))["type"] == "ack"
    assert [one["username"] for one in (await anns.hear("typing"))["people"]] == ["bob"]
    # followers alone: whoever follows may
    await ann.call("PATCH", f"{chat}/mode", {"followers": 0})
    assert (await bobs.ask("publish", channel=channel, data={"text": "again"}))["code"] == "followers_only"

    async def refused_typing() -> bool:  # the other server may remember the mode for a second
        return (await bobs.ask("typing", channel=channel)).get("code") == "followers_only"

    await eventually(refused_typing, within=20)
    await bob.call("POST", FOLLOW, {"user_id": ann.id})
    assert (await bobs.ask("publish", channel=channel, data={"text": "again"}))["type"] == "ack"
    refused = await ann.call("PATCH", f"{chat}/mode", {"subscribers": True}, expect=409)
    assert refused["code"] == "mode_unavailable"
    for client in clients:
        await client.close()


async def test_privacy_is_read_once_and_again_when_it_has_changed() -> None:
    asked: list[int] = []
    shy: set[uuid.UUID] = set()
    away = False

    class Choices:
        async def privacy_of(self, ids: Any) -> dict[uuid.UUID, Privacy]:
            await asyncio.sleep(0)
            if away:
                raise OSError("the database is away")
            asked.append(len(ids))
            return {id: Privacy(show_online=id not in shy) for id in ids}

    time = [0.0]
    discretion = Discretion(Choices(), lambda: time[0])
    ids = [uuid.uuid4() for _ in range(1200)]
    names = [str(id) for id in ids]
    shy = {ids[7]}
    assert await discretion.hidden(names) == await discretion.hidden(names) == {names[7]}
    assert asked == [500, 500, 200]
    shy = {ids[8]}
    discretion.forget([ids[8]])
    assert await discretion.hidden(names) == {names[7], names[8]}
    time[0] = 60.0
    assert await discretion.hidden(names) == {names[8]}
    # while nobody answers: what is known holds, and of whom nothing is known is not named
    time[0], away = 120.0, True
    stranger = str(uuid.uuid4())
    assert await discretion.hidden([*names, stranger]) == {names[8], stranger}
