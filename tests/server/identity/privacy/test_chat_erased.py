"""What somebody has said is in no server's memory any more once it is erased, by a server or by `bin/worker`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.community.chat.personal import ChatData
from server.settings import Settings
from server.wiring.worker import People, WorkerWiring
from tests.realtime.stage import Client
from tests.server.identity.privacy.place import Place, place
from tests.servers.redis import RedisServer
from tests.support import eventually


async def erase(people: People, id: str) -> None:
    """The chat's part alone: the others' are tested where the whole is."""
    (chat,) = (part for part in people.departures._parts if isinstance(part, ChatData))
    await chat.erase(uuid.UUID(id))


async def connect(here: Place) -> Client:
    client = Client(await here.client.ws_connect("/ws", protocols=["socialflow.v1.json"]), "json")
    await client.hear("welcome")
    return client


@pytest.fixture
async def fleet(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[tuple[Place, WorkerWiring]]:
    """A server, and a worker beside it that has no sockets."""
    given = {"database_url": database_url, "redis_url": redis_url}
    async with place(tmp_path / "server", **given) as here:
        worker = WorkerWiring(Settings(data_dir=str(tmp_path / "worker"), database_pool=4, **given))
        await worker.start()
        try:
            yield here, worker
        finally:
            await worker.close()


@pytest.mark.parametrize("who", ["server", "worker"])
async def test_every_server_reads_the_room_again(
    who: str, fleet: tuple[Place, WorkerWiring], redis_server: RedisServer
) -> None:
    here, worker = fleet
    ann, bob = await here.register("ann"), await here.register("bob")
    started = await ann.call("POST", "/api/v1/live/start", {"title": "Hello"}, expect=201)
    name = f"live:{started['id']}"
    looking = await connect(here)
    assert (await looking.ask("subscribe", channel=name))["type"] == "ack"
    said = {"text": "marzipan", "nonce": uuid.uuid4().hex}
    await bob.call("POST", f"/api/v1/live/{started['id']}/chat", said, expect=201)
    await looking.hear("message")
    room = here.wiring.hub._channels[name]
    assert room.rereading is None
    if who == "server":
        await erase(here.wiring.people, bob.id)
    else:  # what it says while Redis is away is said when that is back
        await asyncio.to_thread(redis_server.close)
        await eventually(lambda: not worker.messenger.connected and not here.wiring.bus.connected)
        await erase(worker.people, bob.id)
        await asyncio.to_thread(redis_server.start)
    await eventually(lambda: room.rereading is not None)
    late = await connect(here)

    async def forgotten() -> bool:
        ack = await late.ask("subscribe", channel=name, since={"epoch": "1", "offset": 0})
        return bool(ack.get("messages")) and "marzipan" not in str(ack["messages"])

    await eventually(forgotten)
    assert b"marzipan" not in b"".join(entry.payload.json for entry in room.tail.last(100))
    for client in (looking, late):
        await client.close()
