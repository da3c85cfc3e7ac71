"""RTCP: reports, descriptions and feedback, parsed and built (RFC 3550, 6; RFC 4585, 6; RFC 5104, 4.3.1).

A datagram holds one packet after the other, compound or of reduced size (RFC 5506): both are read alike. A packet that
is damaged ends the reading with an RtpError; a type or format that we do not know is left out. Transport-wide feedback
is in `feedback.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from media.protocols.errors import RtpError
from media.protocols.rtp.feedback import TransportFeedback

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
MAX_PACKETS = 24
"""RTCP packets read of one datagram."""
CNAME = 1

_sender = struct.Struct(">IQIII")
_block = struct.Struct(">IIIIII")
_pair = struct.Struct(">II")


class ReportBlock(NamedTuple):
    """What one receiver says of one source. fraction: lost of the last interval, in 256ths. lost: since the start,
    signed 24 bits. highest: extended sequence number. jitter: in ticks. last_report: the middle 32 bits of the last
    SR's NTP time, delay: 1/65536 s since it came; both 0 before the first."""

    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    last_report: int = 0
    delay: int = 0

    def build(self) -> bytes:
        lost = max(-0x800000, min(0x7FFFFF, self.lost)) & 0xFFFFFF
        return _block.pack(
            self.ssrc,
            (self.fraction & 0xFF) << 24 | lost,
            self.highest & 0xFFFFFFFF,
            min(self.jitter, 0xFFFFFFFF),
            self.last_report,
            min(self.delay, 0xFFFFFFFF),
        )


class SenderReport(NamedTuple):
    """ntp: 32.32 seconds since 1900. timestamp: RTP time of the same moment."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def build(self) -> bytes:
        body = _sender.pack(
            self.ssrc, self.ntp, self.timestamp & 0xFFFFFFFF, self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF
        )
        return _packet(SR, len(self.blocks), body + b"".join(block.build() for block in self.blocks))


class ReceiverReport(NamedTuple):
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def build(self) -> bytes:
        body = self.ssrc.to_bytes(4, "big") + b"".join(block.build() for block in self.blocks)
        return _packet(RR, len(self.blocks), body)


class Description(NamedTuple):
    """SDES: (ssrc, items) of each source; an item is (type, value), CNAME the one that counts."""

    chunks: tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]

    def build(self) -> bytes:
        body = b""
        for ssrc, items in self.chunks:
            chunk = ssrc.to_bytes(4, "big") + b"".join(bytes((kind, len(value))) + value for kind, value in items)
            body += chunk + bytes(4 - len(chunk) % 4)
        return _packet(SDES, len(self.chunks), body)


class Bye(NamedTuple):
    sources: tuple[int, ...]
    reason: bytes = b""

    def build(self) -> bytes:
        body = b"".join(ssrc.to_bytes(4, "big") for ssrc in self.sources)
        if self.reason:
            text = bytes((len(self.reason),)) + self.reason
            body += text + bytes(-len(text) % 4)
        return _packet(BYE, len(self.sources), body)


class Nack(NamedTuple):
    """RFC 4585, 6.2.1. sequences: the 16-bit sequence numbers that are asked for, in the order of the message."""

    sender: int
    source: int
    sequences: tuple[int, ...]

    def build(self) -> bytes:
        fields = []
        first, mask = -1, 0
        for sequence in self.sequences:
            ahead = (sequence - first) & 0xFFFF
            if first >= 0 and 1 <= ahead <= 16:
                mask |= 1 << (ahead - 1)
                continue
            if first >= 0:
                fields.append(first << 16 | mask)
            first, mask = sequence & 0xFFFF, 0
        if first >= 0:
            fields.append(first << 16 | mask)
        return _packet(RTPFB, 1, _pair.pack(self.sender, self.source) + struct.pack(f">{len(fields)}I", *fields))


class Pli(NamedTuple):
    """Picture loss: a key frame is wanted (RFC 4585, 6.3.1)."""

    sender: int
    source: int

    def build(self) -> bytes:
        return _packet(PSFB, 1, _pair.pack(self.sender, self.source))


class Fir(NamedTuple):
    """Full intra request (RFC 5104, 4.3.1). entries: (ssrc, number of the command, 8 bits) of each source asked."""

    sender: int
    entries: tuple[tuple[int, int], ...]

    def build(self) -> bytes:
        entries = b"".join(_pair.pack(ssrc, (number & 0xFF) << 24) for ssrc, number in self.entries)
        return _packet(PSFB, 4, _pair.pack(self.sender, 0) + entries)


class Remb(NamedTuple):
    """The receiver's estimate (draft-alvestrand-rmcat-remb-03, 2.2). bitrate: bits per second for all `sources`."""

    sender: int
    bitrate: int
    sources: tuple[int, ...] = ()

    def build(self) -> bytes:
        exponent = max(0, self.bitrate.bit_length() - 18)
        value = exponent << 18 | self.bitrate >> exponent
        head = _pair.pack(self.sender, 0) + b"REMB" + (len(self.sources) << 24 | value).to_bytes(4, "big")
        return _packet(PSFB, 15, head + b"".join(ssrc.to_bytes(4, "big") for ssrc in self.sources))


Rtcp = SenderReport | ReceiverReport | Description | Bye | Nack | Pli | Fir | Remb | TransportFeedback


def compound(packets: Iterable[Rtcp]) -> bytes:
    """One datagram of several packets. The first must be a report unless reduced size was agreed (RFC 5506)."""
    return b"".join(packet.build() for packet in packets)


def parse(data: bytes) -> list[Rtcp]:
    """What a datagram holds, unknown packets left out. Raises RtpError."""
    found: list[Rtcp] = []
    at, end = 0, len(data)
    for _ in range(MAX_PACKETS):
        if at == end:
            return found
        if at + 4 > end:
            raise RtpError("an RTCP packet ends within its header")
        first, kind = data[at], data[at + 1]
        if first >> 6 != 2:
            raise RtpError("an RTCP packet is of another version than 2")
        stop = at + 4 + 4 * (data[at + 2] << 8 | data[at + 3])
        if stop > end:
            raise RtpError("an RTCP packet is longer than its datagram")
        body = data[at + 4 : stop]
        if first & 0x20:
            if not body or not body[-1] or body[-1] > len(body):
                raise RtpError("an RTCP packet claims more padding than it has")
            body = body[: -body[-1]]
        packet = _read(kind, first & 31, body)
        if packet is not None:
            found.append(packet)
        at = stop
    raise RtpError(f"a datagram holds more than {MAX_PACKETS} RTCP packets")


def _read(kind: int, count: int, body: bytes) -> Rtcp | None:
    """count: what the five bits after the padding bit say, a number of items or a format."""
    if kind in (RTPFB, PSFB):
        return _feedback(kind, count, body)
    if kind == SR:
        _need(body, 24 + 24 * count)
        ssrc, ntp, timestamp, packets, octets = _sender.unpack_from(body)
        return SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body, 24, count))
    if kind == RR:
        _need(body, 4 + 24 * count)
        return ReceiverReport(_u32(body, 0), _blocks(body, 4, count))
    if kind == SDES:
        return _description(body, count)
    if kind == BYE:
        _need(body, 4 * count)
        rest = body[4 * count :]
        if rest and 1 + rest[0] > len(rest):
            raise RtpError("an RTCP BYE ends within its reason")
        return Bye(_ssrcs(body[: 4 * count]), rest[1 : 1 + rest[0]] if rest else b"")
    return None


def _feedback(kind: int, form: int, body: bytes) -> Rtcp | None:
    _need(body, 8)
    sender, source = _pair.unpack_from(body)
    if kind == RTPFB:
        if form == 1:
            return Nack(sender, source, _sequences(body))
        return TransportFeedback.parse(body) if form == 15 else None
    if form == 1:
        return Pli(sender, source)
    if form == 4:
        entries = range(8, len(body) - 7, 8)
        return Fir(sender, tuple((_u32(body, at), body[at + 4]) for at in entries))
    if form == 15 and body[8:12] == b"REMB":
        _need(body, 16)
        count, value = body[12], _u32(body, 12) & 0xFFFFFF
        _need(body, 16 + 4 * count)
        return Remb(sender, (value & 0x3FFFF) << (value >> 18), _ssrcs(body[16 : 16 + 4 * count]))
    return None


def _sequences(body: bytes) -> tuple[int, ...]:
    found = []
    for at in range(8, len(body) - 3, 4):
        value = _u32(body, at)
        first, mask = value >> 16, value & 0xFFFF
        found.append(first)
        while mask:
            low = mask & -mask
            found.append(first + low.bit_length() & 0xFFFF)
            mask ^= low
    return tuple(found)


def _description(body: bytes, count: int) -> Description:
    chunks = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise RtpError("an RTCP description ends too early")
        ssrc = _u32(body, at)
        at += 4
        items = []
        while True:
            if at >= len(body):
                raise RtpError("an RTCP description ends too early")
            if not body[at]:
                at += 4 - at % 4
                break
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise RtpError("an RTCP description ends too early")
            items.append((body[at], body[at + 2 : at + 2 + body[at + 1]]))
            at += 2 + body[at + 1]
        chunks.append((ssrc, tuple(items)))
    return Description(tuple(chunks))


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    found = []
    for i in range(count):
        ssrc, loss, highest, jitter, last, delay = _block.unpack_from(body, at + 24 * i)
        lost = loss & 0xFFFFFF
        found.append(ReportBlock(ssrc, loss >> 24, lost - ((lost & 0x800000) << 1), highest, jitter, last, delay))
    return tuple(found)


def _ssrcs(body: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(body) // 4}I", body)


def _u32(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 4], "big")


def _need(body: bytes, size: int) -> None:
    if len(body) < size:
        raise RtpError("an RTCP packet ends too early")


def _packet(kind: int, count: int, body: bytes) -> bytes:
    """body: a multiple of four bytes."""
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def nacks(sender: int, source: int, sequences: Sequence[int], limit: int = 256) -> list[Nack]:
    """As many messages as it takes to ask for all of `sequences`, `limit` in each: one stays below 1100 bytes."""
    return [Nack(sender, source, tuple(sequences[i : i + limit])) for i in range(0, len(sequences), limit)]
