"""What an encoder puts on the wire, for tests: chunks in every form, commands, a scripted client."""

from __future__ import annotations

import struct

from media.protocols import amf
from media.protocols.rtmp import chunks
from media.protocols.rtmp.chunks import ChunkReader, Message

C0C1 = b"\x03" + bytes(1536)
C2 = bytes(1536)
SERVER_HELLO = 1 + 1536 + 1536


def head(form: int, id: int) -> bytes:
    if id < 64:
        return bytes((form << 6 | id,))
    if id < 320:
        return bytes((form << 6, id - 64))
    return bytes((form << 6 | 1, (id - 64) & 255, (id - 64) >> 8))


def u24(value: int) -> bytes:
    return value.to_bytes(3, "big")


def chunk(form: int, id: int, *, time: int = 0, length: int = 0, type: int = 9, stream: int = 1) -> bytes:
    """A chunk's header; `time` as the field of that form, extended when it needs to be."""
    out = head(form, id)
    if form < 3:
        out += u24(min(time, 0xFFFFFF))
    if form < 2:
        out += u24(length) + bytes((type,))
    if form < 1:
        out += struct.pack("<I", stream)
    if form < 3 and time >= 0xFFFFFF:
        out += struct.pack(">I", time)
    return out


def message(type: int, payload: bytes, *, id: int = 4, time: int = 0, stream: int = 1, size: int = 128) -> bytes:
    """A whole message in chunks of `size`, as a careful encoder sends it."""
    extended = struct.pack(">I", time) if time >= 0xFFFFFF else b""
    out = chunk(0, id, time=time, length=len(payload), type=type, stream=stream) + payload[:size]
    for at in range(size, len(payload), size):
        out += head(3, id) + extended + payload[at : at + size]
    return out


def command(*values: object, stream: int = 0, size: int = 128) -> bytes:
    return message(chunks.COMMAND_AMF0, amf.encode(*values), id=3, stream=stream, size=size)


def connect(app: str = "live", **more: object) -> bytes:
    return command("connect", 1.0, {"app": app, "flashVer": "FMLE/3.0 test", "tcUrl": f"rtmp://x/{app}", **more})


def publish(key: str = "secret", app: str = "live", **more: object) -> bytes:
    """Everything from connect to publish, without waiting for answers."""
    return (
        connect(app, **more)
        + command("releaseStream", 2.0, None, key)
        + command("FCPublish", 3.0, None, key)
        + command("createStream", 4.0, None)
        + command("publish", 5.0, None, key, "live", stream=1)
    )


def media(type: int, body: bytes, time: int = 0) -> bytes:
    return message(type, body, id=6 if type == 9 else 4, time=time)


def answers(data: bytes) -> list[Message]:
    """What a server sent after its handshake, as messages."""
    reader = ChunkReader()
    out = reader.receive(data)
    while reader.backlog:
        out += reader.receive(b"")
    return out


def said(data: bytes) -> list[list[amf.Value]]:
    """The commands in what a server sent after its handshake."""
    return [amf.decode(m.payload) for m in answers(data) if m.type == chunks.COMMAND_AMF0]


def statuses(data: bytes) -> list[tuple[str, str]]:
    """(code, description) of every onStatus."""
    found = []
    for values in said(data):
        if values[0] == "onStatus" and isinstance(values[3], dict):
            found.append((str(values[3]["code"]), str(values[3]["description"])))
    return found
