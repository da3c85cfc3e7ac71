"""One RTP packet: its fixed header (RFC 3550, 5.1) and its header extensions (RFC 8285).

Parsing is what every packet that comes in pays for: one unpack, one copy of the payload. Extensions are kept as they
came and read when somebody asks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from media.protocols.errors import RtpError

HEADER = 12
MAX_PACKET = 65_507
"""The longest UDP payload."""
ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

_head = struct.Struct(">BBHII")
_unpack = _head.unpack_from
_pack = _head.pack
_u16x2 = struct.Struct(">HH").unpack_from


class RtpPacket:
    """marker: usually the last packet of a frame. sequence: 16 bits, timestamp and ssrc: 32 bits, as on the wire.
    profile, extension: the header extension block as it came (0 and b"" without one). payload: without padding, b""
    for a packet that is padding alone."""

    __slots__ = ("extension", "marker", "payload", "payload_type", "profile", "sequence", "ssrc", "timestamp")

    def __init__(
        self,
        payload_type: int,
        sequence: int,
        timestamp: int,
        ssrc: int,
        payload: bytes,
        *,
        marker: bool = False,
        profile: int = 0,
        extension: bytes = b"",
    ) -> None:
        self.payload_type = payload_type
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.payload = payload
        self.marker = marker
        self.profile = profile
        self.extension = extension

    def __repr__(self) -> str:
        mark = " marker" if self.marker else ""
        return (
            f"<RTP {self.ssrc:08x} type {self.payload_type} #{self.sequence} @{self.timestamp}"
            f"{mark} {len(self.payload)} bytes>"
        )

    def extensions(self) -> dict[int, bytes]:
        """The header extension's elements by their local id; of one that came twice, the first."""
        values: dict[int, bytes] = {}
        for number, value in elements(self.profile, self.extension):
            values.setdefault(number, value)
        return values

    def build(self) -> bytes:
        """The packet as bytes. Contributing sources and padding, which it was parsed without, do not come back."""
        block = _block(self.profile, self.extension) if self.profile else b""
        return build(
            self.payload,
            payload_type=self.payload_type,
            sequence=self.sequence,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            marker=self.marker,
            extension=block,
        )


def parse(data: bytes) -> RtpPacket:
    """One packet. Raises RtpError."""
    size = len(data)
    if size < HEADER:
        raise RtpError("an RTP packet is shorter than its header")
    first, second, sequence, timestamp, ssrc = _unpack(data)
    packet = RtpPacket.__new__(RtpPacket)
    if first == 0x80:
        packet.profile = 0
        packet.extension = b""
        packet.payload = data[12:]
    else:
        if first >> 6 != 2:
            raise RtpError("an RTP packet is of another version than 2")
        at = 12 + 4 * (first & 15)
        if first & 0x10:
            if at + 4 > size:
                raise RtpError("an RTP packet ends within its header extension")
            packet.profile, words = _u16x2(data, at)
            start = at + 4
            at = start + 4 * words
            packet.extension = data[start:at]
        else:
            packet.profile = 0
            packet.extension = b""
        if first & 0x20:
            padding = data[-1]
            if not padding or at + padding > size:
                raise RtpError("an RTP packet claims more padding than it has")
            size -= padding
        if at > size:
            raise RtpError("an RTP packet ends within its header")
        packet.payload = data[at:size]
    packet.marker = second > 127
    packet.payload_type = second & 127
    packet.sequence = sequence
    packet.timestamp = timestamp
    packet.ssrc = ssrc
    return packet


def build(
    payload: bytes,
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    marker: bool = False,
    extension: bytes = b"",
    padding: int = 0,
) -> bytes:
    """A packet. sequence and timestamp are cut to 16 and 32 bits. extension: a block from `build_extension`.
    padding: bytes of it to add, 0 to 255."""
    first = 0x80 | (0x10 if extension else 0) | (0x20 if padding else 0)
    second = payload_type | 0x80 if marker else payload_type
    head = _pack(first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
    return b"".join((head, extension, payload, tail))


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram of a port that carries both is RTCP (RFC 5761, 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def elements(profile: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    """(local id, value) of each element of a header extension (RFC 8285, 4.2 and 4.3).

    An element that claims more than is left ends the reading: what came before it stands.
    """
    at, end = 0, len(block)
    if profile == ONE_BYTE:
        while at < end:
            head = block[at]
            at += 1
            if not head:
                continue
            number, size = head >> 4, (head & 15) + 1
            if number == 15 or at + size > end:
                return
            if number:
                yield number, block[at : at + size]
            at += size
    elif profile & 0xFFF0 == TWO_BYTE:
        while at < end:
            number = block[at]
            at += 1
            if not number:
                continue
            if at >= end or at + 1 + block[at] > end:
                return
            size = block[at]
            yield number, block[at + 1 : at + 1 + size]
            at += 1 + size


def build_extension(values: Mapping[int, bytes]) -> bytes:
    """The whole block, for `build`: one-byte form where every element fits it, else two-byte. b"" for no values."""
    if not values:
        return b""
    parts: list[bytes] = []
    if all(0 < number < 15 and 0 < len(value) <= 16 for number, value in values.items()):
        profile = ONE_BYTE
        for number, value in values.items():
            parts += (bytes((number << 4 | len(value) - 1,)), value)
    else:
        profile = TWO_BYTE
        for number, value in values.items():
            parts += (bytes((number, len(value))), value)
    return _block(profile, b"".join(parts))


def _block(profile: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", profile, len(body) // 4) + body


class Extensions(NamedTuple):
    """What the header extensions that we know say. transport_sequence: 16 bits, -1 when not told. abs_send_time: 24
    bits of 6.18 seconds, -1 when not told. level: of the sound in -dBov (0 loudest, 127 silence), -1 when not told."""

    mid: str = ""
    rid: str = ""
    repaired_rid: str = ""
    transport_sequence: int = -1
    abs_send_time: int = -1
    level: int = -1
    voice: bool = False


_NOTHING = Extensions()


class ExtensionMap:
    """The local ids that an SDP answer settled on, and the values of a packet by them.

    ids: URI to local id. The attributes of that name are 0 where the session does not use the extension.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.mid = ids.get(MID, 0)
        self.rid = ids.get(RID, 0)
        self.repaired_rid = ids.get(REPAIRED_RID, 0)
        self.abs_send_time = ids.get(ABS_SEND_TIME, 0)
        self.transport_cc = ids.get(TRANSPORT_CC, 0)
        self.audio_level = ids.get(AUDIO_LEVEL, 0)

    def transport_sequence(self, packet: RtpPacket) -> int:
        """The transport-wide sequence number alone, -1 without one: the one that every packet is asked for."""
        wanted = self.transport_cc
        if not wanted or not packet.profile:
            return -1
        for number, value in elements(packet.profile, packet.extension):
            if number == wanted and len(value) >= 2:
                return value[0] << 8 | value[1]
        return -1

    def read(self, packet: RtpPacket) -> Extensions:
        if not packet.profile:
            return _NOTHING
        values = packet.extensions()
        sequence = values.get(self.transport_cc, b"")
        sent = values.get(self.abs_send_time, b"")
        level = values.get(self.audio_level, b"")
        return Extensions(
            _text(values.get(self.mid, b"")),
            _text(values.get(self.rid, b"")),
            _text(values.get(self.repaired_rid, b"")),
            sequence[0] << 8 | sequence[1] if len(sequence) >= 2 else -1,
            int.from_bytes(sent[:3], "big") if len(sent) >= 3 else -1,
            level[0] & 127 if level else -1,
            bool(level and level[0] & 128),
        )


def abs_send_time(seconds: float) -> bytes:
    """The value of that extension: 24 bits, seconds in 6.18 fixed point."""
    return (int(seconds * (1 << 18)) & 0xFFFFFF).to_bytes(3, "big")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
