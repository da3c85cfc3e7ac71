"""WebSocket frames from the server's side (RFC 6455 section 5.2): unmasked, never fragmented, never compressed."""

from __future__ import annotations

import struct

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA


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
