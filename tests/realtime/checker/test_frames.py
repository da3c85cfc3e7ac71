"""The cases of the Autobahn suite that aiohttp's server leaves to the application, or that an application can undo."""

from __future__ import annotations

import asyncio
import logging
import struct
import zlib
from collections.abc import AsyncIterator

import pytest

from realtime.protocol.codes import CloseCode
from realtime.roster import SocketOptions
from tests.realtime.stage import Feature, Node, Tokens, running
from tests.realtime.test_socket import raw_connection, until_cut_off
from tests.support import eventually

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40
CHANNEL = "live:room"
SUBSCRIBE = b'{"type":"subscribe","id":1,"channel":"live:room"}'
ASK = b'{"type":"ping","id":7}'


@pytest.fixture
async def strict(feature: Feature, tokens: Tokens) -> AsyncIterator[Node]:
    """Nobody is closed for silence, or for being fast, before the test is over."""
    options = SocketOptions(max_message=1024, burst=10_000, ping_seconds=600, dead_seconds=600, close_seconds=0.5)
    node = Node(feature, tokens, socket_options=options)
    feature.hub = node.hub
    async with running(node):
        yield node


def frame(first: int, payload: bytes = b"", form: int = 0) -> bytes:
    """Masked with nothing. `form`: 126 or 127 for a length that is longer than it need be."""
    size = len(payload)
    if form == 127 or size > 0xFFFF:
        return struct.pack("!BBQ4x", first, 0xFF, size) + payload
    if form == 126 or size > 125:
        return struct.pack("!BBH4x", first, 0xFE, size) + payload
    return struct.pack("!BB4x", first, 0x80 | size) + payload


def frames_of(received: bytes) -> list[tuple[int, bytes]]:
    """The server's frames, all of them whole: opcode and payload."""
    found = []
    while received:
        opcode, size, head = received[0] & 15, received[1], 2
        assert received[0] & 0x70 == 0
        assert size < 128, "a server does not mask"
        if size == 126:
            size, head = int.from_bytes(received[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(received[2:10], "big"), 10
        assert len(received) >= head + size
        found.append((opcode, received[head : head + size]))
        received = received[head + size :]
    return found


async def end_of(node: Node, sent: bytes) -> tuple[int | None, list[tuple[int, bytes]]]:
    """The code that a connection ended with after this was sent (None: without a close frame), and what came before."""
    reader, writer = await raw_connection(node)
    writer.write(sent)
    received = frames_of(await until_cut_off(reader))
    writer.close()
    closes = [at for at, (opcode, _) in enumerate(received) if opcode == CLOSE]
    assert closes in ([], [len(received) - 1]), "nothing comes after a close frame"
    if not closes:
        return None, received
    payload = received.pop()[1]
    payload[2:].decode()
    return int.from_bytes(payload[:2], "big") if payload else 1005, received


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"", 1000),
        (struct.pack("!H", 1000), 1000),
        (struct.pack("!H", 1000) + "schön".encode(), 1000),
        (struct.pack("!H", 1001) + b"x" * 123, 1001),
        *(
            (struct.pack("!H", code), code)
            for code in (1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
        ),
        *((struct.pack("!H", code), 1002) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)),
        *((struct.pack("!H", code), 1002) for code in (5000, 65535)),
        (b"\x03", 1002),
        (struct.pack("!H", 1000) + b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", 1007),
        (struct.pack("!H", 1000) + b"\xff", 1007),
    ],
    ids=repr,
)
async def test_closes_of_the_peer(strict: Node, payload: bytes, answer: int) -> None:
    code, before = await end_of(strict, frame(FIN | CLOSE, payload))
    assert code == answer
    assert [opcode for opcode, _ in before] == [TEXT]  # the welcome
    await eventually(lambda: strict.sockets.describe()["open"] == 0)


FAULTS = {
    "a ping of 126 bytes": (frame(FIN | PING, b"x" * 126), 1002),
    "a pong of 126 bytes": (frame(FIN | PONG, b"x" * 126), 1002),
    "a close of 126 bytes": (frame(FIN | CLOSE, struct.pack("!H", 1000) + b"x" * 124), 1002),
    "a ping in pieces": (frame(PING, b"x") + frame(FIN | CONTINUATION, b"y"), 1002),
    "a close in pieces": (frame(CLOSE, struct.pack("!H", 1000)) + frame(FIN | CONTINUATION), 1002),
    "a continuation of nothing": (frame(FIN | CONTINUATION, b"x"), 1002),
    "an endless continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a text within a text": (frame(TEXT, ASK[:5]) + frame(FIN | TEXT, ASK), 1002),
    "a binary that begins within a text": (frame(TEXT, ASK[:5]) + frame(BINARY, ASK), 1002),
    "compressed, which was not agreed on": (frame(FIN | RSV1 | TEXT, ASK), 1002),
    **{f"reserved bit {bit:#x}": (frame(FIN | bit | TEXT, ASK), 1002) for bit in (0x20, 0x10, 0x70)},
    **{f"reserved opcode {op:#x}": (frame(FIN | op, b""), 1002) for op in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)},
    "one byte too many": (frame(FIN | TEXT, b" " * 1025), 1009),
    "too large in pieces": (frame(TEXT, b" " * 1000) + frame(FIN | CONTINUATION, b" " * 25), 1009),
    "too large in a thousand pieces": (frame(TEXT, b" ") + frame(CONTINUATION, b" ") * 1024, 1009),
    "a length of a terabyte": (struct.pack("!BBQ4x", FIN | TEXT, 0xFF, 1 << 40), 1009),
    "a length of 63 bits": (struct.pack("!BBQ4x", FIN | TEXT, 0xFF, (1 << 63) - 1), 1009),
    "a length with its first bit": (struct.pack("!BBQ4x", FIN | TEXT, 0xFF, (1 << 64) - 1), 1009),
    "text that is not UTF-8": (frame(FIN | TEXT, b"\xed\xa0\x80"), 1007),
    "text that is not UTF-8 across pieces": (frame(TEXT, b"\xce") + frame(FIN | CONTINUATION, b"\xce"), 1007),
    "text that ends within a character": (frame(FIN | TEXT, b"\xf0\x9f\x99"), 1007),
    "text that ends within a character, in an empty piece": (frame(TEXT, b"\xce") + frame(FIN | CONTINUATION), 1007),
    "text that is not UTF-8 around a control frame": (
        frame(TEXT, b"\xce") + frame(FIN | PONG, b"\xce") + frame(FIN | CONTINUATION, b"\xce"),
        1007,
    ),
    "too large around control frames": (
        frame(TEXT, b" " * 1000) + frame(FIN | PONG, b"x" * 125) + frame(FIN | CONTINUATION, b" " * 25),
        1009,
    ),
    "the other format": (frame(FIN | BINARY, ASK), CloseCode.UNSUPPORTED),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_end_with_their_code(strict: Node, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """And what follows the fault in the same piece is not dealt with."""
    sent, expected = FAULTS[name]
    code, before = await end_of(strict, sent + frame(FIN | TEXT, ASK))
    assert code == expected
    assert [opcode for opcode, _ in before] == [TEXT]
    await eventually(lambda: strict.sockets.describe()["open"] == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "name", ["reserved opcode 0x3", "one byte too many", "text that is not UTF-8", "the other format"]
)
async def test_nothing_follows_the_close_frame_of_a_fault(strict: Node, name: str) -> None:
    """Not even what is said in a channel that the connection holds, while its peer does not answer the close."""
    reader, writer = await raw_connection(strict)
    writer.write(frame(FIN | TEXT, SUBSCRIBE))
    received = await reader.readuntil(b'"ack"')
    writer.write(FAULTS[name][0])
    received += await reader.readuntil(bytes((FIN | CLOSE,)))
    for number in range(20):
        strict.say(CHANNEL, number)
        await asyncio.sleep(0.005)
    received += await until_cut_off(reader)
    writer.close()
    assert [opcode for opcode, _ in frames_of(received)][-1] == CLOSE
    await eventually(lambda: strict.hub.holders(CHANNEL) == 0)


WHOLE = {
    "in one piece": frame(FIN | TEXT, ASK),
    "with a longer form of its length": frame(FIN | TEXT, ASK, 126),
    "with the longest form": frame(FIN | TEXT, ASK, 127),
    "in two pieces": frame(TEXT, ASK[:3]) + frame(FIN | CONTINUATION, ASK[3:]),
    "in empty pieces, too": frame(TEXT) + frame(CONTINUATION, ASK) + frame(CONTINUATION) + frame(FIN | CONTINUATION),
    "byte for byte": frame(TEXT, ASK[:1])
    + b"".join(frame(CONTINUATION, ASK[at : at + 1]) for at in range(1, len(ASK)))
    + frame(FIN | CONTINUATION),
    "with control frames between": frame(TEXT, ASK[:3])
    + frame(FIN | PING, b"between")
    + frame(FIN | PONG)
    + frame(FIN | CONTINUATION, ASK[3:]),
    "as large as may be": frame(FIN | TEXT, ASK + b" " * (1024 - len(ASK))),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_messages_in_every_shape(strict: Node, name: str, bytewise: bool) -> None:
    reader, writer = await raw_connection(strict)
    if bytewise:
        for at in range(len(WHOLE[name])):
            writer.write(WHOLE[name][at : at + 1])
            if at % 16 == 0:
                await asyncio.sleep(0)
    else:
        writer.write(WHOLE[name])
    received = await reader.readuntil(b'{"type":"ack","id":7}')
    pongs = [payload for opcode, payload in frames_of(received) if opcode == PONG]
    assert pongs == ([b"between"] if "between" in name else [])
    writer.close()


async def test_pings_are_answered_in_their_order_with_what_they_carry(strict: Node) -> None:
    reader, writer = await raw_connection(strict)
    sent = [bytes((number,)) * number for number in range(126)]
    writer.write(b"".join(frame(FIN | PING, payload) for payload in sent) + frame(FIN | PONG, b"unasked"))
    writer.write(frame(FIN | CLOSE))
    received = frames_of(await until_cut_off(reader))
    assert [payload for opcode, payload in received if opcode == PONG] == sent
    assert received[-1] == (CLOSE, struct.pack("!H", 1000))
    writer.close()


async def test_nothing_that_follows_a_close_is_done(strict: Node) -> None:
    code, before = await end_of(strict, frame(FIN | CLOSE) + frame(FIN | TEXT, ASK) + frame(FIN | PING, b"x"))
    assert (code, [opcode for opcode, _ in before]) == (1000, [TEXT])


async def test_a_bomb_of_zeros_is_a_message_that_is_too_large(feature: Feature, tokens: Tokens) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(8 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    node = Node(feature, tokens, socket_options=SocketOptions(compress_above=512))
    async with running(node):
        client = await node.connect(compress=15)
        assert client.socket.compress
        small = zlib.compressobj(9, zlib.DEFLATED, -15)
        ask = small.compress(ASK) + small.flush(zlib.Z_SYNC_FLUSH)
        connection = client.socket._response.connection
        assert connection is not None
        transport = connection.transport
        assert transport is not None
        transport.write(frame(FIN | RSV1 | TEXT, ask[:-4]))
        assert (await client.hear("ack"))["id"] == 7
        assert len(bomb) < node.sockets.roster.options.max_message
        transport.write(frame(FIN | RSV1 | TEXT, bomb[:-4]))
        assert await client.closed() == 1009


async def half_a_frame(writer: asyncio.StreamWriter) -> None:
    writer.write(frame(FIN | TEXT, b"x" * 100)[:40])


async def endless_pieces(writer: asyncio.StreamWriter) -> None:
    """Of a message that never ends: not one message, so nothing is ever heard."""
    writer.write(frame(TEXT))
    while not writer.transport.is_closing():
        writer.write(frame(CONTINUATION) * 20)
        await asyncio.sleep(0.01)


async def half_closed(writer: asyncio.StreamWriter) -> None:
    """It says nothing more, and would read for ever."""
    writer.write_eof()


@pytest.mark.parametrize("peer", [half_a_frame, endless_pieces, half_closed], ids=lambda peer: peer.__name__)
async def test_half_a_peer_is_not_kept(feature: Feature, tokens: Tokens, peer) -> None:  # type: ignore[no-untyped-def]
    options = SocketOptions(ping_seconds=0.1, dead_seconds=0.4, sweep_seconds=0.05, close_seconds=0.3)
    node = Node(feature, tokens, socket_options=options)
    feature.hub = node.hub
    async with running(node):
        witness = await node.connect()
        await witness.ask("subscribe", channel=CHANNEL)
        reader, writer = await raw_connection(node)
        writer.write(frame(FIN | TEXT, SUBSCRIBE))
        await reader.readuntil(b'"ack"')
        acting = asyncio.create_task(peer(writer))
        await eventually(lambda: node.hub.holders(CHANNEL) == 1)
        await eventually(lambda: node.sockets.describe()["open"] == 1)
        node.say(CHANNEL, "still here")
        await witness.hear("message")
        writer.transport.abort()
        await asyncio.gather(acting, return_exceptions=True)
