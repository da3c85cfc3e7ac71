"""One RTMP connection from a publisher's side, without a socket: bytes in; events and bytes out.

The owner of the socket sends `take_output()` from the start on, calls `receive` with what came, and after a Publishing
sends what `media` and `metadata` give. A Turned is the server's no, in words for the person whose target it is.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from media.protocols import amf, flv
from media.protocols.errors import CommandError, HandshakeError
from media.protocols.rtmp import chunks, commands
from media.protocols.rtmp.chunks import ChunkReader, ChunkWriter, Message
from media.protocols.rtmp.connection import CHUNK_SIZE, COMMAND_ID, CONTROL_ID, WINDOW
from media.protocols.rtmp.handshake import SIZE, VERSION
from media.samples import Codec, Kind

AGENT = "FMLE/3.0 (compatible; Social-Flow)"
AUDIO_ID, VIDEO_ID, DATA_ID = 4, 6, 4
MAX_MESSAGE = 64 * 1024
MAX_BUFFERED = 512 * 1024
MOST_WORDS = 200
SECRET_FROM = 4
"""A shorter key is part of many words, and no secret."""
CODECS = {
    "avc1": Codec.H264,
    "hvc1": Codec.HEVC,
    "av01": Codec.AV1,
    "vp09": Codec.VP9,
    "mp4a": Codec.AAC,
    "Opus": Codec.OPUS,
}
_ANY = "*"

_CONNECT, _RELEASE, _ANNOUNCE, _CREATE, _PUBLISH = 1.0, 2.0, 3.0, 4.0, 5.0
_FOR_GOOD = re.compile(
    r"NetStream\.Publish\.(BadName|Denied|Unauthorized|Rejected)|NetConnection\.Connect\.(Rejected|InvalidApp|AppShutdown)"
    r"|NetStream\.Authenticate\.|NetConnection\.Authenticate"
)
_FOR_NOW = re.compile(
    r"already|in use|busy|duplicate|again in|try again|restart|temporar|overload|later", re.IGNORECASE
)


class Target(NamedTuple):
    """Where to publish. app: the path of the URL, without the slash in front. url: rtmp[s]://host[:port]/app. key: the
    stream's name, which is the secret."""

    app: str
    url: str
    key: str

    def __repr__(self) -> str:
        return f"Target({self.url!r})"  # what is logged, or sent with a failure, has no key in it


@dataclass(frozen=True, slots=True)
class Publishing:
    """The server takes the stream from now on. codecs: those that it says it takes; H.264 and AAC always."""

    codecs: frozenset[Codec]


@dataclass(frozen=True, slots=True)
class Turned:
    """The server said no, or said that it is done. for_good: with these same words it would say so again."""

    reason: str
    for_good: bool


Event = Publishing | Turned


class _State(Enum):
    HANDSHAKE = auto()
    CONNECT = auto()
    CREATE = auto()
    PUBLISH = auto()
    PUBLISHING = auto()
    OVER = auto()


class RtmpClient:
    def __init__(self, target: Target, *, random: bytes | None = None) -> None:
        """random: of the handshake, for tests with vectors."""
        self.codecs = flv.LEGACY
        self.received = 0
        self._target = target
        self._state = _State.HANDSHAKE
        self._greeting = b""
        self._reader = ChunkReader(max_message=MAX_MESSAGE, max_buffered=MAX_BUFFERED)
        self._writer = ChunkWriter()
        self._window = WINDOW
        self._acknowledged = 0
        self._stream = 0
        noise = os.urandom(SIZE - 8) if random is None else random
        self._out = bytearray(bytes((VERSION,)) + bytes(8) + noise)

    @property
    def backlog(self) -> bool:
        """There is more to do without new bytes: call `receive(b"")`."""
        return self._reader.backlog

    @property
    def publishing(self) -> bool:
        return self._state is _State.PUBLISHING

    def receive(self, data: bytes) -> list[Event]:
        """Raises ProtocolError; the connection is of no use after that."""
        self.received += len(data)
        if self._state is _State.HANDSHAKE:
            data = self._greet(data)
            if self._state is _State.HANDSHAKE:
                return []
        events: list[Event] = []
        for message in self._reader.receive(data):
            self._message(message, events)
        if self.received - self._acknowledged >= self._window:
            self._acknowledged = self.received
            self._control(chunks.ACKNOWLEDGEMENT, struct.pack(">I", self.received & 0xFFFFFFFF))
        return events

    def take_output(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def media(self, kind: Kind, body: bytes, at: int) -> bytes:
        """A tag's body as it goes over the wire. at: decode time, ms; only its lowest 32 bits are told."""
        id, type = (VIDEO_ID, chunks.VIDEO) if kind is Kind.VIDEO else (AUDIO_ID, chunks.AUDIO)
        return self._writer.message(id, type, body, stream=self._stream, timestamp=at & 0xFFFFFFFF)

    def metadata(self, values: Mapping[str, object], at: int) -> bytes:
        body = amf.encode("@setDataFrame", "onMetaData", values)
        return self._writer.message(DATA_ID, chunks.DATA_AMF0, body, stream=self._stream, timestamp=at & 0xFFFFFFFF)

    def farewell(self) -> bytes:
        """What a publisher says when it is done; the connection may be closed after it."""
        if self._state is not _State.PUBLISHING:
            return b""
        self._state = _State.OVER
        self._command("FCUnpublish", _PUBLISH + 1, None, self._target.key)
        self._command("deleteStream", _PUBLISH + 2, None, float(self._stream))
        return self.take_output()

    # what came in

    def _greet(self, data: bytes) -> bytes:
        """S0, S1 and S2; what comes after them."""
        before, self._greeting = len(self._greeting), self._greeting + data
        greeting = self._greeting
        if greeting and greeting[0] != VERSION:
            raise HandshakeError(_not_rtmp(greeting))
        if before < 1 + SIZE <= len(greeting):
            self._out += greeting[1 : 1 + SIZE]  # C2 is S1 again
        if len(greeting) < 1 + 2 * SIZE:
            return b""
        self._greeting = b""
        self._state = _State.CONNECT
        self._control(chunks.SET_CHUNK_SIZE, struct.pack(">I", CHUNK_SIZE))
        self._writer.chunk_size = CHUNK_SIZE
        self._connect()
        return greeting[1 + 2 * SIZE :]

    def _message(self, message: Message, events: list[Event]) -> None:
        type, payload = message.type, message.payload
        if type == chunks.COMMAND_AMF0:
            self._run(commands.parse(amf.decode(payload)), events)
        elif type == chunks.COMMAND_AMF3:
            self._run(commands.parse(amf.decode_envelope(payload)), events)
        elif type == chunks.WINDOW_SIZE and len(payload) >= 4:
            self._window = min(max(int.from_bytes(payload[:4], "big"), 1 << 12), 1 << 30)
        elif type == chunks.PEER_BANDWIDTH and len(payload) >= 4:
            self._control(chunks.WINDOW_SIZE, payload[:4])
        elif type == chunks.USER_CONTROL and payload[:2] == b"\x00\x06":  # ping request
            self._control(chunks.USER_CONTROL, b"\x00\x07" + payload[2:6])

    def _run(self, command: commands.Command, events: list[Event]) -> None:
        name, transaction = command.name, command.transaction
        if name == "_result":
            if transaction == _CONNECT and self._state is _State.CONNECT:
                self._connected(command)
            elif transaction == _CREATE and self._state is _State.CREATE:
                self._created(command)
        elif name == "_error":
            # that a server does not know releaseStream or FCPublish is nothing
            if (transaction, self._state) in ((_CONNECT, _State.CONNECT), (_CREATE, _State.CREATE)) or (
                transaction == _PUBLISH
            ):
                self._turned(command, events)
        elif name == "onStatus":
            self._status(command, events)
        elif name == "close":
            self._over(Turned("the target hung up", for_good=False), events)

    def _connected(self, command: commands.Command) -> None:
        info = command.arguments[0] if command.arguments else None
        self.codecs |= _said(command.object) | _said(info if isinstance(info, dict) else {})
        key = self._target.key
        self._command("releaseStream", _RELEASE, None, key)
        self._command("FCPublish", _ANNOUNCE, None, key)
        self._command("createStream", _CREATE, None)
        self._state = _State.CREATE

    def _created(self, command: commands.Command) -> None:
        stream = command.arguments[0] if command.arguments else None
        if not isinstance(stream, float) or not 0 < stream < 1 << 32:
            raise CommandError("the target made no stream")
        self._stream = int(stream)
        self._command("publish", _PUBLISH, None, self._target.key, "live")
        self._state = _State.PUBLISH

    def _status(self, command: commands.Command, events: list[Event]) -> None:
        info = command.arguments[0] if command.arguments and isinstance(command.arguments[0], dict) else {}
        code, level = _text(info, "code"), _text(info, "level")
        if code == "NetStream.Publish.Start" and self._state is _State.PUBLISH:
            self._state = _State.PUBLISHING
            events.append(Publishing(self.codecs))
        elif code == "NetStream.Unpublish.Success" or level == "error" or _FOR_GOOD.match(code):
            self._turned(command, events)

    def _turned(self, command: commands.Command, events: list[Event]) -> None:
        info = command.arguments[0] if command.arguments and isinstance(command.arguments[0], dict) else {}
        code, words = _text(info, "code"), _text(info, "description")
        if code == "NetStream.Unpublish.Success":
            self._over(Turned("the target ended the stream", for_good=False), events)
            return
        if "authmod" in words or "AccessManager" in words:
            said = "the target asks for a user name and a password, which cannot be given here; use its stream key"
            self._over(Turned(said, for_good=True), events)
            return
        said = " ".join(_printable(self._without_key(words or code or "without a word")).split())[:MOST_WORDS]
        for_good = bool(_FOR_GOOD.match(code)) and not _FOR_NOW.search(words)
        self._over(Turned(f"the target refused: {said}", for_good=for_good), events)

    def _without_key(self, words: str) -> str:
        key = self._target.key
        return words.replace(key, "…") if len(key) >= SECRET_FROM else words

    def _over(self, turned: Turned, events: list[Event]) -> None:
        if self._state is not _State.OVER:
            self._state = _State.OVER
            events.append(turned)

    # what goes out

    def _connect(self) -> None:
        app, url, _ = self._target
        self._command(
            "connect",
            _CONNECT,
            {
                "app": app,
                "type": "nonprivate",
                "flashVer": AGENT,
                "tcUrl": url,
                "fourCcList": [*commands.VIDEO_FOURCC, *commands.AUDIO_FOURCC],
                "videoFourCcInfoMap": dict.fromkeys(commands.VIDEO_FOURCC, commands.FORWARD),
                "audioFourCcInfoMap": dict.fromkeys(commands.AUDIO_FOURCC, commands.FORWARD),
                "capsEx": 0.0,
            },
        )

    def _control(self, type: int, payload: bytes) -> None:
        self._out += self._writer.message(CONTROL_ID, type, payload)

    def _command(self, name: str, transaction: float, *values: object) -> None:
        stream = self._stream if name == "publish" else 0
        body = amf.encode(name, transaction, *values)
        self._out += self._writer.message(COMMAND_ID, chunks.COMMAND_AMF0, body, stream=stream)


def _said(values: Mapping[str, amf.Value]) -> frozenset[Codec]:
    """The codecs that an answer to connect names (Enhanced RTMP v2, "Enhancing NetConnection connect")."""
    names: set[object] = set()
    offered = values.get("fourCcList")
    if isinstance(offered, list):
        names.update(name for name in offered if isinstance(name, str))
    elif isinstance(offered, dict):  # a strict array from those who have only objects
        names.update(name for name in offered.values() if isinstance(name, str))
    found: set[Codec] = set(CODECS.values()) if _ANY in names else {CODECS[n] for n in CODECS if n in names}
    for field, kind in (("videoFourCcInfoMap", Kind.VIDEO), ("audioFourCcInfoMap", Kind.AUDIO)):
        masks = values.get(field)
        if isinstance(masks, dict):
            took = {name for name, mask in masks.items() if mask}
            found |= {c for name, c in CODECS.items() if c.kind is kind and (name in took or _ANY in took)}
    return frozenset(found)


def _text(values: Mapping[str, amf.Value], name: str) -> str:
    value = values.get(name)
    return value[:4096] if isinstance(value, str) else ""


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _not_rtmp(first: bytes) -> str:
    if first[0] in (0x15, 0x16):
        return "the target speaks TLS on this port: use rtmps://"
    if first[:4] == b"HTTP" or first[:1] in b"<H":
        return "the target speaks HTTP on this port, not RTMP"
    if first[0] == 6:
        return "the target speaks encrypted RTMP (RTMPE) alone: use rtmps:// or plain rtmp://"
    return "the target does not speak RTMP"
