"""WebSocket frames from the server's side (RFC 6455 section 5.2): unmasked, never fragmented."""

from __future__ import annotations

import struct
import zlib

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

_COMPRESSED = 0x40  # RSV1 (RFC 7692 section 6)


def close(code: int, reason: str = "") -> bytes:
    """A close frame (section 5.5.1). The reason is cut to what a control frame can hold."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode()[:123])


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame. Built once, its bytes can be written to every connection that negotiated no extension."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def deflated(opcode: int, payload: bytes, level: int = 6) -> bytes:
    """One whole compressed frame, for connections that negotiated permessage-deflate (RFC 7692 section 7.2.1). It rests
    on no earlier message, so its bytes are the same for all of them. Plain when compressing gains nothing.
    """
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    packed = packed[:-4]  # the empty block at its end is left out
    if len(packed) >= len(payload):
        return frame(opcode, payload)
    return frame(opcode | _COMPRESSED, packed)
