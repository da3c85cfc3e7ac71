from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols.errors import ChunkError, ProtocolError
from media.protocols.rtmp import chunks
from media.protocols.rtmp.chunks import STEPS, ChunkReader, ChunkWriter, Message
from tests.media.protocols.wire import chunk, head, message


def read(*pieces: bytes, reader: ChunkReader | None = None) -> list[Message]:
    reader = reader or ChunkReader()
    out = []
    for piece in pieces:
        out += reader.receive(piece)
        while reader.backlog:
            out += reader.receive(b"")
    return out


def times(*pieces: bytes) -> list[int]:
    return [m.timestamp for m in read(*pieces)]


@pytest.mark.parametrize("id", [2, 63, 64, 319, 320, 65599])
def test_every_size_of_chunk_stream_id(id: int) -> None:
    assert read(message(9, b"abc", id=id, time=7, stream=3)) == [Message(9, 3, 7, b"abc")]


def test_formats_take_over_what_they_leave_out() -> None:
    data = (
        chunk(0, 4, time=1000, length=2, type=9, stream=5)
        + b"aa"
        + chunk(1, 4, time=20, length=3, type=8)
        + b"bbb"
        + chunk(2, 4, time=30)
        + b"ccc"
        + chunk(3, 4)
        + b"ddd"
    )
    assert read(data) == [
        Message(9, 5, 1000, b"aa"),
        Message(8, 5, 1020, b"bbb"),
        Message(8, 5, 1050, b"ccc"),
        Message(8, 5, 1080, b"ddd"),  # format 3 repeats the delta
    ]


def test_format_3_after_format_0_adds_its_timestamp() -> None:
    # "If a Type 3 chunk follows a Type 0 chunk, then the timestamp delta for this Type 3 chunk is the same as the
    # timestamp of the Type 0 chunk." (5.3.1.2.4)
    assert times(chunk(0, 4, time=23, length=1) + b"a" + chunk(3, 4) + b"b") == [23, 46]


@pytest.mark.parametrize("time", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
@pytest.mark.parametrize("repeated", [True, False])
def test_extended_timestamps_on_format_3_or_left_out(time: int, repeated: bool) -> None:
    body = bytes(range(256)) + b"tail"
    extended = struct.pack(">I", time) if time >= 0xFFFFFF and repeated else b""
    data = chunk(0, 6, time=time, length=260)
    data += body[:128] + head(3, 6) + extended + body[128:256] + head(3, 6) + extended + body[256:]
    assert read(data + message(8, b"next", time=1))[0] == Message(9, 1, time, body)


def test_extended_delta() -> None:
    data = chunk(0, 4, time=5, length=1) + b"a" + chunk(2, 4, time=0x1000000) + b"b"
    data += chunk(3, 4) + struct.pack(">I", 0x1000000) + b"c"
    assert times(data) == [5, 0x1000005, 0x2000005]


def test_times_wrap_at_32_bits() -> None:
    assert times(chunk(0, 4, time=0xFFFFFFF0, length=1) + b"a" + chunk(2, 4, time=0x20) + b"b") == [0xFFFFFFF0, 0x10]


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 4096, 65536, 0x7FFFFFFF])
def test_any_chunk_size(size: int) -> None:
    body = bytes(i & 255 for i in range(1000))
    data = message(chunks.SET_CHUNK_SIZE, struct.pack(">I", size), id=2, stream=0)
    assert read(data + message(9, body, size=size))[-1].payload == body


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_impossible_chunk_sizes(size: int) -> None:
    with pytest.raises(ChunkError, match="chunk size"):
        read(message(chunks.SET_CHUNK_SIZE, struct.pack(">I", size), id=2))


def test_interleaved_messages() -> None:
    video, audio = b"v" * 300, b"a" * 200
    data = chunk(0, 6, time=1, length=300) + video[:128]
    data += chunk(0, 4, time=2, length=200, type=8) + audio[:128]
    data += head(3, 6) + video[128:256] + head(3, 4) + audio[128:] + head(3, 6) + video[256:]
    assert read(data) == [Message(8, 1, 2, audio), Message(9, 1, 1, video)]


def test_abort_forgets_a_message_in_parts() -> None:
    reader = ChunkReader()
    data = chunk(0, 6, length=300) + bytes(128)
    data += message(chunks.ABORT, struct.pack(">I", 6), id=2) + message(9, b"new", id=6)
    assert [m.payload for m in read(data, reader=reader) if m.type == 9] == [b"new"]
    assert reader.buffered == 0


def test_a_new_header_in_the_middle_of_a_message_begins_a_new_one() -> None:
    reader = ChunkReader()
    assert read(chunk(0, 6, length=300) + bytes(128) + message(9, b"new", id=6), reader=reader)[0].payload == b"new"
    assert reader.buffered == 0


def test_empty_messages() -> None:
    data = chunk(0, 4, length=0) + chunk(3, 4) + chunk(0, 4, time=3, length=1) + b"x"
    assert [m.payload for m in read(data)] == [b"", b"", b"x"]


def test_a_chunk_stream_may_begin_with_format_1_but_not_with_less() -> None:
    assert read(chunk(1, 4, time=9, length=1) + b"x") == [Message(9, 0, 9, b"x")]
    for form in (2, 3):
        with pytest.raises(ChunkError, match="never sent"):
            read(chunk(form, 4))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (chunk(0, 4, length=0xFFFFFF), "at most 8388608"),
        (chunk(0, 4, length=300_000, type=20), "at most 262144"),
        (chunk(0, 2, length=65, type=1), "at most 64"),
        (chunk(0, 2, length=2, type=1) + b"\0\0", "shorter"),
        (b"".join(chunk(0, id, length=1) + b"x" for id in range(3, 3 + 65)), "64 chunk streams"),
    ],
)
def test_what_is_too_much(data: bytes, words: str) -> None:
    with pytest.raises(ChunkError, match=words):
        read(data)


def test_unfinished_messages_are_bounded_together() -> None:
    reader = ChunkReader(max_message=1000, max_buffered=2000)
    pieces = [
        (chunk(0, id, length=999) if turn == 0 else head(3, id)) + bytes(128)
        for turn in range(7)
        for id in range(3, 40)
    ]
    with pytest.raises(ChunkError, match="unfinished"):
        read(*pieces, reader=reader)
    assert reader.buffered <= 2000 + 128


def test_one_call_does_a_bounded_amount_of_work() -> None:
    reader = ChunkReader()
    first = reader.receive(chunk(0, 4, length=0) + chunk(3, 4) * 5000)
    assert len(first) == STEPS
    assert reader.backlog
    total = len(first)
    while reader.backlog:
        total += len(reader.receive(b""))
    assert total == 5001


def test_good_messages_before_a_fault_are_not_lost() -> None:
    reader = ChunkReader()
    assert [m.payload for m in reader.receive(message(9, b"good") + chunk(3, 9))] == [b"good"]
    assert reader.backlog
    with pytest.raises(ChunkError):
        reader.receive(b"")


def test_the_writer_is_read_back() -> None:
    writer = ChunkWriter()
    body = bytes(1000)
    data = writer.message(5, 20, body, stream=1, timestamp=0x1234567)
    assert read(data) == [Message(20, 1, 0x1234567, body)]


def outcome(data: bytes, cuts: list[int]) -> tuple[list[Message], str]:
    reader = ChunkReader(max_message=4096, max_buffered=1 << 20)
    out: list[Message] = []
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    try:
        for start, end in itertools.pairwise(edges):
            out += reader.receive(data[start:end])
            assert reader.buffered <= 1 << 20
            while reader.backlog:
                out += reader.receive(b"")
    except ProtocolError as error:
        return out, error.reason
    return out, ""


PLAUSIBLE = st.lists(
    st.one_of(
        st.builds(
            lambda form, id, time, length, type, body: chunk(form, id, time=time, length=length, type=type) + body,
            st.integers(0, 3),
            st.integers(2, 8),
            st.sampled_from([0, 1, 40, 0xFFFFFE, 0xFFFFFF, 0xFFFFFFFF]),
            st.integers(0, 600),
            st.sampled_from([1, 2, 3, 5, 8, 9, 18, 20]),
            st.binary(max_size=140),
        ),
        st.binary(max_size=20),
        st.builds(lambda b, t: message(9, b, time=t), st.binary(max_size=600), st.integers(0, 0xFFFFFFFF)),
        st.builds(lambda n: message(1, struct.pack(">I", n), id=2), st.integers(1, 300)),
    ),
    max_size=20,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(PLAUSIBLE, st.lists(st.integers(0, 1 << 16), max_size=12))
def test_the_result_does_not_depend_on_fragmentation(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, cuts) == outcome(data, []) == outcome(data, list(range(len(data))))


@pytest.mark.parametrize("size", [128, 65536])
def test_one_call_reads_few_commands_when_they_are_large_however_they_are_cut(size: int) -> None:
    data = message(20, b"\x05" * 4000, id=3, size=size) * 20
    reader = ChunkReader()
    reader.chunk_size = size
    most = 0
    total = 0
    for piece in (data[:3000], data[3000:]):  # the first message is cut by the end of what was read
        found = reader.receive(piece)
        while True:
            most, total = max(most, len(found)), total + len(found)
            if not reader.backlog:
                break
            found = reader.receive(b"")
    assert total == 20
    assert most <= 2
