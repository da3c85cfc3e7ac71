"""`GET /events`: the same messages, rights and recovery as over the socket, for what only listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.codec import Payload
from realtime.protocol.codes import CloseCode
from realtime.protocol.events import EventCodec, ManyEventCodec, good_name, read_places
from realtime.protocol.messages import Message, Position
from realtime.roster import SocketOptions
from realtime.rules import Entry
from tests.realtime.stage import Feature, Node, Tokens, running
from tests.support import eventually

CHANNEL, OTHER = "live:room", "live:other"


@pytest.fixture
async def strict(feature: Feature, tokens: Tokens) -> AsyncIterator[Node]:
    options = SocketOptions(
        per_address=3, ping_seconds=0.1, dead_seconds=0.5, sweep_seconds=0.05, renew_seconds=0.1, buffer=64 * 1024,
        close_seconds=0.3,
    )  # fmt: skip
    node = Node(feature, tokens, socket_options=options)
    feature.hub = node.hub
    async with running(node):
        yield node


async def test_a_stream_has_the_state_and_then_every_message(node: Node) -> None:
    node.say(CHANNEL, "before")
    stream = await node.listen(CHANNEL)
    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    ack = await stream.hear("ack")
    assert (ack["channel"], ack["recovered"], [item["data"] for item in ack["messages"]]) == (
        CHANNEL,
        False,
        ["before"],
    )
    socket = await node.connect()
    await socket.ask("subscribe", channel=CHANNEL)
    for number in range(20):
        node.say(CHANNEL, number)
    await eventually(lambda: len(stream.offsets(CHANNEL)) == 20 == len(socket.offsets(CHANNEL)))
    assert [told for told in stream.told if told["type"] == "message"] == [
        told for told in socket.told if told["type"] == "message"
    ]
    node.hub.state(CHANNEL, {"state": "ended"})
    assert (await stream.hear("state"))["data"] == {"state": "ended"}


@pytest.mark.parametrize("channels", [(CHANNEL,), (CHANNEL, OTHER)])
async def test_whoever_comes_back_gets_exactly_what_was_missed(node: Node, channels: tuple[str, ...]) -> None:
    last, got = "", {channel: list[int]() for channel in channels}
    for turn in range(4):
        stream = await node.listen(*channels, last_event_id=last)
        for _ in channels:
            ack = await stream.hear("ack")
            assert ack["recovered"] is (turn > 0)
            got[ack["channel"]] += [item["offset"] for item in ack["messages"]]
        for channel in channels:
            node.say(channel, f"heard in {turn}")
            told = await stream.hear("message", channel=channel)
            got[channel].append(told["offset"])
        last = stream.last_event_id
        await stream.close()
        for channel in channels[turn % 2 :]:
            node.say(channel, f"missed in {turn}")
    for channel in channels:
        assert got[channel] == list(range(1, len(got[channel]) + 1))
        assert len(got[channel]) >= 6


async def test_a_stream_has_the_view_of_whom_its_token_speaks_for(node: Node, tokens: Tokens) -> None:
    token = tokens.sign_in("ann")
    own, guest = await node.listen(CHANNEL, token=token), await node.listen(CHANNEL)
    for stream in (own, guest):
        await stream.hear("ack")
    views = {tokens.known[token].user_id: Payload(b'"mine"')}
    node.hub.deliver(CHANNEL, "1", Entry(node.feature.store(CHANNEL, "hidden"), Payload(b'"hidden"'), None, views))
    node.say(CHANNEL, "for all")
    for stream, seen in ((own, "mine"), (guest, "hidden")):
        assert [(await stream.hear("message"))["data"] for _ in range(2)] == [seen, "for all"]
    for who, seen in ((token, "mine"), ("", "hidden")):
        again = await node.listen(CHANNEL, token=who, last_event_id=f"{CHANNEL}@1@0")
        ack = await again.hear("ack")
        assert (ack["recovered"], [item["data"] for item in ack["messages"]]) == (True, [seen, "for all"])


async def test_a_place_in_another_past_is_not_recovered(node: Node) -> None:
    node.say(CHANNEL, "one")
    for given_id in (f"{CHANNEL}@old@1", f"{CHANNEL}@1@99", "nonsense", f"{CHANNEL}@1@", "@@ @1@2", "x" * 7000):
        stream = await node.listen(CHANNEL, last_event_id=given_id)
        ack = await stream.hear("ack")
        assert (ack["recovered"], len(ack["messages"])) == (False, 1)
        await stream.close()


async def test_refusals_before_the_stream_are_problems(strict: Node, tokens: Tokens, feature: Feature) -> None:
    feature.banned.add(None)
    assert (await strict.listen(CHANNEL)).status == 403
    feature.banned.clear()
    assert (await strict.listen("live:none")).status == 404
    assert (await strict.listen("nobody:x")).status == 404
    assert (await strict.listen("live:a b")).status == 422
    assert (await strict.listen("")).status == 422
    assert (await strict.listen(*(f"live:{n}" for n in range(51)))).status == 422
    assert strict.sockets.describe()["open"] == 0
    stream = await strict.listen(CHANNEL, "live:none")
    assert (await stream.hear("closed"))["channel"] == "live:none"


async def test_streams_count_as_connections_of_their_address(strict: Node) -> None:
    streams = [await strict.listen(CHANNEL) for _ in range(2)]
    await strict.connect()
    refused = await strict.listen(CHANNEL)
    assert (refused.status, refused.answer.headers["Retry-After"]) == (429, "10")
    for stream in streams:
        await stream.close()
    await eventually(lambda: strict.sockets.describe()["open"] == 1)
    assert strict.hub.holders(CHANNEL) == 0
    assert (await strict.listen(CHANNEL)).status == 200


async def test_a_lost_right_closes_the_channel_and_a_lost_token_makes_a_guest(
    strict: Node, tokens: Tokens, feature: Feature
) -> None:
    token = tokens.sign_in("ann")
    ann = tokens.known[token].user_id
    stream = await strict.listen(CHANNEL, OTHER, token=token)
    for _ in range(2):
        await stream.hear("ack")
    feature.banned.add(ann)
    strict.hub.recheck(CHANNEL)
    assert (await stream.hear("closed"))["channel"] == CHANNEL
    strict.say(CHANNEL, "not for ann")
    strict.say(OTHER, "still heard")
    await stream.hear("message", channel=OTHER)
    feature.banned = {None}
    del tokens.known[token]
    assert (await stream.hear("closed"))["channel"] == OTHER
    assert (await stream.hear("notice"))["code"] == "token_expired"


async def test_the_heartbeat_and_the_end(strict: Node) -> None:
    stream = await strict.listen(CHANNEL)
    await stream.hear("ack")
    await eventually(lambda: stream.comments >= 3)
    closing = asyncio.create_task(strict.sockets.close())
    end = await stream.hear("end")
    assert (end["code"], end["message"]) == (4000, CloseCode.RECONNECT_ELSEWHERE.sentence)
    await eventually(lambda: stream.ended)
    await closing
    assert (await strict.listen(CHANNEL)).status == 503


async def test_a_slow_reader_is_cut_off_and_others_are_not(feature: Feature, tokens: Tokens) -> None:
    # Nobody is dead so soon: else the kernel, which counts a full window as silence, may be quicker than the bound.
    node = Node(feature, tokens, socket_options=SocketOptions(buffer=64 * 1024, close_seconds=0.3, sweep_seconds=0.05))
    feature.hub = node.hub
    async with running(node):
        host, port = node.url.removeprefix("http://").removesuffix("/ws").split(":")
        slow = socket.create_connection((host, int(port)))
        slow.sendall(f"GET /events?channels={CHANNEL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await eventually(lambda: node.hub.holders(CHANNEL) == 1)
        quick = await node.listen(CHANNEL)
        said = 0
        while node.sockets.describe()["slow"] == 0:
            said += 1
            assert said < 3000
            node.say(CHANNEL, "x" * 8000)
            if said % 4 == 0:
                await eventually(lambda: len(quick.offsets(CHANNEL)) == said)  # noqa: B023 awaited here
            await asyncio.sleep(0)
        await eventually(lambda: len(quick.offsets(CHANNEL)) == said)
        await eventually(lambda: node.sockets.describe()["open"] == 1)
        slow.close()


async def test_a_client_of_http_1_0_gets_a_plain_stream(node: Node) -> None:
    host, port = node.url.removeprefix("http://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /events?channels={CHANNEL} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"chunked" not in head
    assert (await reader.readuntil(b"\n\n")).startswith(b"retry: ")
    assert (await reader.readuntil(b"\n\n")).startswith(b"event: ack\nid: live:room@1@0\ndata: {")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@given(st.text(max_size=300))
def test_any_last_event_id_is_read(text: str) -> None:
    for channel, place in read_places(text).items():
        assert channel
        assert place.offset >= 0


@given(st.from_regex(r"[a-z]{1,9}:[!-+\--?A-~]{1,80}", fullmatch=True), st.integers(0, 10**14))
def test_what_an_id_says_is_read_again(channel: str, offset: int) -> None:
    assert good_name(channel)
    codec = ManyEventCodec(chunked=False)
    codec.begin({"live:a": Position("x", 3)})
    text = codec.frame(Message(channel=channel, epoch="e1", offset=offset, data=None)).decode()
    line = next(line for line in text.splitlines() if line.startswith("id: "))
    assert read_places(line[4:]) == {"live:a": Position("x", 3), channel: Position("e1", offset)}


def test_data_never_ends_an_event() -> None:
    frame = EventCodec(chunked=False).frame(
        Message(channel="live:a", epoch="1", offset=1, data="a\n\nevent: message\r\ndata: forged")
    )
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame
