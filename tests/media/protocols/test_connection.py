from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols import amf
from media.protocols.errors import ProtocolError
from media.protocols.rtmp import chunks
from media.protocols.rtmp.chunks import Message
from media.protocols.rtmp.connection import (
    BURST,
    CHUNK_SIZE,
    Event,
    Goodbye,
    Metadata,
    PublishEnded,
    PublishRequested,
    RtmpConnection,
)
from tests.media.protocols.wire import (
    C0C1,
    C2,
    SERVER_HELLO,
    answers,
    command,
    connect,
    head,
    media,
    message,
    publish,
    said,
    statuses,
)


def feed(connection: RtmpConnection, *pieces: bytes, into: list[Event] | None = None) -> list[Event]:
    """As the owner of a socket does it: every publish is accepted at once."""
    events: list[Event] = [] if into is None else into
    for piece in pieces:
        rest: bytes = piece
        while True:
            new = connection.receive(rest)
            events += new
            if any(isinstance(e, PublishRequested) for e in new):
                connection.accept()
            if not connection.backlog:
                break
            rest = b""
    return events


def opened(connection: RtmpConnection | None = None) -> RtmpConnection:
    connection = connection or RtmpConnection()
    connection.receive(C0C1 + C2)
    assert len(connection.take_output()) == SERVER_HELLO
    return connection


def published(connection: RtmpConnection | None = None, **more: object) -> RtmpConnection:
    connection = opened(connection)
    feed(connection, publish(**more))
    connection.take_output()
    return connection


def test_a_whole_conversation() -> None:
    connection = opened()
    events = feed(connection, publish("KEY"))
    assert events == [PublishRequested("KEY", "live", "FMLE/3.0 test")]
    out = connection.take_output()
    kinds = [m.type for m in answers(out)]
    assert kinds[:3] == [chunks.WINDOW_SIZE, chunks.PEER_BANDWIDTH, chunks.SET_CHUNK_SIZE]
    assert struct.unpack(">I", answers(out)[2].payload) == (CHUNK_SIZE,)
    names = [(v[0], v[1]) for v in said(out)]
    assert ("_result", 1.0) in names
    assert ("_result", 4.0) in names
    assert statuses(out) == [("NetStream.Publish.Start", "Publishing.")]
    body = b"\x27\x01\x00\x00\x00frame"
    assert feed(connection, media(9, body, 40)) == [Message(9, 1, 40, body)]
    assert feed(connection, command("FCUnpublish", 6.0, None, "KEY"), command("deleteStream", 7.0, None, 1.0)) == [
        PublishEnded()
    ]
    assert not connection.publishing
    again = feed(connection, command("createStream", 8.0, None), command("publish", 9.0, None, "TWO", stream=2))
    assert again == [PublishRequested("TWO", "live", "FMLE/3.0 test")]


def test_refused() -> None:
    connection = opened()
    connection.receive(publish())
    connection.refuse("NetStream.Publish.Denied", "Unknown stream key.")
    assert statuses(connection.take_output()) == [("NetStream.Publish.Denied", "Unknown stream key.")]
    assert connection.receive(media(9, b"x")) == []


def test_media_that_does_not_wait_for_the_answer_is_not_lost() -> None:
    events = feed(opened(), publish() + media(9, b"header"))
    assert events[1:] == [Message(9, 1, 0, b"header")]


def test_play_is_declined() -> None:
    connection = opened()
    events = feed(connection, connect(), command("createStream", 2.0, None), command("play", 3.0, None, "x", stream=1))
    assert [type(e) for e in events] == [Goodbye]
    assert statuses(connection.take_output())[0][0] == "NetStream.Play.StreamNotFound"


def test_metadata_in_all_its_envelopes() -> None:
    values = {"framerate": 30.0}
    for type, payload in [
        (chunks.DATA_AMF0, amf.encode("@setDataFrame", "onMetaData", values)),
        (chunks.DATA_AMF0, amf.encode("onMetaData", values)),
        (chunks.DATA_AMF3, b"\x00" + amf.encode("@setDataFrame", "onMetaData", values)),
    ]:
        assert feed(published(), message(type, payload)) == [Metadata(values)]


def test_commands_in_the_amf3_envelope() -> None:
    connection = opened()
    body = b"\x00" + amf.encode("connect", 1.0, {"app": "live", "objectEncoding": 3.0})
    feed(connection, message(chunks.COMMAND_AMF3, body, id=3, stream=0))
    answer = said(connection.take_output())[0]
    assert isinstance(answer[3], dict)
    assert answer[3]["objectEncoding"] == 3.0


@pytest.mark.parametrize("more", [{}, {"fourCcList": ["hvc1"]}, {"videoFourCcInfoMap": {"*": 4.0}}, {"capsEx": 1.0}])
def test_enhanced_rtmp_is_offered_to_those_who_ask(more: dict[str, object]) -> None:
    connection = opened()
    feed(connection, connect(**more))
    info = said(connection.take_output())[0][3]
    assert isinstance(info, dict)
    assert ("videoFourCcInfoMap" in info) is bool(more)
    if more:
        assert info["fourCcList"] == ["avc1", "hvc1", "av01", "vp09", "mp4a", "Opus"]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (command("_checkbw", 9.0, None), ("_result", 9.0)),
        (command("getStreamLength", 9.0, None, "x"), ("_result", 9.0)),
        (command("somethingElse", 9.0, None), ("_error", 9.0)),
        (command("releaseStream", 9.0, None), ("_result", 9.0)),
    ],
)
def test_small_commands(sent: bytes, answered: tuple[str, float]) -> None:
    connection = published()
    feed(connection, sent)
    assert answered in [(v[0], v[1]) for v in said(connection.take_output())]


def test_ping_and_acknowledgement() -> None:
    connection = published()
    feed(connection, message(chunks.USER_CONTROL, b"\x00\x06\x01\x02\x03\x04", id=2))
    assert answers(connection.take_output())[0].payload == b"\x00\x07\x01\x02\x03\x04"
    feed(connection, message(chunks.WINDOW_SIZE, struct.pack(">I", 100_000), id=2))
    feed(connection, *[media(8, bytes(60_000))] * 2)
    acks = [m for m in answers(connection.take_output()) if m.type == chunks.ACKNOWLEDGEMENT]
    assert len(acks) == 1
    assert struct.unpack(">I", acks[0].payload)[0] <= connection.received


def test_aggregate_messages() -> None:
    def tag(type: int, time: int, body: bytes) -> bytes:
        return bytes((type,)) + len(body).to_bytes(3, "big") + time.to_bytes(3, "big") + bytes(4) + body + bytes(4)

    body = tag(9, 500, b"v") + tag(8, 510, b"a")
    assert feed(published(), message(chunks.AGGREGATE, body, time=1000)) == [
        Message(9, 1, 1000, b"v"),
        Message(8, 1, 1010, b"a"),
    ]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (command("publish", 1.0, None, "x"), "before connect"),
        (connect() + connect(), "second connect"),
        (publish() + command("publish", 6.0, None, "other", stream=1), "second publish"),
        (connect() + command("createStream", 2.0, None) * 17, "16 message streams"),
        (command(5.0, 1.0), "without a name"),
        (connect("x" * 2000), "name of 2000"),
        (message(chunks.COMMAND_AMF0, b"\x0a\x00\x00\x00\x01" * 30, id=3), "nested"),
        (publish() + message(chunks.AGGREGATE, b"\x09\x00\x10\x00" + bytes(20)), "middle of a tag"),
    ],
)
def test_what_makes_no_sense_is_an_error(sent: bytes, words: str) -> None:
    connection = opened()
    with pytest.raises(ProtocolError, match=words):
        feed(connection, sent, b"")


def test_the_last_word_fits_where_the_client_stands() -> None:
    early = opened()
    early.farewell("no")
    assert said(early.take_output())[0][0] == "_error"
    late = published()
    late.farewell("no more")
    assert statuses(late.take_output()) == [("NetStream.Publish.Rejected", "no more")]
    silent = RtmpConnection()
    silent.farewell("never spoke RTMP")
    assert silent.take_output() == b""


def run(data: bytes, cuts: list[int]) -> tuple[list[Event], str, bytes]:
    connection = RtmpConnection(max_message=8192, max_buffered=32768)
    events: list[Event] = []
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    error = ""
    try:
        for start, end in itertools.pairwise(edges):
            feed(connection, data[start:end], into=events)
            assert connection.buffered <= 32768
    except ProtocolError as fault:
        error = fault.reason
        assert error
    return events, error, connection.take_output()[SERVER_HELLO:]


PIECES = st.sampled_from(
    [
        publish(),
        media(9, bytes(300), 40),
        media(8, b"\xaf\x01x", 0xFFFFFFF0),
        command("deleteStream", 7.0, None, 1.0),
        message(chunks.SET_CHUNK_SIZE, struct.pack(">I", 200), id=2),
    ]
) | st.binary(max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=8).map(b"".join), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_any_bytes_in_any_fragments(data: bytes, cuts: list[int]) -> None:
    whole = run(C0C1 + C2 + data, [])
    assert run(C0C1 + C2 + data, cuts)[:2] == whole[:2]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_from_the_first_byte(data: bytes) -> None:
    run(data, [len(data) // 2])
    run(C0C1 + C2 + data, [])


class Decodes:
    """Counts what is decoded, in bytes: what an AMF message costs is bounded by that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        decode = amf.decode

        def counted(data: bytes, start: int = 0) -> list[amf.Value]:
            self.bytes += len(data)
            return decode(data, start)

        monkeypatch.setattr(amf, "decode", counted)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    return Decodes(monkeypatch)


NULLS = b"\x05" * 4000


def test_data_of_who_does_not_publish_is_not_looked_at(decodes: Decodes) -> None:
    connection = opened()
    flood = message(chunks.DATA_AMF0, amf.encode("onMetaData") + NULLS)
    assert feed(connection, flood) == []
    assert feed(connection, connect(), flood, message(chunks.DATA_AMF3, b"\x00" + NULLS)) == []
    assert decodes.bytes < 1000


def test_data_that_is_no_metadata_is_not_decoded(decodes: Decodes) -> None:
    connection = published()
    before = decodes.bytes
    assert feed(connection, message(chunks.DATA_AMF0, amf.encode("onX") + NULLS)) == []
    assert decodes.bytes == before


@pytest.mark.parametrize(
    "sent",
    [
        message(chunks.DATA_AMF0, amf.encode("onMetaData") + NULLS),
        command("something", 9.0, None) + command("other", 0.0),
        message(chunks.COMMAND_AMF0, amf.encode("something", 0.0) + NULLS, id=3),
        message(chunks.USER_CONTROL, b"\x00\x06\x01\x02\x03\x04", id=2),
    ],
)
def test_a_flood_of_what_is_not_media_is_an_error(decodes: Decodes, sent: bytes) -> None:
    now = 100.0
    connection = published(RtmpConnection(clock=lambda: now))
    before = decodes.bytes
    with pytest.raises(ProtocolError, match="commands and metadata"):
        feed(connection, *[sent] * 3000)
    assert decodes.bytes - before <= BURST


def test_a_stranger_s_unfinished_messages_are_kept_only_a_little() -> None:
    whole = message(9, bytes(400_000), size=128)
    cut = [
        whole[: 129 * 2000 + 11].replace(head(0, 4), head(0, id), 1).replace(head(3, 4), head(3, id))
        for id in (4, 5, 6, 7, 8)
    ]
    with pytest.raises(ProtocolError, match="unfinished"):
        feed(opened(), connect(), *cut)
    assert feed(published(), *cut) == []


def test_metadata_now_and_then_is_no_flood() -> None:
    now = 100.0
    connection = published(RtmpConnection(clock=lambda: now))
    sent = message(chunks.DATA_AMF0, amf.encode("onMetaData", {"framerate": 30.0, "encoder": "x" * 2000}))
    for _ in range(200):
        now += 1.0
        assert len(feed(connection, sent)) == 1


def test_an_aggregate_of_data_is_charged_like_the_messages_in_it(decodes: Decodes) -> None:
    body = amf.encode("onMetaData") + b"\x05" * 4080
    tag = bytes((18,)) + len(body).to_bytes(3, "big") + bytes(7) + body + bytes(4)
    connection = published(RtmpConnection(clock=lambda: 0.0))
    before = decodes.bytes
    with pytest.raises(ProtocolError, match="commands and metadata"):
        feed(connection, message(chunks.AGGREGATE, tag * 255), b"")
    assert decodes.bytes - before <= BURST
