"""The publisher's side of RTMP against the server's, a byte at a time, and against servers of all manners."""

from __future__ import annotations

import random

import pytest

from media.protocols import amf
from media.protocols.errors import ProtocolError
from media.protocols.rtmp import chunks
from media.protocols.rtmp.chunks import ChunkReader, Message
from media.protocols.rtmp.client import Event, Publishing, RtmpClient, Target, Turned
from media.protocols.rtmp.connection import PublishEnded, PublishRequested, RtmpConnection
from media.samples import Codec, Kind
from tests.media.protocols.wire import C0C1, C2, command, message

TARGET = Target("live", "rtmp://example.org/live", "a-secret")
BASIC = frozenset({Codec.H264, Codec.AAC})
GREETING = C0C1 + C2


def begun() -> RtmpClient:
    """Up to connect's answer being awaited."""
    client = RtmpClient(TARGET)
    client.take_output()
    assert client.receive(GREETING) == []
    client.take_output()
    return client


def let_in(client: RtmpClient, *, stream: float = 1.0, **more: object) -> list[Event]:
    client.receive(command("_result", 1.0, {"fmsVer": "x", **more}, {"code": "NetConnection.Connect.Success"}))
    client.receive(command("_result", 4.0, None, stream))
    return client.receive(
        command("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Publish.Start"}, stream=1)
    )


@pytest.mark.parametrize("step", [1, 7, 65536])
def test_our_own_server_lets_it_publish_and_hears_what_it_sends(step: int) -> None:
    client, server = RtmpClient(TARGET), RtmpConnection()
    seen: list[object] = []
    for _ in range(12):
        out = client.take_output()
        for at in range(0, len(out), step):
            for event in server.receive(out[at : at + step]):
                seen.append(event)
                if isinstance(event, PublishRequested):
                    server.accept()
        back = server.take_output()
        for at in range(0, len(back), step):
            seen += client.receive(back[at : at + step])
    (asked,) = [event for event in seen if isinstance(event, PublishRequested)]
    assert (asked.key, asked.app) == ("a-secret", "live")
    (publishing,) = [event for event in seen if isinstance(event, Publishing)]
    assert publishing.codecs == frozenset(Codec)
    body = bytes(range(256)) * 600  # more than one chunk
    heard = server.receive(client.media(Kind.VIDEO, body, 0x1_0000_0005) + client.media(Kind.AUDIO, b"x", 0xFFFFFFFF))
    assert heard == [Message(chunks.VIDEO, 1, 5, body), Message(chunks.AUDIO, 1, 0xFFFFFFFF, b"x")]
    (metadata,) = server.receive(client.metadata({"width": 320}, 7))
    assert metadata.values == {"width": 320.0}  # type: ignore[union-attr]
    assert any(isinstance(event, PublishEnded) for event in server.receive(client.farewell()))
    assert client.farewell() == b""


def test_the_greeting_is_answered_with_what_came() -> None:
    client = RtmpClient(TARGET, random=b"r" * 1528)
    assert client.take_output() == b"\x03" + bytes(8) + b"r" * 1528
    s1 = random.Random(1).randbytes(1536)
    client.receive(b"\x03" + s1)
    assert client.take_output() == s1
    assert client.receive(bytes(1536)) == []
    reader = ChunkReader()
    first, connect = reader.receive(client.take_output())
    assert first.type == chunks.SET_CHUNK_SIZE
    name, transaction, values = amf.decode(connect.payload)
    assert (name, transaction) == ("connect", 1.0)
    assert isinstance(values, dict)
    assert values["tcUrl"] == "rtmp://example.org/live"
    assert values["fourCcList"] == ["avc1", "hvc1", "av01", "vp09", "mp4a", "Opus"]
    assert "a-secret" not in repr(values)
    assert "a-secret" not in f"{TARGET} {TARGET!r}"


@pytest.mark.parametrize(
    ("said", "codecs"),
    [
        ({}, BASIC),
        ({"fourCcList": ["hvc1", "nope", 7.0]}, BASIC | {Codec.HEVC}),
        ({"fourCcList": {"0": "av01"}}, BASIC | {Codec.AV1}),
        ({"fourCcList": ["*"]}, frozenset(Codec)),
        ({"videoFourCcInfoMap": {"hvc1": 0.0, "vp09": 1.0}}, BASIC | {Codec.VP9}),
        ({"videoFourCcInfoMap": {"*": 4.0}}, BASIC | {Codec.HEVC, Codec.AV1, Codec.VP9}),
        ({"audioFourCcInfoMap": {"Opus": 4.0, "hvc1": 4.0}}, BASIC | {Codec.OPUS}),
        ({"fourCcList": "hvc1", "videoFourCcInfoMap": 3.0}, BASIC),
    ],
)
def test_only_what_the_server_says_it_takes_is_sent_to_it(said: dict[str, object], codecs: frozenset[Codec]) -> None:
    assert let_in(begun(), **said) == [Publishing(codecs)]


@pytest.mark.parametrize(
    ("code", "description", "for_good", "reason"),
    [
        ("NetStream.Publish.BadName", "Unknown key a-secret", True, "the target refused: Unknown key …"),
        ("NetStream.Publish.BadName", "Stream already publishing", False, "already publishing"),
        ("NetStream.Publish.Denied", "Try again in a few seconds.", False, "Try again"),
        ("NetStream.Publish.Denied", "No\n\x00entry", True, "the target refused: No entry"),
        ("NetStream.Publish.Rejected", "", True, "NetStream.Publish.Rejected"),
        ("NetStream.Failed", "", False, "NetStream.Failed"),
        ("NetStream.Publish.Denied", "x" * 9000, True, "x" * 200),
    ],
)
def test_a_no_is_told_in_words(code: str, description: str, for_good: bool, reason: str) -> None:
    client = begun()
    client.receive(command("_result", 1.0, {}, {}) + command("_result", 4.0, None, 1.0))
    info = {"level": "error", "code": code, "description": description}
    (turned,) = client.receive(command("onStatus", 0.0, None, info, stream=1))
    assert isinstance(turned, Turned)
    assert turned.for_good is for_good
    assert turned.reason.isprintable()
    assert len(turned.reason) < 250
    assert reason in turned.reason
    assert client.receive(command("onStatus", 0.0, None, info, stream=1)) == []  # told once


def test_a_no_to_connect() -> None:
    words = {"level": "error", "code": "NetConnection.Connect.Rejected", "description": "no such app"}
    assert begun().receive(command("_error", 1.0, None, words)) == [Turned("the target refused: no such app", True)]
    asks = {**words, "description": "[ AccessManager.Reject ] : [ authmod=adobe ] : "}
    (turned,) = begun().receive(command("_error", 1.0, None, asks))
    assert isinstance(turned, Turned)
    assert "user name" in turned.reason
    assert turned.for_good


def test_servers_that_know_less_are_published_to_all_the_same() -> None:
    client = begun()
    client.receive(command("onBWDone", 0.0, None) + command("_error", 2.0, None, {"code": "NetConnection.Call.Failed"}))
    assert let_in(client) == [Publishing(BASIC)]
    assert client.receive(command("onFCPublish", 0.0, None, {"code": "NetStream.Publish.Start"})) == []
    ended = {"level": "status", "code": "NetStream.Unpublish.Success"}
    assert client.receive(command("onStatus", 0.0, None, ended)) == [Turned("the target ended the stream", False)]


def test_pings_and_windows_are_answered() -> None:
    client = begun()
    let_in(client)
    client.take_output()
    client.receive(message(chunks.USER_CONTROL, b"\x00\x06\x00\x00\x00\x09", id=2, stream=0))
    client.receive(message(chunks.PEER_BANDWIDTH, b"\x00\x26\x25\xa0\x02", id=2, stream=0))
    client.receive(message(chunks.WINDOW_SIZE, b"\x00\x00\x00\x01", id=2, stream=0))  # it is taken for 4096
    assert client.received < 4096
    client.receive(command("onBWDone", 0.0, "x" * 1000))
    reader = ChunkReader()
    sent = {m.type: m.payload for m in reader.receive(client.take_output())}
    assert sent == {
        chunks.USER_CONTROL: b"\x00\x07\x00\x00\x00\x09", chunks.WINDOW_SIZE: b"\x00\x26\x25\xa0",
        chunks.ACKNOWLEDGEMENT: client.received.to_bytes(4, "big"),
    }  # fmt: skip


@pytest.mark.parametrize("stream", [0.0, -1.0, 1e300, float("nan"), "one"])
def test_a_stream_that_is_none(stream: object) -> None:
    client = begun()
    client.receive(command("_result", 1.0, {}, {}))
    with pytest.raises(ProtocolError):
        client.receive(command("_result", 4.0, None, stream))


def test_any_bytes_are_events_or_a_protocol_error() -> None:
    chance = random.Random(11)
    for _ in range(300):
        client = begun()
        if chance.random() < 0.5:
            let_in(client)
        data = bytearray(command("_result", 1.0, {"a": [1, 2]}, {"code": "x"}) + message(6, b"12345", id=2, stream=0))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            for at in range(0, len(data), 9):
                client.receive(bytes(data[at : at + 9]))
                while client.backlog:
                    client.receive(b"")
        except ProtocolError:
            pass
        assert len(client.take_output()) < 1 << 16
