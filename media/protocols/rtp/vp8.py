"""VP8 over RTP (RFC 7741), as far as forwarding needs it: HLS cannot carry VP8, so no samples are made of it."""

from __future__ import annotations

from typing import NamedTuple

from media.protocols.errors import RtpError


class Descriptor(NamedTuple):
    """What stands before the bytes of a frame (4.2). picture, level and temporal: -1 when not told. begins: this is
    the first payload of a frame. length: of the descriptor."""

    begins: bool
    disposable: bool
    picture: int
    level: int
    temporal: int
    sync: bool
    length: int


def descriptor(payload: bytes) -> Descriptor:
    """Raises RtpError."""
    try:
        flags = payload[0]
        at = 1
        picture = level = temporal = -1
        sync = False
        if flags & 0x80:
            more = payload[at]
            at += 1
            if more & 0x80:
                picture = payload[at]
                at += 1
                if picture & 0x80:
                    picture = (picture & 0x7F) << 8 | payload[at]
                    at += 1
            if more & 0x40:
                level = payload[at]
                at += 1
            if more & 0x30:
                if more & 0x20:
                    temporal, sync = payload[at] >> 6, bool(payload[at] & 0x20)
                at += 1
    except IndexError:
        raise RtpError("a VP8 payload ends within its descriptor") from None
    if at >= len(payload):
        raise RtpError("a VP8 payload ends within its descriptor")
    return Descriptor(flags & 0x17 == 0x10, bool(flags & 0x20), picture, level, temporal, sync, at)


def key_frame_size(payload: bytes) -> tuple[int, int] | None:
    """Width and height when a payload begins a key frame (RFC 6386, 9.1), else None."""
    try:
        head = descriptor(payload)
    except RtpError:
        return None
    frame = payload[head.length : head.length + 10]
    if not head.begins or len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    return (frame[6] | frame[7] << 8) & 0x3FFF, (frame[8] | frame[9] << 8) & 0x3FFF


def starts_key(payload: bytes) -> bool:
    """Whether a payload begins a key frame."""
    return key_frame_size(payload) is not None
