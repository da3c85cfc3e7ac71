"""One RTMP connection from the server's side, without a socket: bytes in; events and bytes out.

The owner of the socket calls `receive` with what came, handles the events in order, and sends `take_output()`. After a
PublishRequested it answers `accept` or `refuse`, when it likes. While `backlog` is true there is more to do without new
bytes: call `receive(b"")` again before reading on.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from media.protocols import amf
from media.protocols.errors import CommandError, ProtocolError
from media.protocols.rtmp import chunks, commands
from media.protocols.rtmp.chunks import ChunkReader, ChunkWriter, Message
from media.protocols.rtmp.handshake import Handshake

CHUNK_SIZE = 65536
"""What we announce. Encoders adopt it for what they send, and it decides what reading costs."""
WINDOW = 2_500_000
MAX_STREAMS = 16
MAX_AGGREGATE = 256
BURST = 16_384
"""Bytes of commands and metadata that a connection may send at once, and then REFILL a second. Small messages count for
MESSAGE_COST, and of a large one only 4096 bytes count in full, since no more values than that are read of it."""
REFILL = 4_096
MESSAGE_COST = 8
STRANGER_BUFFERED = 1 << 20
"""Bytes of unfinished messages that are kept for who has not been let in."""
_FULL = 4_096

CONTROL_ID, COMMAND_ID, STATUS_ID = 2, 3, 5


@dataclass(frozen=True, slots=True)
class PublishRequested:
    key: str
    app: str
    encoder: str


@dataclass(frozen=True, slots=True)
class Metadata:
    values: Mapping[str, amf.Value]


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """The encoder said that it is done; it may publish again on the same connection."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The server should hang up after sending what is to be sent. reason: for the log."""

    reason: str


Event = Message | PublishRequested | Metadata | PublishEnded | Goodbye
"""A Message is sound or picture of the stream: type AUDIO or VIDEO, body as in an FLV tag. After a PublishRequested
some may come before it is answered: keep them for `accept`."""


class RtmpConnection:
    def __init__(
        self,
        *,
        max_message: int = 8 << 20,
        max_buffered: int = 16 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_message, max_buffered: bytes. clock: seconds, from anywhere."""
        self.app = ""
        self.encoder = ""
        self.publishing = False
        self.received = 0
        self._handshake: Handshake | None = Handshake()
        self._reader = ChunkReader(max_message=max_message, max_buffered=min(max_buffered, STRANGER_BUFFERED))
        self._max_buffered = max_buffered
        self._writer = ChunkWriter()
        self._out = bytearray()
        self._window = WINDOW
        self._acknowledged = 0
        self._tc_url = ""
        self._connected = False
        self._streams: set[int] = set()
        self._last_stream = 0
        self._stream = 0  # the message stream that publishes or asks to
        self._asked = False
        self._fault: ProtocolError | None = None
        self._clock = clock
        self._allowed = float(BURST)
        self._allowed_at = clock()

    @property
    def backlog(self) -> bool:
        return self._reader.backlog or self._fault is not None

    @property
    def buffered(self) -> int:
        return self._reader.buffered

    def receive(self, data: chunks.Bytes) -> list[Event]:
        """Raises ProtocolError; the connection is of no use after that, except to send `farewell`.

        Events from before the fault are returned first, and the next call raises.
        """
        if self._fault is not None:
            raise self._fault
        self.received += len(data)
        if self._handshake is not None:
            self._out += self._handshake.receive(bytes(data))
            if not self._handshake.done:
                return []
            data = self._handshake.rest
            self._handshake = None
        events: list[Event] = []
        try:
            for message in self._reader.receive(data):
                if 8 <= message.type <= 9:
                    if self.publishing or self._asked:  # some do not wait for the answer to publish
                        events.append(message)
                else:
                    self._message(message, events)
        except ProtocolError as fault:
            if not events:
                raise
            self._fault = fault
        if self.received - self._acknowledged >= self._window:
            self._acknowledged = self.received
            self._control(chunks.ACKNOWLEDGEMENT, struct.pack(">I", self.received & 0xFFFFFFFF))
        return events

    def take_output(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def accept(self) -> None:
        """Let the encoder begin."""
        if not self._asked:
            return
        self._asked = False
        self.publishing = True
        self._reader.max_buffered = self._max_buffered
        self._control(chunks.USER_CONTROL, struct.pack(">HI", 0, self._stream))
        self._status("status", "NetStream.Publish.Start", "Publishing.")

    def refuse(self, code: str, description: str) -> None:
        """Tell the encoder why not, or why no longer. code: as NetStream.Publish.Denied."""
        self._asked = self.publishing = False
        self._status("error", code, description)

    def farewell(self, description: str) -> None:
        """The last word before hanging up on what cannot be served: to whom it can be said, by where it stands."""
        if self._handshake is not None:
            return
        if self._connected:
            self.refuse("NetStream.Publish.Rejected", description)
        else:
            self._command(commands.error(1.0, "NetConnection.Connect.Rejected", description))

    # what came in

    def _message(self, message: Message, events: list[Event]) -> None:
        type, payload = message.type, message.payload
        data = type in (chunks.DATA_AMF0, chunks.DATA_AMF3)
        self._charge(0 if data or type == chunks.AGGREGATE else len(payload))
        if type == chunks.COMMAND_AMF0:
            self._run(commands.parse(amf.decode(payload)), message.stream, events)
        elif type == chunks.COMMAND_AMF3:
            self._run(commands.parse(amf.decode_envelope(payload)), message.stream, events)
        elif data:
            self._data(payload, events)
        elif type == chunks.AGGREGATE:
            self._aggregate(message, events)
        elif type == chunks.WINDOW_SIZE and len(payload) >= 4:
            self._window = min(max(int.from_bytes(payload[:4], "big"), 1 << 16), 1 << 30)
        elif type == chunks.USER_CONTROL and payload[:2] == b"\x00\x06":  # ping request
            self._control(chunks.USER_CONTROL, b"\x00\x07" + payload[2:6])

    def _charge(self, size: int) -> None:
        """Before the work is done. Raises CommandError when it is more than an encoder has reason to ask for."""
        cost = MESSAGE_COST + min(size, _FULL) + (size >> 6)
        if cost > self._allowed:
            now = self._clock()
            self._allowed = min(float(BURST), self._allowed + (now - self._allowed_at) * REFILL)
            self._allowed_at = now
            if cost > self._allowed:
                raise CommandError("more commands and metadata than an encoder has reason to send")
        self._allowed -= cost

    def _data(self, payload: bytes, events: list[Event]) -> None:
        if not (self.publishing or self._asked) or b"onMetaData" not in payload[:64]:
            return
        self._charge(len(payload))
        values = amf.decode_envelope(payload)
        if values and values[0] == "@setDataFrame":
            values = values[1:]
        if len(values) > 1 and values[0] == "onMetaData" and isinstance(values[1], dict):
            events.append(Metadata(values[1]))

    def _aggregate(self, message: Message, events: list[Event]) -> None:
        """FLV tags in one message (section 7.1.6): their times are moved so that the first has the message's."""
        body, at, base = message.payload, 0, None
        if not (self.publishing or self._asked):
            return
        for _ in range(MAX_AGGREGATE):
            if at + 11 > len(body):
                return
            size = int.from_bytes(body[at + 1 : at + 4], "big")
            time = int.from_bytes(body[at + 4 : at + 7], "big") | body[at + 7] << 24
            base = time if base is None else base
            if at + 11 + size > len(body):
                raise CommandError("an aggregate message ends in the middle of a tag")
            part = body[at + 11 : at + 11 + size]
            moment = (message.timestamp + time - base) & 0xFFFFFFFF
            inner = Message(body[at] & 0x1F, message.stream, moment, part)
            if inner.type in (chunks.AUDIO, chunks.VIDEO):
                events.append(inner)
            elif inner.type == chunks.DATA_AMF0:
                self._data(part, events)
            at += 11 + size + 4
        raise CommandError(f"an aggregate message of more than {MAX_AGGREGATE} tags")

    def _run(self, command: commands.Command, stream: int, events: list[Event]) -> None:
        name = command.name
        if name == "connect":
            self._connect(command)
        elif name in ("_result", "_error", "onStatus", "onBWDone", "_checkbw", "_onbwcheck", "_onbwdone", "pong"):
            if name == "_checkbw":
                self._command(commands.result(command.transaction))
        elif not self._connected:
            raise CommandError(f"the command {name[:40]!r} came before connect")
        elif name == "createStream":
            self._create_stream(command)
        elif name == "publish":
            self._publish(command, stream, events)
        elif name == "FCPublish":
            description = commands.text_of(command.arguments[0]) if command.arguments else ""
            self._command(
                amf.encode("onFCPublish", 0.0, None, {"code": "NetStream.Publish.Start", "description": description})
            )
            self._command(commands.result(command.transaction))
        elif name in ("releaseStream", "FCSubscribe"):
            self._command(commands.result(command.transaction))
        elif name == "getStreamLength":
            self._command(commands.result(command.transaction, None, 0.0))
        elif name in ("FCUnpublish", "closeStream"):
            if name == "FCUnpublish":
                self._command(amf.encode("onFCUnpublish", 0.0, None, {"code": "NetStream.Unpublish.Success"}))
                self._command(commands.result(command.transaction))
            self._stop(events)
        elif name == "deleteStream":
            target = command.arguments[0] if command.arguments else 0.0
            if isinstance(target, float) and target in self._streams:
                self._streams.discard(int(target))
            if not isinstance(target, float) or target in (0.0, float(self._stream)):
                self._stop(events)
        elif name in ("play", "play2"):
            self._stream = stream
            self._status("error", "NetStream.Play.StreamNotFound", "Streams are watched by HLS or DASH, not by RTMP.")
            events.append(Goodbye("the client asked to play by RTMP"))
        elif command.transaction:  # what we do not know is declined, and never mind
            self._command(commands.error(command.transaction, "NetConnection.Call.Failed", "Unknown command."))

    def _connect(self, command: commands.Command) -> None:
        if self._connected:
            raise CommandError("a second connect on one connection")
        self.app = commands.text_of(command.object.get("app"))
        self._tc_url = commands.text_of(command.object.get("tcUrl"))
        self.encoder = commands.text_of(command.object.get("flashVer"))[:200]
        self._connected = True
        self._control(chunks.WINDOW_SIZE, struct.pack(">I", WINDOW))
        self._control(chunks.PEER_BANDWIDTH, struct.pack(">IB", WINDOW, 2))
        self._control(chunks.SET_CHUNK_SIZE, struct.pack(">I", CHUNK_SIZE))
        self._writer.chunk_size = CHUNK_SIZE
        self._command(commands.connected(command))

    def _create_stream(self, command: commands.Command) -> None:
        if len(self._streams) >= MAX_STREAMS:
            raise CommandError(f"more than {MAX_STREAMS} message streams on one connection")
        self._last_stream += 1
        self._streams.add(self._last_stream)
        self._command(commands.result(command.transaction, None, float(self._last_stream)))

    def _publish(self, command: commands.Command, stream: int, events: list[Event]) -> None:
        if self.publishing or self._asked:
            raise CommandError("a second publish on one connection; several tracks or streams at once are not taken")
        name = commands.text_of(command.arguments[0]) if command.arguments else ""
        self._stream = stream or self._last_stream or 1
        self._asked = True
        events.append(PublishRequested(commands.stream_key(self.app, name, self._tc_url), self.app, self.encoder))

    def _stop(self, events: list[Event]) -> None:
        if self.publishing or self._asked:
            self.publishing = self._asked = False
            self._status("status", "NetStream.Unpublish.Success", "Unpublished.")
            events.append(PublishEnded())

    # what goes out

    def _control(self, type: int, payload: bytes) -> None:
        self._out += self._writer.message(CONTROL_ID, type, payload)

    def _command(self, payload: bytes) -> None:
        self._out += self._writer.message(COMMAND_ID, chunks.COMMAND_AMF0, payload)

    def _status(self, level: str, code: str, description: str) -> None:
        payload = commands.on_status(level, code, description)
        self._out += self._writer.message(STATUS_ID, chunks.COMMAND_AMF0, payload, stream=self._stream)
