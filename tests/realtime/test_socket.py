"""The endpoint over real sockets: who may connect, what is answered, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket as sockets
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from realtime.dialogue import Dialogue
from realtime.limits import Bucket
from realtime.protocol import frames
from realtime.protocol.codec import CODECS, JSON, Deflated
from realtime.protocol.codes import CloseCode
from realtime.protocol.messages import SubscribeAck
from realtime.roster import SocketOptions
from realtime.session import Session
from realtime.socket import Sockets
from tests.realtime.stage import Feature, Node, Tokens, all_hear, running
from tests.support import eventually

CHANNEL = "live:room"


@pytest.fixture
async def strict(feature: Feature, tokens: Tokens) -> AsyncIterator[Node]:
    """A node with narrow limits."""
    node = Node(
        feature,
        tokens,
        origins=("https://app.example",),
        socket_options=SocketOptions(
            max_message=1024,
            buffer=64 * 1024,
            subscriptions=2,
            per_address=3,
            most=5,
            burst=20,
            interval=10.0,
            ping_seconds=0.1,
            dead_seconds=0.6,
            sweep_seconds=0.05,
            renew_seconds=0.05,
            close_seconds=0.5,
        ),
    )
    feature.hub = node.hub
    async with running(node):
        yield node


@pytest.mark.parametrize("format", ["json", "msgpack"])
async def test_a_message_reaches_everybody_in_both_formats(node: Node, tokens: Tokens, format: str) -> None:
    writer = await node.connect(tokens.sign_in("ann"), format=format)
    readers = [await node.connect(format=other) for other in ("json", "msgpack")]
    for client in (writer, *readers):
        ack = await client.ask("subscribe", channel=CHANNEL)
        assert (ack["type"], ack["offset"], ack["messages"], ack["recovered"]) == ("ack", 0, [], False)
    ack = await writer.ask("publish", channel=CHANNEL, data={"text": "hällo 🙂"})
    assert (ack["type"], ack["epoch"], ack["offset"], ack["data"]) == ("ack", "1", 1, {"text": "hällo 🙂"})
    for client in (writer, *readers):
        assert await client.hear("message") == {
            "type": "message",
            "channel": CHANNEL,
            "epoch": "1",
            "offset": 1,
            "data": {"text": "hällo 🙂"},
        }


@pytest.mark.parametrize("size", [1, 124, 125, 126, 127, 60_000, 70_000])
async def test_frames_of_every_length_form(node: Node, size: int) -> None:
    client = await node.connect()
    await client.ask("subscribe", channel=CHANNEL)
    node.say(CHANNEL, "x" * size)
    assert (await client.hear("message"))["data"] == "x" * size


async def test_the_token_comes_as_subprotocol_or_as_first_message(node: Node, tokens: Tokens) -> None:
    token = tokens.sign_in("ann")
    client = await node.connect(token, welcome=False)
    assert (await client.hear("welcome"))["user"]["username"] == "ann"
    assert client.socket.protocol == "socialflow.v1.json"
    guest = await node.connect(welcome=False)
    assert (await guest.hear("welcome"))["user"] is None
    assert (await guest.ask("publish", channel=CHANNEL, data={"text": "no"}))["code"] == "unauthenticated"
    assert (await guest.ask("authenticate", token=token))["user"]["username"] == "ann"
    assert (await guest.ask("publish", channel=CHANNEL, data={"text": "yes"}))["type"] == "ack"


async def test_a_wrong_token_leaves_a_guest_who_is_told(node: Node) -> None:
    client = await node.connect("nonsense", welcome=False)
    assert (await client.hear("welcome"))["user"] is None
    assert (await client.hear("notice"))["code"] == "unauthenticated"
    assert (await client.ask("authenticate", token="nonsense"))["code"] == "unauthenticated"
    assert (await client.ask("subscribe", channel=CHANNEL))["type"] == "ack"


async def test_a_token_in_the_address_is_refused(node: Node, tokens: Tokens) -> None:
    answer = await node.get(query=f"?token={tokens.sign_in('ann')}")
    assert answer.status == 400
    assert (await answer.json())["code"] == "token_in_url"


async def test_an_unknown_version_is_refused_without_the_token_in_the_log(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await node.get(headers={"Sec-WebSocket-Protocol": "socialflow.v9.json, token.s3cr3t"})
        assert answer.status == 400
        assert (await answer.json())["code"] == "unsupported_version"
        client = await node.connect("s3cr3t", welcome=False)
        await client.hear("notice")
    assert "s3cr3t" not in caplog.text


async def test_pages_of_other_origins_may_not_connect(strict: Node) -> None:
    own = strict.url.removesuffix("/ws")
    for origin, status in (
        ("https://evil.example", 403),
        ("null", 403),
        ("https://app.example", 101),
        (own, 101),
        ("http://[", 403),
    ):
        answer = await strict.get(headers={"Origin": origin})
        assert answer.status == status, origin
        answer.close()


async def test_connections_are_counted_by_address_and_given_back(strict: Node) -> None:
    clients = [await strict.connect() for _ in range(3)]
    answer = await strict.get()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    await clients[0].close()
    await eventually(lambda: strict.sockets.describe()["open"] == 2)
    await strict.connect()


async def test_errors_are_answers(strict: Node) -> None:
    client = await strict.connect()
    for channel in ("live:none", "other:room", "x"):
        assert (await client.ask("subscribe", channel=channel))["code"] == "unknown_channel"
    assert (await client.ask("unsubscribe", channel=CHANNEL))["code"] == "not_subscribed"
    for channel in ("live:1", "live:2"):
        await client.ask("subscribe", channel=channel)
    assert (await client.ask("subscribe", channel="live:3"))["code"] == "too_many_subscriptions"
    assert (await client.ask("subscribe", channel="live:2"))["type"] == "ack"  # a held one may be asked for again
    assert (await client.ask("unsubscribe", channel="live:2"))["type"] == "ack"
    assert (await client.ask("subscribe", channel="live:3"))["type"] == "ack"
    assert (await client.ask("ping"))["type"] == "ack"


async def test_a_malformed_message_is_answered_and_many_close(strict: Node, caplog: pytest.LogCaptureFixture) -> None:
    client = await strict.connect()
    answer = await client.ask("subscribe", channel=5)
    assert answer["code"] == "bad_message"
    assert "channel" in answer["message"]
    for nonsense in ("", "{", "[]", '{"type":"?"}', '"x"', '{"type":"publish","channel":"live:x","data":[]}'):
        await client.socket.send_str(nonsense)
        assert (await client.hear("error"))["id"] is None
    deep = (
        json.dumps({"type": "publish", "channel": CHANNEL, "id": 3})[:-1]
        + ',"data":{"a":'
        + "[" * 400
        + "]" * 400
        + "}}"
    )
    await client.socket.send_str(deep)
    for _ in range(8):
        await client.socket.send_str("nonsense")
    assert await client.closed() == CloseCode.BAD_MESSAGES
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_frame_of_the_other_format_closes(node: Node) -> None:
    client = await node.connect()
    await client.socket.send_bytes(b"\x80")
    assert await client.closed() == CloseCode.UNSUPPORTED


async def test_a_message_that_is_too_large_closes(strict: Node) -> None:
    client = await strict.connect()
    await client.socket.send_str("x" * 2000)
    assert await client.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_the_rate_of_messages_is_limited(strict: Node) -> None:
    client = await strict.connect()
    for _ in range(20):
        assert (await client.ask("ping"))["type"] == "ack"
    refused = await client.ask("ping")
    assert refused["code"] == "rate_limited"
    assert 0 < refused["retry_after"] <= 10
    for _ in range(100):
        await client.say(type="ping")
    assert await client.closed() == CloseCode.TOO_MANY_MESSAGES


PING, PONG = 0x9, 0xA


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_control_frames_count_as_messages(strict: Node, opcode: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "realtime.roster")
    reader, writer = await raw_connection(strict)
    writer.write(masked(opcode, b"x") * 220)
    received = await until_cut_off(reader)
    assert received.count(b"\x8a\x01x") == (20 if opcode == PING else 0)  # what the rate allows, and nothing over it
    assert close_code(received) == CloseCode.TOO_MANY_MESSAGES
    writer.close()
    assert [line for line in caplog.messages if "127.0.0.1" in line and "4100" in line]


async def test_whoever_sends_on_after_the_end_is_not_listened_to(feature: Feature, tokens: Tokens) -> None:
    options = SocketOptions(burst=20, interval=10.0, close_seconds=600.0, dead_seconds=600.0)
    node = Node(feature, tokens, socket_options=options)
    async with running(node):
        reader, writer = await raw_connection(node)
        (session,) = node.sockets.roster._sessions
        writer.write(masked(0x1, b'{"type":"ping","id":1}') * 3000)
        assert b"rate_limited" in await asyncio.wait_for(reader.readuntil(struct.pack("!H", 4100)), 60)
        await eventually(lambda: not session._transport.is_reading())
        assert node.sockets.describe()["open"] == 1  # until close_seconds have passed
        session.abort()
        await eventually(lambda: node.sockets.describe()["open"] == 0)
        writer.close()


def test_a_little_too_fast_for_long_is_too_fast() -> None:
    """Twice the rate: every other message is taken, and that forgives nothing until the client rests."""
    ended: list[CloseCode] = []
    transport = FakeTransport()
    session = session_on(transport, ended)
    moment = 0.0
    for _ in range(3):  # a busy minute now and then, with a rest after it, is nobody's fault
        refused = sum(session.wait(moment + number * 0.025) > 0 for number in range(200))
        assert 0 < refused < 100
        moment += 60
    assert not ended
    for number in range(1000):
        session.wait(moment + number * 0.025)
    assert ended == [CloseCode.TOO_MANY_MESSAGES]
    assert close_code(bytes(transport.written)) == CloseCode.TOO_MANY_MESSAGES


@pytest.mark.parametrize("message", ['{"type":"ping"}', "nonsense"])
async def test_others_have_their_turn_between_refusals(node: Node, tokens: Tokens, message: str) -> None:
    """A queue full of messages that are refused is not gone through in one go."""
    dialogue = Dialogue(node.hub, tokens, subscriptions=1, clock=lambda: 1.0)
    session = session_on(FakeTransport(), [])
    while not session.wait(1.0):
        pass
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    for _ in range(50):
        await dialogue.answer(session, message)
    other.cancel()
    assert turns >= 49


async def test_clients_at_fault_are_logged_with_address_and_code_but_not_without_end(
    feature: Feature, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "realtime.roster")
    node = Node(feature, tokens)
    node.sockets = Sockets(node.hub, tokens, viewer_of=lambda request: "somebody", clock=lambda: 1.0)
    async with running(node):
        for frame, code in ((masked(0x3, b""), 1002), (masked(0x2, b"\x80"), 4201), (masked(0x1, b"\xff"), 1007)):
            reader, writer = await raw_connection(node)
            writer.write(frame)
            await reader.readuntil(b"\x88")
            writer.close()
            await eventually(lambda code=code: any(f"{code}" in line for line in caplog.messages))
            assert "127.0.0.1" in caplog.messages[-1]
        for number in range(30):
            reader, writer = await raw_connection(node)
            writer.write(masked(0x3, b""))
            await reader.readuntil(b"\x88")
            writer.close()
            await eventually(lambda number=number: node.sockets.describe()["faulty"] == 4 + number)
        lines = [record for record in caplog.records if record.name == "realtime.roster"]
        assert 3 < len(lines) < 20
        assert {record.levelno for record in lines} == {logging.INFO}


async def test_a_fault_of_a_feature_is_an_error_and_logged_once(
    node: Node, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    client = await node.connect(tokens.sign_in("ann"))
    assert (await client.ask("publish", channel=CHANNEL, data={"fail": True}))["code"] == "internal"
    assert (await client.ask("ping"))["type"] == "ack"
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_an_expired_token_makes_a_guest_who_can_come_back(strict: Node, tokens: Tokens, feature: Feature) -> None:
    token = tokens.sign_in("ann")
    client = await strict.connect(token)
    await client.ask("subscribe", channel=CHANNEL)
    person = tokens.known.pop(token)
    assert (await client.hear("notice"))["code"] == "token_expired"
    assert (await client.ask("publish", channel=CHANNEL, data={"text": "x"}))["code"] == "unauthenticated"
    strict.say(CHANNEL, "still read by guests")
    await client.hear("message")
    tokens.known["new"] = person
    assert (await client.ask("authenticate", token="new"))["user"]["username"] == "ann"
    assert (await client.ask("publish", channel=CHANNEL, data={"text": "x"}))["type"] == "ack"


async def test_what_a_guest_may_not_hold_is_closed_when_the_token_expires(
    strict: Node, tokens: Tokens, feature: Feature
) -> None:
    token = tokens.sign_in("ann")
    client = await strict.connect(token)
    await client.ask("subscribe", channel=CHANNEL)
    feature.banned.add(None)
    del tokens.known[token]
    assert (await client.hear("closed"))["code"] == "forbidden"
    assert strict.hub.holders(CHANNEL) == 0


async def test_a_silent_peer_is_found_and_one_that_answers_pings_stays(strict: Node) -> None:
    alive = await strict.connect()
    dead = await strict.connect(autoping=False)
    assert await dead.closed() == CloseCode.DEAD_PEER
    assert (await alive.ask("ping"))["type"] == "ack"
    assert strict.sockets.describe()["dead"] == 1


async def test_a_peer_that_vanished_is_cut_off(strict: Node) -> None:
    """It neither answers nor closes: the network between is gone."""
    reader, writer = await raw_connection(strict)
    await reader.readuntil(b"welcome")
    await eventually(lambda: strict.sockets.describe()["open"] == 0, within=60)
    writer.close()


async def test_a_slow_reader_is_closed_and_nobody_else_waits(strict: Node) -> None:
    quick = await strict.connect()
    await quick.ask("subscribe", channel=CHANNEL)
    reader, writer = await raw_connection(strict)
    body = json.dumps({"type": "subscribe", "channel": CHANNEL, "id": 1}).encode()
    writer.write(struct.pack("!BB4x", 0x81, 0x80 | len(body)) + body)
    await reader.readuntil(b'"ack"')
    writer.transport.pause_reading()
    for number in range(400):
        strict.say(CHANNEL, f"{number} " + "x" * 20_000)
        await asyncio.sleep(0)
    assert await all_hear(quick, CHANNEL, 400) == list(range(1, 401))
    await eventually(lambda: strict.sockets.describe()["slow"] == 1)
    await eventually(lambda: strict.sockets.describe()["open"] == 1)
    assert strict.hub.holders(CHANNEL) == 1
    assert (await quick.ask("ping"))["type"] == "ack"
    writer.close()


async def test_a_slow_reader_that_reads_on_gets_the_code(strict: Node) -> None:
    reader, writer = await raw_connection(strict)
    body = json.dumps({"type": "subscribe", "channel": CHANNEL, "id": 1}).encode()
    writer.write(struct.pack("!BB4x", 0x81, 0x80 | len(body)) + body)
    await reader.readuntil(b'"ack"')
    writer.transport.pause_reading()
    while strict.sockets.describe()["slow"] == 0:
        strict.say(CHANNEL, "x" * 20_000)
        await asyncio.sleep(0)
    writer.transport.resume_reading()
    received = await asyncio.wait_for(reader.read(-1), 60)
    close = received[received.rindex(b"\x88") :]
    assert struct.unpack("!H", close[2:4])[0] == CloseCode.SLOW_CONSUMER
    writer.close()


async def test_everybody_is_sent_away_and_nobody_let_in(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens)
    async with running(node):
        clients = [await node.connect() for _ in range(40)]
        await node.sockets.close(spread=0.1)
        assert {await client.closed() for client in clients} == {CloseCode.RECONNECT_ELSEWHERE}
        answer = await node.get()
        assert answer.status == 503
        assert node.hub.describe()["sessions"] == 0


async def test_text_that_is_not_utf8_and_broken_frames_close_with_the_codes_of_the_rfc(strict: Node) -> None:
    for frame, code in (
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # section 8.1
        (b"\xc1\x80\0\0\0\0", 1002),  # section 5.2: RSV1 without an extension
        (b"\x83\x80\0\0\0\0", 1002),  # a reserved opcode
    ):
        reader, writer = await raw_connection(strict)
        await reader.readuntil(b"}")
        writer.write(frame)
        received = await asyncio.wait_for(reader.read(-1), 60)
        assert struct.unpack("!H", received[received.rindex(b"\x88") + 2 :][:2])[0] == code
        writer.close()
        await eventually(lambda: strict.sockets.describe()["open"] == 0)


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def session_on(transport: FakeTransport, ended: list[CloseCode]) -> Session:
    return Session(
        transport,
        CODECS["socialflow.v1.json"],
        viewer="",
        address="",
        buffer=1 << 20,
        quota=Bucket(60, 0.05),
        now=0.0,
        finish=lambda session, code: ended.append(code),
    )


def masked(opcode: int, payload: bytes) -> bytes:
    return struct.pack("!BB4x", 0x80 | opcode, 0x80 | len(payload)) + payload


def close_code(received: bytes) -> int:
    code: int = struct.unpack("!H", received[received.rindex(b"\x88") + 2 :][:2])[0]
    return code


async def until_cut_off(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, in whatever way."""
    received = bytearray()
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                received += chunk
    return bytes(received)


async def raw_connection(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket without a WebSocket library behind it: it answers nothing by itself."""
    host, port = node.url.removeprefix("http://").removesuffix("/ws").split(":")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_large_messages_to_many_are_compressed_for_who_agreed_to_it(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, socket_options=SocketOptions(compress_above=200))
    feature.hub = node.hub
    async with running(node):
        clients = [
            await node.connect(compress=15),
            await node.connect(compress=15, format="msgpack"),
            await node.connect(compress=9),
            await node.connect(),
        ]
        assert [bool(client.socket.compress) for client in clients] == [True, True, True, False]
        for client in clients:
            await client.ask("subscribe", channel=CHANNEL)
        said = ["small", "large and repeated " * 200, "ü" * 3000, "small"]
        for data in said:
            node.say(CHANNEL, data)
        for client in clients:
            for data in said:
                assert (await client.hear("message"))["data"] == data
        assert (await clients[0].ask("publish", channel=CHANNEL, data={"text": "x" * 500}))["code"] == "unauthenticated"


async def test_a_history_that_several_come_back_to_is_compressed_once(feature: Feature, tokens: Tokens) -> None:
    node = Node(feature, tokens, socket_options=SocketOptions(compress_above=200))
    feature.hub = node.hub
    async with running(node):
        clients = [await node.connect(compress=15) for _ in range(3)]
        await clients[0].ask("subscribe", channel=CHANNEL)
        said = [f"number {number} of many, " * 20 for number in range(30)]
        for data in said:
            node.say(CHANNEL, data)
        for client in clients:
            client._number = 7  # as after a break: all ask the same with the same number
            ack = await client.ask("subscribe", channel=CHANNEL, since={"epoch": "1", "offset": 0})
            assert ack["recovered"]
            assert [item["data"] for item in ack["messages"]] == said
    codec = Deflated(JSON, 200)
    histories = [
        SubscribeAck(id=1, channel="x", epoch="1", offset=1, recovered=True, messages=[], viewers=1, state=state)
        for state in ("a" * 5000, "b" * 5000, "c" * 100, "d" * 70_000)
    ]
    plain = [JSON.frame(history) for history in histories]
    assert [codec.frame(history) for history in histories] == plain, "what nobody else has got is not compressed"
    again = [codec.frame(history) for history in histories]
    assert again[2:] == plain[2:], "short ones are not, nor what would hold the loop"
    for packed, whole in zip(again[:2], plain[:2], strict=True):
        assert packed[0] == 0xC0 | frames.TEXT
        assert len(packed) < 200
        body = packed[2 if packed[1] < 126 else 4 :]
        assert zlib.decompressobj(-15).decompress(body + b"\0\0\xff\xff") == whole[4:]
    assert all(codec.frame(history) is packed for history, packed in zip(histories[:2], again[:2], strict=True))


def test_what_compresses_badly_stays_as_it_is() -> None:
    assert frames.deflated(frames.BINARY, os.urandom(300))[0] == 0x80 | frames.BINARY
    packed = frames.deflated(frames.TEXT, b"again and " * 100)
    assert packed[0] == 0xC0 | frames.TEXT
    assert len(packed) < 60
