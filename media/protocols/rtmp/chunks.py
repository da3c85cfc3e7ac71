"""The RTMP chunk stream: messages cut into chunks, several of them interleaved (RTMP 1.0, section 5.3).

ChunkReader lives as long as its connection and holds what of unfinished messages has come, at most `max_buffered`
bytes, and less than one header of undecided bytes. It is fast where it matters: a message that lies whole in what was
just read costs one copy. What one call does is bounded: while `backlog` is true, the rest waits for the next call.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from media.protocols.errors import ChunkError

SET_CHUNK_SIZE = 1
ABORT = 2
ACKNOWLEDGEMENT = 3
USER_CONTROL = 4
WINDOW_SIZE = 5
PEER_BANDWIDTH = 6
AUDIO = 8
VIDEO = 9
DATA_AMF3 = 15
SHARED_AMF3 = 16
COMMAND_AMF3 = 17
DATA_AMF0 = 18
SHARED_AMF0 = 19
COMMAND_AMF0 = 20
AGGREGATE = 22

DEFAULT_CHUNK_SIZE = 128
EXTENDED = 0xFFFFFF
MAX_CHUNK_STREAMS = 64
MAX_COMMAND = 256 * 1024
MAX_CONTROL = 64
STEPS = 1024
"""Chunks that one call reads; a message that is not media counts for more of them, see `_charge`."""

_time_length_type = struct.Struct(">HBHBB").unpack_from
_u32 = struct.Struct(">I").unpack_from
_u32le = struct.Struct("<I").unpack_from

Bytes = bytes | bytearray | memoryview


class Message(NamedTuple):
    """type: message type id. stream: message stream id. timestamp: ms, 32 bits. payload: bytes of its own."""

    type: int
    stream: int
    timestamp: int
    payload: bytes


class _ChunkStream:
    __slots__ = ("body", "extended", "field", "length", "stream", "timestamp", "type")

    def __init__(self) -> None:
        self.timestamp = 0
        self.field = 0  # the timestamp field of the last header: a delta, after format 0 the time itself
        self.length = 0
        self.type = 0
        self.stream = 0
        self.extended = False
        self.body: bytearray | None = None


class ChunkReader:
    def __init__(self, *, max_message: int = 8 << 20, max_buffered: int = 16 << 20) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self.buffered = 0
        self.backlog = False
        self._max_message = max_message
        self.max_buffered = max_buffered
        self._streams: dict[int, _ChunkStream] = {}
        self._tail = b""
        self._cut: _ChunkStream | None = None  # its chunk is cut by the end of what was read
        self._missing = 0
        self._owed = 0  # steps that the last `_resume` is to be charged with
        self._fault: ChunkError | None = None

    def receive(self, data: Bytes) -> list[Message]:
        """The messages that are complete now, in order. `data` is not kept.

        Raises ChunkError; when good messages came before the fault they are returned first, and the next call raises.
        """
        if self._fault is not None:
            raise self._fault
        out: list[Message] = []
        try:
            self._read(data, out)
        except ChunkError as fault:
            if not out:
                raise
            self._fault = fault
            self.backlog = True
        return out

    def _read(self, data: Bytes, out: list[Message]) -> None:
        if self._tail:
            data = self._tail + bytes(data)
            self._tail = b""
        view = memoryview(data)
        size = len(view)
        pos = 0
        streams = self._streams
        self._owed = 0
        if self._cut is not None and size:
            pos = self._resume(self._cut, view, out)
        steps = STEPS - self._owed
        while pos < size and steps > 0:
            steps -= 1
            start = pos
            first = view[pos]
            pos += 1
            id = first & 63
            if id < 2:
                if pos + id + 1 > size:
                    pos = start
                    break
                id, pos = (64 + view[pos], pos + 1) if id == 0 else (64 + view[pos] + view[pos + 1] * 256, pos + 2)
            chunk = streams.get(id)
            if chunk is None:
                chunk = self._new_stream(id, first >> 6)
            form = first >> 6
            if form == 3:
                if chunk.extended:
                    if pos + 4 > size:
                        pos = start
                        break
                    # some encoders leave the repeated extended timestamp out: it is there when it says the same
                    if _u32(view, pos)[0] == chunk.field:
                        pos += 4
                if chunk.body is None:
                    chunk.timestamp = (chunk.timestamp + chunk.field) & 0xFFFFFFFF
            else:
                head = 11 if form == 0 else 7 if form == 1 else 3
                if pos + head > size:
                    pos = start
                    break
                if form == 2:
                    field = view[pos] << 16 | view[pos + 1] << 8 | view[pos + 2]
                    length, type = chunk.length, chunk.type
                else:
                    high, low, length_high, length_low, type = _time_length_type(view, pos)
                    field = high << 8 | low
                    length = length_high << 8 | length_low
                end = pos + head
                extended = field == EXTENDED
                if extended:
                    if end + 4 > size:
                        pos = start
                        break
                    field = _u32(view, end)[0]
                    end += 4
                if chunk.body is not None:  # a new message begins before the old one ended: the old one is lost
                    self._drop(chunk)
                if length != chunk.length or type != chunk.type:
                    self._check(length, type)
                    chunk.length, chunk.type = length, type
                if form == 0:
                    chunk.stream = _u32le(view, pos + 7)[0]
                    chunk.timestamp = field
                else:
                    chunk.timestamp = (chunk.timestamp + field) & 0xFFFFFFFF
                chunk.field = field
                chunk.extended = extended
                pos = end
            length = chunk.length
            body = chunk.body
            if body is None and length <= self.chunk_size and pos + length <= size:
                end = pos + length
                message = Message(chunk.type, chunk.stream, chunk.timestamp, bytes(view[pos:end]))
                pos = end
                if message.type < 8:
                    self._control(message)
                    steps -= 4
                elif message.type > 9:
                    steps -= _charge(message)
                out.append(message)
                continue
            self._owed = 0
            pos = self._part(chunk, view, pos, out)
            steps -= self._owed
        self.backlog = steps <= 0 and pos < size
        if pos < size:
            self._tail = bytes(view[pos:])

    def _part(self, chunk: _ChunkStream, view: memoryview, pos: int, out: list[Message]) -> int:
        """A chunk that is not a whole message, or not whole itself."""
        if chunk.body is None:
            chunk.body = bytearray()
        want = min(self.chunk_size, chunk.length - len(chunk.body))
        self._cut, self._missing = chunk, want
        return pos + self._resume(chunk, view[pos:], out)

    def _resume(self, chunk: _ChunkStream, view: memoryview, out: list[Message]) -> int:
        """Take what the cut chunk is missing from the start of `view`; how much that was."""
        body = chunk.body
        assert body is not None
        taken = min(self._missing, len(view))
        body += view[:taken]
        self.buffered += taken
        self._missing -= taken
        if self.buffered > self.max_buffered:
            raise ChunkError(f"unfinished messages hold more than {self.max_buffered} bytes")
        if not self._missing:
            self._cut = None
            if len(body) == chunk.length:
                message = Message(chunk.type, chunk.stream, chunk.timestamp, bytes(body))
                self._drop(chunk)
                if message.type < 8:
                    self._control(message)
                    self._owed = 4
                elif message.type > 9:
                    self._owed = _charge(message)
                out.append(message)
        return taken

    def _new_stream(self, id: int, form: int) -> _ChunkStream:
        # librtmp begins some chunk streams with format 1, which only lacks the message stream id
        if form > 1:
            raise ChunkError(f"chunk stream {id} begins with a header of format {form}, which repeats one never sent")
        if len(self._streams) >= MAX_CHUNK_STREAMS:
            raise ChunkError(f"more than {MAX_CHUNK_STREAMS} chunk streams on one connection")
        chunk = self._streams[id] = _ChunkStream()
        return chunk

    def _check(self, length: int, type: int) -> None:
        limit = MAX_CONTROL if type < 8 else self._max_message if type <= 9 or type == AGGREGATE else MAX_COMMAND
        if length > limit:
            raise ChunkError(f"a message of {length} bytes and type {type}; at most {limit} are taken")

    def _drop(self, chunk: _ChunkStream) -> None:
        if chunk.body is not None:
            self.buffered -= len(chunk.body)
            chunk.body = None

    def _control(self, message: Message) -> None:
        """What decides how the next chunk is read (section 5.4)."""
        if message.type not in (SET_CHUNK_SIZE, ABORT):
            return
        if len(message.payload) < 4:
            raise ChunkError("a control message is shorter than its four bytes")
        value: int = _u32(message.payload)[0]
        if message.type == SET_CHUNK_SIZE:
            if not 1 <= value < 1 << 31:
                raise ChunkError(f"a chunk size of {value}; it is from 1 to 2147483647")
            self.chunk_size = value
        elif (chunk := self._streams.get(value)) is not None:
            self._drop(chunk)


def _charge(message: Message) -> int:
    """What a message that is not media costs whoever handles it, in steps: each byte of AMF may be a value."""
    return 16 + (len(message.payload) >> 2)


class ChunkWriter:
    """Messages out, each in chunks of `chunk_size` with a format 0 header."""

    def __init__(self) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE

    def message(self, id: int, type: int, payload: bytes, *, stream: int = 0, timestamp: int = 0) -> bytes:
        """id: chunk stream, 2 to 63."""
        extended = struct.pack(">I", timestamp) if timestamp >= EXTENDED else b""
        out = bytearray((id,))
        out += min(timestamp, EXTENDED).to_bytes(3, "big") + len(payload).to_bytes(3, "big")
        out += struct.pack("<BI", type, stream) if not extended else struct.pack("<BI", type, stream) + extended
        out += payload[: self.chunk_size]
        for at in range(self.chunk_size, len(payload), self.chunk_size):
            out += bytes((0xC0 | id,)) + extended + payload[at : at + self.chunk_size]
        return bytes(out)
