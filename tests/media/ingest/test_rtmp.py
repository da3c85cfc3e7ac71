"""The listener over real sockets: limits, refusals, hostile clients, TLS, stopping."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from media.ingest.gate import Refused
from media.ingest.rtmp import RtmpOptions, RtmpServer, tls_context
from media.protocols.rtmp import chunks
from tests.media.ingest.conftest import OpenGate, until
from tests.media.protocols.wire import C0C1, C2, SERVER_HELLO, chunk, command, head, media, message, publish, statuses

ASC = b"\xaf\x00\x11\x90"
Serve = Callable[..., Any]


class Client:
    """A scripted encoder on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.got = b""

    @classmethod
    async def to(cls, port: int, **more: Any) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port, **more))

    async def send(self, *pieces: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()

    async def read_to_end(self) -> bytes:
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    self.got += piece
        self.close()
        return self.got

    async def read_until(self, words: bytes) -> None:
        async with asyncio.timeout(30):
            while words not in self.got:
                piece = await self.reader.read(65536)
                assert piece, "the server hung up"
                self.got += piece

    async def publish(self, key: str = "KEY") -> None:
        await self.send(C0C1 + C2 + publish(key))
        await self.read_until(b"NetStream.Publish.Start")

    def close(self) -> None:
        self.writer.close()


async def test_a_publisher_comes_and_goes(server: RtmpServer, gate: OpenGate) -> None:
    client = await Client.to(server.port)
    await client.publish()
    publisher = gate.publishers[0]
    await client.send(media(8, ASC), media(8, b"\xaf\x01xx"), media(8, b"\xaf\x01yy", 21))
    await until(lambda: len(publisher.of(2)) == 2)
    assert publisher.request is not None
    assert publisher.request.link.last_received > 0
    assert server.describe()["publishers"] == 1
    client.close()
    await until(lambda: publisher.closed)
    assert publisher.closed == ("the encoder closed the connection", False)
    assert server.describe()["connections"] == 0


async def test_media_sent_before_the_answer_arrives(server: RtmpServer, gate: OpenGate) -> None:
    gate.hold = asyncio.Event()
    client = await Client.to(server.port)
    await client.send(C0C1 + C2 + publish() + media(8, ASC) + media(8, b"\xaf\x01xx"))
    gate.hold.set()
    await until(lambda: gate.publishers and gate.publishers[0].of(2))
    client.close()


async def test_an_encoder_that_leaves_while_the_gate_decides(server: RtmpServer, gate: OpenGate) -> None:
    gate.hold = asyncio.Event()
    client = await Client.to(server.port)
    await client.send(C0C1 + C2 + publish())
    await client.read_until(b"fmsVer")
    client.close()
    gate.hold.set()
    await until(lambda: gate.publishers and gate.publishers[0].closed)
    assert server.describe()["connections"] == 0


@pytest.mark.parametrize(
    ("code", "status"), [("unknown_key", "NetStream.Publish.Denied"), ("in_use", "NetStream.Publish.BadName")]
)
async def test_a_refusal_is_said_before_hanging_up(server: RtmpServer, gate: OpenGate, code: str, status: str) -> None:
    gate.refuse = Refused(code, "Not today.")
    client = await Client.to(server.port)
    await client.send(C0C1 + C2 + publish())
    assert statuses((await client.read_to_end())[SERVER_HELLO:]) == [(status, "Not today.")]


async def test_no_key(server: RtmpServer, gate: OpenGate) -> None:
    client = await Client.to(server.port)
    await client.send(C0C1 + C2 + publish(""))
    assert "No stream key" in statuses((await client.read_to_end())[SERVER_HELLO:])[0][1]


async def test_closed_by_its_broadcast(server: RtmpServer, gate: OpenGate) -> None:
    client = await Client.to(server.port)
    await client.publish()
    request = gate.publishers[0].request
    assert request is not None
    request.link.close("another encoder took over")
    assert statuses((await client.read_to_end())[SERVER_HELLO:])[-1][1] == "another encoder took over"


async def test_a_second_publishing_on_one_connection(server: RtmpServer, gate: OpenGate) -> None:
    client = await Client.to(server.port)
    await client.publish("ONE")
    again = command("createStream", 7.0, None) + command("publish", 8.0, None, "TWO", stream=2)
    await client.send(command("deleteStream", 6.0, None, 1.0), again)
    await until(lambda: len(gate.publishers) == 2)
    assert gate.publishers[0].closed == ("the encoder ended the stream", True)
    client.close()


HOSTILE = {
    "garbage": (b"\xde\xad\xbe\xef" * 100, "not RTMP"),
    "http": (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
    "tls on the plain port": (b"\x16\x03\x01\x02\x00", "TLS"),
    "garbage after the handshake": (C0C1 + C2 + b"\xff" * 4000, "never sent"),
    "huge message": (C0C1 + C2 + chunk(0, 4, length=0xFFFFFF), "at most"),
    "huge command": (C0C1 + C2 + chunk(0, 3, length=0x100000, type=20), "at most"),
    "many chunk streams": (
        C0C1 + C2 + b"".join(chunk(0, id, length=1000) + bytes(128) for id in range(3, 400)),
        "chunk streams",
    ),
    "amf recursion": (C0C1 + C2 + message(20, b"\x0a\x00\x00\x00\x01" * 5000, id=3), "nested"),
    "amf of many values": (C0C1 + C2 + message(20, b"\x05" * 60_000, id=3), "4096 values"),
    "command of a wrong kind": (C0C1 + C2 + command({"a": 1.0}), "without a name"),
    "chunk size 0": (C0C1 + C2 + message(chunks.SET_CHUNK_SIZE, bytes(4), id=2), "chunk size"),
    "publish before connect": (C0C1 + C2 + command("publish", 1.0, None, "x"), "before connect"),
    "media of unknown codec": (C0C1 + C2 + publish() + media(9, b"\x12\x00xx"), "Sorenson"),
    "damaged header": (C0C1 + C2 + publish() + media(9, b"\x17\x00\x00\x00\x00\x01\x02"), "sequence header"),
    "frames without a header": (C0C1 + C2 + publish() + media(9, b"\x17\x01\x00\x00\x00data") * 400, "in a row"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_clients_cost_a_closed_connection(server: RtmpServer, gate: OpenGate, name: str) -> None:
    data, words = HOSTILE[name]
    other = await Client.to(server.port)
    await other.publish("OTHER")
    client = await Client.to(server.port)
    await client.send(data)
    await client.read_to_end()
    client.close()
    await until(lambda: gate.turned)
    assert words in gate.turned[0][1]
    await other.send(media(8, ASC), media(8, b"\xaf\x01xx"))
    await until(lambda: gate.publishers[0].of(2))
    other.close()


async def test_unfinished_messages_are_bounded(serve: Serve, gate: OpenGate) -> None:
    server = await serve(rtmp_max_message=100_000, rtmp_max_buffered=400_000)
    client = await Client.to(server.port)
    big = message(chunks.SET_CHUNK_SIZE, struct.pack(">I", 90_000), id=2)
    pieces = [chunk(0, id, length=100_000) + bytes(90_000) for id in range(3, 30)]
    await client.send(C0C1 + C2 + big, *pieces)
    await client.read_to_end()
    assert "unfinished" in gate.turned[0][1]


async def test_a_storm_of_tiny_chunks_does_not_hold_the_loop(server: RtmpServer, gate: OpenGate) -> None:
    client = await Client.to(server.port)
    tiny = message(chunks.SET_CHUNK_SIZE, struct.pack(">I", 1), id=2)
    storm = chunk(0, 4, length=0, type=8) + head(3, 4) * 300_000
    sending = asyncio.create_task(client.send(C0C1 + C2 + publish(), tiny, storm))
    other = await Client.to(server.port)
    await other.publish("OTHER")
    await sending
    client.close()
    other.close()


async def test_slow_handshakes_and_idle_publishers_are_closed(serve: Serve, gate: OpenGate) -> None:
    server = await serve(rtmp_handshake_timeout=0.3, rtmp_idle_timeout=0.3)
    silent = await Client.to(server.port)
    slow = await Client.to(server.port)
    await slow.send(C0C1[:700])
    idle = await Client.to(server.port)
    await idle.publish("IDLE")
    for client in (silent, slow, idle):
        await client.read_to_end()
        client.close()
    reasons = sorted(gate.turned)
    assert [key for key, _ in reasons] == ["", "", "IDLE"]
    assert "published within 0.3 s" in reasons[0][1]
    assert "nothing for 0.3 s" in reasons[2][1]
    assert gate.publishers[0].closed is not None


async def test_connections_are_counted(serve: Serve, gate: OpenGate) -> None:
    server = await serve(rtmp_connections_per_address=2, rtmp_max_connections=50)
    first, second = await Client.to(server.port), await Client.to(server.port)
    third = await Client.to(server.port)
    await third.read_to_end()
    assert "more than 2 RTMP connections from one address" in gate.turned[0][1]
    first.close()
    await until(lambda: server.describe()["connections"] == 1)
    fourth = await Client.to(server.port)
    await fourth.publish()
    for client in (second, third, fourth):
        client.close()


async def test_stopping_keeps_publishers_until_the_end(server: RtmpServer, gate: OpenGate) -> None:
    publisher, waiting = await Client.to(server.port), await Client.to(server.port)
    await publisher.publish()
    await until(lambda: server.describe()["connections"] == 2)
    server.stop_accepting()
    await waiting.read_to_end()
    with pytest.raises(ConnectionError):
        await Client.to(server.port)
    await publisher.send(media(8, ASC), media(8, b"\xaf\x01xx"))
    await until(lambda: gate.publishers[0].of(2))
    await server.close()
    assert b"NetStream.Publish.Rejected" not in await publisher.read_to_end()
    assert gate.publishers[0].closed == ("the server is stopping", False)
    for client in (publisher, waiting):
        client.close()


async def test_more_than_the_bit_rate_that_is_taken(serve: Serve, gate: OpenGate) -> None:
    server = await serve(ingest_max_bitrate=1.0)
    client = await Client.to(server.port)
    await client.publish()
    await client.send(media(8, ASC), *[media(8, b"\xaf\x01" + bytes(100_000), i) for i in range(40)])
    said = statuses((await client.read_to_end())[SERVER_HELLO:])
    (key, reason), *more = gate.turned
    assert (key, more) == ("KEY", [])
    assert "Mbit/s, at most 1 Mbit/s" in reason
    assert said[-1][1] == reason
    assert sum(len(s.data) for s in gate.publishers[0].of(2)) < 2_000_000
    client.close()


async def test_frames_that_are_tiny_and_too_many(
    server: RtmpServer, gate: OpenGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.ingest.pace.MAX_FRAMES", 50)
    client = await Client.to(server.port)
    await client.publish()
    await client.send(media(8, ASC), *[media(8, b"\xaf\x01x", i) for i in range(100)])
    await client.read_to_end()
    assert "frames within 10 s; at most 50" in gate.turned[0][1]
    client.close()


async def test_media_far_ahead_of_time(serve: Serve, gate: OpenGate) -> None:
    server = await serve(ingest_max_ahead=60.0)
    client = await Client.to(server.port)
    await client.publish()
    await client.send(media(8, ASC), *[media(8, b"\xaf\x01xx", 9_000 * i) for i in range(20)])
    await client.read_to_end()
    assert "at most 60 s" in gate.turned[0][1]
    assert 6 <= len(gate.publishers[0].of(2)) <= 8
    client.close()


async def test_who_does_not_read_is_closed_and_that_is_told(
    server: RtmpServer, gate: OpenGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.ingest.rtmp_link.MAX_UNSENT", -1)
    client = await Client.to(server.port)
    await client.send(C0C1)
    await client.read_to_end()
    await until(lambda: gate.turned)
    assert gate.turned == [("", "the encoder does not read what it is told")]
    client.close()


@pytest.mark.parametrize(("code", "told"), [("restarting", True), ("elsewhere", False), ("in_use", False)])
async def test_refusals_that_nobody_has_written_down_are_told(
    server: RtmpServer, gate: OpenGate, code: str, told: bool
) -> None:
    gate.refuse = Refused(code, "Not today.")
    client = await Client.to(server.port)
    await client.send(C0C1 + C2 + publish())
    await client.read_to_end()
    assert gate.turned == ([("secret", "Not today.")] if told else [])
    client.close()


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("coalesce", [0, 5])
async def test_many_publishers_with_and_without_a_beat(serve: Serve, gate: OpenGate, coalesce: int, count: int) -> None:
    server = await serve(rtmp_read_coalesce_ms=coalesce)
    clients = [await Client.to(server.port) for _ in range(count)]
    for i, client in enumerate(clients):
        await client.publish(f"K{i}")
        await client.send(media(8, ASC))
    for i in range(20):
        for client in clients:
            await client.send(media(8, b"\xaf\x01" + bytes((i,)) * 300, 21 * i))
    await until(lambda: all(len(p.of(2)) == 20 for p in gate.publishers))
    for client in clients[1:]:
        client.close()
    await until(lambda: sum(p.closed is None for p in gate.publishers) == 1)
    await clients[0].send(media(8, b"\xaf\x01last", 500))
    await until(lambda: len(gate.publishers[0].of(2)) == 21)
    clients[0].close()


@pytest.fixture(scope="session")
def certificate(media_folder: Path) -> tuple[str, str]:

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert, secret = media_folder / "cert.pem", media_folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert), str(secret)


async def test_rtmps(serve: Serve, gate: OpenGate, certificate: tuple[str, str]) -> None:
    # Files are read beside the loop, as it is with the server.
    server = await serve(tls=await asyncio.to_thread(tls_context, *certificate), rtmp_handshake_timeout=2.0)
    trust = await asyncio.to_thread(ssl.create_default_context, cafile=certificate[0])
    trust.check_hostname = False
    client = await Client.to(server.tls_port, ssl=trust)
    await client.publish("SECURE")
    await client.send(media(8, ASC))
    for i in range(40):
        await client.send(media(8, b"\xaf\x01" + bytes(40_000), 21 * i))
        await asyncio.sleep(0)
    await until(lambda: len(gate.publishers[0].of(2)) == 40)
    request = gate.publishers[0].request
    assert request is not None
    assert request.protocol == "rtmps"
    request.link.close("over")
    assert statuses((await client.read_to_end())[SERVER_HELLO:])[-1][1] == "over"
    plain = await Client.to(server.tls_port)
    await plain.send(C0C1)
    silent = await Client.to(server.tls_port)
    for other in (plain, silent):
        await other.read_to_end()
        other.close()
    assert [("TLS handshake failed" in reason) for _, reason in gate.turned] == [True, True]
    client.close()


async def test_a_port_in_use_is_an_error(serve: Serve, server: RtmpServer, gate: OpenGate) -> None:
    with pytest.raises(OSError, match="in use"):
        await RtmpServer(gate, RtmpOptions(rtmp_host="127.0.0.1", rtmp_port=server.port)).start()
