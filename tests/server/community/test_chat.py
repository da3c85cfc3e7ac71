"""What the chat promises: on disk before the ack, one order without holes, who may write and delete."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from realtime.broker.memory import Exchange, MemoryBroker
from realtime.rules import Entry
from server.community.chat.models import channel_of
from server.community.chat.options import ChatOptions
from server.kit.clock import now
from server.kit.limits import Limits
from storage.postgres import Database
from tests.server.community.conftest import Server, World
from tests.servers.redis import RedisServer
from tests.support import eventually


async def test_a_message_goes_to_everybody_and_into_the_log(server: Server, world: World) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    writer, guest = await server.connect("ann"), await server.connect(format="msgpack")
    for client in (writer, guest):
        ack = await client.ask("subscribe", channel=channel)
        assert (ack["epoch"], ack["offset"], ack["messages"], ack["state"]) == ("1", 0, [], {"state": "live"})
    seen = (now() - timedelta(seconds=3)).isoformat()
    ack = await writer.ask("publish", channel=channel, data={"text": " <b>hi</b> ", "media_time": seen})
    message = ack["data"]["message"]
    assert message["author"] == {"id": str(world.person("ann").user_id), "username": "ann"}
    assert (message["text"], message["offset"], ack["offset"], ack["epoch"]) == ("<b>hi</b>", 1, 1, "1")
    assert datetime.fromisoformat(message["media_time"]) == datetime.fromisoformat(seen)
    for client in (writer, guest):
        assert (await client.hear("message"))["data"] == {"kind": "message", "message": message}
    log = await server.json("GET", f"{room.id}/chat?since=0")
    assert log == {
        "epoch": "1",
        "offset": 1,
        "head": 1,
        "items": [{"offset": 1, "data": {"kind": "message", "message": message}}],
    }


async def test_over_http(server: Server, world: World) -> None:
    room = world.broadcast()
    reader = await server.connect()
    await reader.ask("subscribe", channel=channel_of(room.id))
    message = await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "hi"})
    assert (await reader.hear("message"))["data"]["message"] == message
    assert (await server.json("POST", f"{room.id}/chat", status=401, json={"text": "hi"}))["code"] == "unauthorized"
    assert (await server.json("POST", f"{room.id}/chat", "ann", 422, json={"txt": "hi"}))["code"] == "invalid_request"
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", "bob", 403)
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", status=401)
    await server.json("DELETE", f"{room.id}/chat/{uuid4()}", "ann", 404)
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", "ann", 204)
    assert (await reader.hear("message"))["data"]["kind"] == "delete"
    for method, path in (("POST", "chat"), ("GET", "chat"), ("GET", "chat/replay"), ("DELETE", f"chat/{uuid4()}")):
        options: dict[str, Any] = {"json": {"text": "x"}} if method == "POST" else {}
        await server.json(method, f"{uuid4()}/{path}", "ann", 404, **options)


async def test_fifty_writers_get_dense_offsets_in_one_order_that_all_see(server: Server, world: World) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    writers = [await server.connect(f"user{number}") for number in range(50)]
    for writer in writers:
        await writer.ask("subscribe", channel=channel)

    async def write(number: int) -> list[tuple[int, str]]:
        acks = []
        for turn in range(4):
            ack = await writers[number].ask("publish", channel=channel, data={"text": f"{number}:{turn}"})
            acks.append((ack["offset"], ack["data"]["message"]["text"]))
        return acks

    acked = sorted(pair for acks in await asyncio.gather(*(write(number) for number in range(50))) for pair in acks)
    assert [offset for offset, _ in acked] == list(range(1, 201))
    for writer in writers:
        await eventually(lambda writer=writer: len(writer.offsets(channel)) == 200)  # type: ignore[misc]
        heard = [(told["offset"], told["data"]["message"]["text"]) for told in writer.told if told["type"] == "message"]
        assert heard == acked
    log = await server.json("GET", f"{room.id}/chat?since=0&limit=500")
    assert [(item["offset"], item["data"]["message"]["text"]) for item in log["items"]] == acked


async def test_who_comes_back_gets_exactly_what_was_missed(server: Server, world: World) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    reader = await server.connect()
    ack = await reader.ask("subscribe", channel=channel)
    await reader.close()
    for number in range(7):
        await server.json("POST", f"{room.id}/chat", f"user{number}", 201, json={"text": str(number)})
    reader = await server.connect()
    since = {"epoch": ack["epoch"], "offset": 3}
    ack = await reader.ask("subscribe", channel=channel, since=since)
    assert ack["recovered"] is True
    assert [item["data"]["message"]["text"] for item in ack["messages"]] == ["3", "4", "5", "6"]
    other = await server.connect()
    assert len((await other.ask("subscribe", channel=channel))["messages"]) == 7


async def test_what_was_deleted_is_nowhere_any_more(server: Server, world: World, database: Database) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    ann, bob, owner = await server.connect("ann"), await server.connect("bob"), await server.connect("owner")
    reader = await server.connect()
    await reader.ask("subscribe", channel=channel)
    ids = [
        (await client.ask("publish", channel=channel, data={"text": text}))["data"]["message"]["id"]
        for client, text in ((ann, "first secret"), (ann, "second secret"), (bob, "stays"))
    ]
    assert (await bob.ask("publish", channel=channel, data={"delete": ids[0]}))["code"] == "forbidden"
    assert (await reader.ask("publish", channel=channel, data={"delete": ids[0]}))["code"] == "unauthenticated"
    assert (await ann.ask("publish", channel=channel, data={"delete": ids[0]}))["offset"] == 4
    assert (await owner.ask("publish", channel=channel, data={"delete": ids[1]}))["offset"] == 5
    again = await owner.ask("publish", channel=channel, data={"delete": ids[1]})
    assert (again["type"], again["offset"]) == ("ack", 5)  # not deleted twice
    told = await reader.hear("message", offset=5)
    assert told["data"] == {"kind": "delete", "id": ids[1], "by": str(world.person("owner").user_id)}
    fresh = await server.connect()
    acks = [await fresh.ask("subscribe", channel=channel, since={"epoch": "1", "offset": 0})]  # from memory
    acks.append(await fresh.ask("subscribe", channel=channel))
    log = await server.json("GET", f"{room.id}/chat?since=0")
    for items in (acks[0]["messages"], acks[1]["messages"], log["items"]):
        assert [item["offset"] for item in items] == [1, 2, 3, 4, 5]
        assert "secret" not in str(items)
        assert [item["data"]["message"].get("deleted") for item in items[:3]] == [True, True, None]
    replay = await server.json("GET", f"{room.id}/chat/replay")
    assert [message["text"] for message in replay["items"]] == ["stays"]
    async with database.acquire() as connection:
        assert not await connection.fetchval("select count(*) from chat_messages where text like '%secret%'")


async def test_an_administrator_deletes_too(server: Server, world: World) -> None:
    room = world.broadcast()
    message = await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "hi"})
    world.person("root", "admin")
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", "root", 204)


async def test_a_nonce_makes_a_retry_safe(server: Server, world: World) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    ann, bob = await server.connect("ann"), await server.connect("bob")
    await bob.ask("subscribe", channel=channel)
    same = {"text": "once", "nonce": "n1"}
    acks = await asyncio.gather(*(ann.ask("publish", channel=channel, data=same) for _ in range(5)))
    acks.append({"data": {"message": await server.json("POST", f"{room.id}/chat", "ann", 201, json=same)}})
    assert len({ack["data"]["message"]["id"] for ack in acks}) == 1
    other = await bob.ask("publish", channel=channel, data=same)  # nonces are each author's own
    assert other["offset"] == 2
    assert (await server.json("GET", f"{room.id}/chat"))["head"] == 2


async def test_writing_too_fast_is_told_when_it_may_go_on(database: Database, world: World) -> None:
    room = world.broadcast()
    async with Server(database, world, burst=2) as server:
        ann = await server.connect("ann")
        for _ in range(2):
            assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"}))["type"] == "ack"
        refused = await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"})
        assert refused["code"] == "rate_limited"
        assert 0 < refused["retry_after"] <= 2
        async with server.call("POST", f"{room.id}/chat", "ann", json={"text": "x"}) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] in ("1", "2")
            assert 0 < (await answer.json())["retry_after"] <= 2
        assert (await server.json("POST", f"{room.id}/chat", "bob", 201, json={"text": "x"}))["offset"] == 3


async def test_an_author_has_one_allowance_in_the_whole_fleet(
    database: Database, world: World, redis_server: RedisServer
) -> None:
    if redis_server.process is None:
        redis_server.start()
    room = world.broadcast()
    prefix, slow = str(uuid4()), ChatOptions(burst=2, interval=600.0)  # nothing is given back while this runs
    one, two = (Limits(redis_server.url, prefix=prefix, answer_seconds=10) for _ in range(2))
    one.start()
    two.start()
    async with (
        Server(database, world, name="a", options=slow, limits=one) as here,
        Server(database, world, name="b", options=slow, limits=two) as there,
    ):
        clients = [await server.connect("ann") for server in (here, there)]
        for ann in clients:
            assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"}))["type"] == "ack"
        for ann in clients:
            refused = await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"})
            assert refused["code"] == "rate_limited"
            assert 0 < refused["retry_after"] <= 600
        bob = await there.connect("bob")
        assert (await bob.ask("publish", channel=channel_of(room.id), data={"text": "x"}))["type"] == "ack"
    await one.close()
    await two.close()


async def test_an_ended_chat_can_be_read_and_cleaned_but_not_written(server: Server, world: World) -> None:
    room = world.broadcast()
    ann = await server.connect("ann")
    message = (await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"}))["data"]["message"]
    room.open = False
    server.hub.state(channel_of(room.id), {"state": "ended"})
    assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": "y"}))["code"] == "closed"
    assert (await server.json("POST", f"{room.id}/chat", "ann", 409, json={"text": "y"}))["code"] == "closed"
    assert len((await ann.ask("subscribe", channel=channel_of(room.id)))["messages"]) == 1
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", "ann", 204)
    assert (await ann.hear("message"))["data"]["kind"] == "delete"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a\r\nb\tc  ", "a  b c"),
        ("a\x01\x07\x1b[31mb", "a[31mb"),
        ("x" * 500, "x" * 500),
        ("\n" + "😀" * 500 + "\n", "😀" * 500),
        ("abc\u202edef\u2066", "abcdef"),
        ("<script>alert(1)</script> & 'x'", "<script>alert(1)</script> & 'x'"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("line\u2028two", "line two"),
    ],
)
async def test_texts_that_are_taken(server: Server, world: World, given: str, kept: str) -> None:
    room = world.broadcast()
    message = await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": given})
    assert message["text"] == kept


@pytest.mark.parametrize("text", ["", "   ", "\u200b\u200d", "\x01\x02", "x" * 501, "😀" * 501, "\u202e"])
async def test_texts_that_are_not(server: Server, world: World, text: str) -> None:
    room = world.broadcast()
    assert (await server.json("POST", f"{room.id}/chat", "ann", 422, json={"text": text}))["code"] == "bad_text"
    ann = await server.connect("ann")
    assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": text}))["code"] == "bad_text"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"text": 5},
        {"text": None},
        {"delete": "x"},
        {"text": "x", "media_time": "yesterday"},
        {"text": "x", "media_time": "2026-01-01T00:00:00"},
        {"text": "x", "nonce": "n" * 65},
        {"text": "x" * 8001},
    ],
)
async def test_data_that_is_no_message(server: Server, world: World, data: dict[str, Any]) -> None:
    room = world.broadcast()
    ann = await server.connect("ann")
    assert (await ann.ask("publish", channel=channel_of(room.id), data=data))["code"] == "bad_message"


async def test_media_times_that_cannot_be_true_are_not_kept(server: Server, world: World) -> None:
    room = world.broadcast()
    assert room.started_at is not None
    for claimed, kept in (
        (room.started_at - timedelta(seconds=50), True),
        (room.started_at - timedelta(seconds=70), False),
        (now() + timedelta(seconds=3), True),
        (now() + timedelta(seconds=30), False),
        (datetime.max.replace(tzinfo=UTC), False),
    ):
        body = {"text": "x", "media_time": claimed.isoformat()}
        message = await server.json("POST", f"{room.id}/chat", "ann", 201, json=body)
        assert (message["media_time"] is not None) is kept
    room.started_at = None
    body = {"text": "x", "media_time": now().isoformat()}
    assert (await server.json("POST", f"{room.id}/chat", "ann", 201, json=body))["media_time"] is None


async def test_a_replay_pages_by_the_moment_of_the_picture(server: Server, world: World) -> None:
    room = world.broadcast()
    base = now() - timedelta(minutes=5)
    order = [4, 1, 3, 0, 2, 2]
    for number in order:
        body = {"text": str(number), "media_time": (base + timedelta(seconds=number)).isoformat()}
        await server.json("POST", f"{room.id}/chat", "ann", 201, json=body)
    await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "now"})
    texts: list[str] = []
    cursor = ""
    while True:
        page = await server.json("GET", f"{room.id}/chat/replay?limit=2{cursor}")
        assert len(page["items"]) <= 2
        texts += [message["text"] for message in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert texts == ["0", "1", "2", "2", "3", "4", "now"]
    params = {
        "from_time": (base + timedelta(seconds=1)).isoformat(),
        "to_time": (base + timedelta(seconds=3)).isoformat(),
    }
    page = await server.json("GET", f"{room.id}/chat/replay", params=params)
    assert [message["text"] for message in page["items"]] == ["1", "2", "2"]
    assert (await server.json("GET", f"{room.id}/chat/replay?cursor=x", status=400))["code"] == "bad_cursor"


async def test_the_log_is_read_in_pages(server: Server, world: World) -> None:
    room = world.broadcast()
    assert await server.json("GET", f"{room.id}/chat") == {"epoch": "1", "offset": 0, "head": 0, "items": []}
    for number in range(5):
        await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": str(number)})
    page = await server.json("GET", f"{room.id}/chat?since=1&limit=2")
    assert ([item["offset"] for item in page["items"]], page["offset"], page["head"]) == ([2, 3], 3, 5)
    page = await server.json("GET", f"{room.id}/chat?limit=2")
    assert [item["offset"] for item in page["items"]] == [4, 5]
    page = await server.json("GET", f"{room.id}/chat?since=99")
    assert (page["items"], page["offset"], page["head"]) == ([], 5, 5)
    await server.json("GET", f"{room.id}/chat?limit=501", status=422)
    await server.json("GET", f"{room.id}/chat?since=-1", status=422)


async def test_unknown_rooms_and_other_spellings_are_no_channels(server: Server, world: World) -> None:
    room = world.broadcast()
    client = await server.connect("ann")
    for channel in (f"live:{uuid4()}", "live:", "live:x", f"live:{str(room.id).upper()}", f"live:{room.id.hex}"):
        assert (await client.ask("subscribe", channel=channel))["code"] == "unknown_channel"
        assert (await client.ask("publish", channel=channel, data={"text": "x"}))["code"] == "unknown_channel"


async def test_what_a_dead_node_committed_reaches_the_others(database: Database, world: World) -> None:
    """Two nodes; the second one's bus is cut, as when it is killed between the commit and telling."""
    room = world.broadcast()
    channel = channel_of(room.id)
    exchange = Exchange()
    cut = MemoryBroker(exchange)
    async with (
        Server(database, world, broker=MemoryBroker(exchange)) as first,
        Server(database, world, broker=cut, name="b") as second,
    ):
        reader = await first.connect()
        await reader.ask("subscribe", channel=channel)
        await second.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "told"})
        await reader.hear("message", offset=1)
        cut.cut()
        await second.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "not told"})
        await first.json("POST", f"{room.id}/chat", "bob", 201, json={"text": "the next one shows the hole"})
        assert (await reader.hear("message"))["data"]["message"]["text"] == "not told"
        assert (await reader.hear("message"))["offset"] == 3
        await second.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "nothing follows"})
        assert (await reader.hear("message"))["offset"] == 4  # found by comparing heads


async def test_what_was_taken_is_on_disk_when_the_service_has_closed(server: Server, world: World) -> None:
    room = world.broadcast()
    ann = await server.connect("ann")
    asked = [
        asyncio.create_task(ann.ask("publish", channel=channel_of(room.id), data={"text": str(n)})) for n in range(9)
    ]
    assert (await asked[0])["type"] == "ack"
    await server.chat.close()
    answers = await asyncio.gather(*asked)
    acked = [answer["offset"] for answer in answers if answer["type"] == "ack"]
    refused = [answer["code"] for answer in answers if answer["type"] == "error"]
    assert acked == list(range(1, len(acked) + 1))
    assert set(refused) <= {"unavailable"}
    assert (await server.json("GET", f"{room.id}/chat"))["head"] == len(acked)


async def test_a_database_that_is_away_is_said_and_nothing_is_acked(
    server: Server, world: World, database: Database
) -> None:
    room = world.broadcast()
    ann = await server.connect("ann")
    await ann.ask("publish", channel=channel_of(room.id), data={"text": "x"})
    await database.close()
    assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": "y"}))["code"] == "unavailable"
    await server.json("POST", f"{room.id}/chat", "ann", 503, json={"text": "y"})
    await database.start()
    assert (await ann.ask("publish", channel=channel_of(room.id), data={"text": "z"}))["offset"] == 2


async def test_a_forgotten_room_leaves_nothing_but_that_it_was(
    server: Server, world: World, database: Database
) -> None:
    room = world.broadcast()
    await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "x"})
    await server.chat.forget(room.id)
    await server.chat.forget(room.id)  # the job may be repeated
    async with database.acquire() as connection:
        for table in ("chat_messages", "chat_log"):
            assert await connection.fetchval(f"select count(*) from {table}") == 0
        assert await connection.fetchval("select array_agg(id) from chat_rooms where forgotten") == [room.id]


@pytest.mark.parametrize("written_before", [True, False])
async def test_what_was_on_its_way_when_the_broadcast_was_deleted_does_not_make_its_chat_anew(
    server: Server, world: World, database: Database, written_before: bool
) -> None:
    """Somebody has asked for the room just before it was deleted, and commits after."""
    room = world.broadcast()
    ann = await server.connect("ann")
    if written_before:
        await server.json("POST", f"{room.id}/chat", "ann", 201, json={"text": "before"})
    await server.chat.forget(room.id)  # the world still knows the room, as those do who asked before
    asked = [ann.ask("publish", channel=channel_of(room.id), data={"text": str(number)}) for number in range(2)]
    assert {answer["code"] for answer in await asyncio.gather(*asked)} == {"unknown_channel"}
    assert (await server.json("POST", f"{room.id}/chat", "ann", 404, json={"text": "x"}))["code"] == "unknown_channel"
    await server.json("DELETE", f"{room.id}/chat/{uuid4()}", "owner", 404)
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from chat_messages") == 0


async def test_subscribers_of_a_deleted_broadcast_are_closed_also_when_nobody_tells_this_node(
    server: Server, world: World
) -> None:
    """`bin/worker` deletes without a bus: the comparison with the store finds it."""
    room, other = world.broadcast(), world.broadcast()
    guest = await server.connect()
    for subject in (room, other):
        await guest.ask("subscribe", channel=channel_of(subject.id))
    del world.broadcasts[room.id]
    await server.chat.forget(room.id)
    closed = await guest.hear("closed")
    assert (closed["channel"], closed["code"]) == (channel_of(room.id), "unknown_channel")
    assert server.hub.holders(channel_of(room.id)) == 0
    assert server.hub.holders(channel_of(other.id)) == 1


async def test_a_nul_harms_nothing(server: Server, world: World) -> None:
    """PostgreSQL cannot keep it."""
    room = world.broadcast()
    ann = await server.connect("ann")
    ack = await ann.ask("publish", channel=channel_of(room.id), data={"text": "a\x00b"})
    assert ack["data"]["message"]["text"] == "ab"
    refused = await ann.ask("publish", channel=channel_of(room.id), data={"text": "x", "nonce": "a\x00b"})
    assert refused["code"] == "bad_message"


async def test_a_fault_in_telling_neither_loses_nor_doubles(server: Server, world: World) -> None:
    room = world.broadcast()
    channel = channel_of(room.id)
    reader = await server.connect()
    await reader.ask("subscribe", channel=channel)
    told = server.hub.deliver
    failed: list[int] = []

    def fail(name: str, epoch: str, entry: Entry) -> None:
        if name == channel:  # the staff's channel is told as well
            failed.append(entry.offset)
        raise RuntimeError("a fault between the commit and telling")

    server.hub.deliver = fail  # type: ignore[method-assign]
    bodies = [{"text": str(number)} for number in range(20)]
    await asyncio.gather(*(server.json("POST", f"{room.id}/chat", "ann", 201, json=body) for body in bodies))
    server.hub.deliver = told  # type: ignore[method-assign]
    assert sorted(failed) == list(range(1, 21))
    await eventually(lambda: reader.offsets(channel) == list(range(1, 21)))
