"""One RTP stream to one viewer: headers of its own before payloads that all viewers share.

An Outgoing numbers packets, knows what it has sent for as long as it may be asked for again (RFC 4585 NACK; RTX of
RFC 4588 when that was agreed), and counts what its sender reports say. It lives as long as the viewer's session.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import add

from media.egress.clock import ProgrammeClock
from media.protocols.rtp.packet import HEADER, ONE_BYTE
from media.protocols.rtp.rtcp import SenderReport

_EXTENDED = 0x90
_PLAIN = 0x80
_MARKER = 0x80
_MASK = 0xFFFFFFFF
_osn = struct.Struct(">H").pack


@dataclass(frozen=True, slots=True)
class Format:
    """What was agreed for one codec. rtx: its retransmissions' payload type, None when they were not agreed."""

    payload_type: int
    rtx: int | None = None


class Sent:
    """Packets that went out together. number: of the first, not cut to 16 bits; transport: likewise."""

    __slots__ = ("format", "last", "number", "payloads", "size", "transport", "ts")

    def __init__(
        self, number: int, transport: int, ts: int, payloads: Sequence[bytes], last: bool, format: Format, size: int
    ) -> None:
        self.number = number
        self.transport = transport
        self.ts = ts
        self.payloads = payloads
        self.last = last
        self.format = format
        self.size = size


class Outgoing:
    """rate: ticks of the RTP clock per second. mid, mid_id: the value and local id of that header extension, id 0: not
    used; transport_id: that of the transport-wide sequence number. memory: bytes that are kept to be sent again."""

    def __init__(
        self,
        *,
        ssrc: int,
        rtx_ssrc: int,
        rate: int,
        mid: str = "",
        mid_id: int = 0,
        transport_id: int = 0,
        first: int = 0,
        shift: int = 0,
        memory: int = 1 << 20,
    ) -> None:
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.rate = rate
        self.packets = 0
        self.octets = 0
        self.repeated = 0
        self.last_ts: int | None = None
        """Ticks of the programme, not cut to 32 bits and without `shift`."""
        self._shift = shift
        self._next = first
        self._rtx_next = first
        self._memory = memory
        self._kept: deque[Sent] = deque()
        self._kept_bytes = 0
        self.numbered = transport_id != 0
        self._fixed, self._header = _header(mid if mid_id else "", mid_id, transport_id)
        self._first_byte = _EXTENDED if self._fixed else _PLAIN
        self.overhead = self._header.size

    def build(
        self, payloads: Sequence[bytes], size: int, ts: int, format: Format, transport: int, *, last: bool = True
    ) -> list[bytes]:
        """The packets of a frame, or of a part of it, whose payloads have `size` bytes. ts: ticks of the programme.
        transport: the first packet's transport-wide number. last: the frame ends with them."""
        number = self._next
        count = len(payloads)
        packets = self._packets(payloads, number, ts, format, transport, last)
        self._next = number + count
        self.packets += count
        self.octets += size
        self.last_ts = ts
        self._kept.append(Sent(number, transport, ts, payloads, last, format, size))
        self._kept_bytes += size
        while self._kept_bytes > self._memory:
            self._kept_bytes -= self._kept.popleft().size
        return packets

    def again(self, sequence: int, transport: int) -> tuple[bytes, bool] | None:
        """The packet of that 16-bit number once more, and whether it uses the transport number given; None when it is
        not known any more. By RTX it is a new packet; else it is the same, byte for byte, as SRTP demands."""
        number = self._next - ((self._next - sequence) & 0xFFFF)
        for sent in reversed(self._kept):
            if sent.number <= number:
                at = number - sent.number
                if at >= len(sent.payloads):
                    return None
                return self._repeat(sent, at, transport)
        return None

    def report(self, clock: ProgrammeClock) -> SenderReport | None:
        """What time it is on this stream (RFC 3550, 6.4.1): by it players put picture and sound together."""
        if self.last_ts is None:
            return None
        now = clock.now()
        ts = round(now * self.rate) + self._shift
        return SenderReport(self.ssrc, clock.ntp(now), ts & _MASK, self.packets & _MASK, self.octets & _MASK)

    def _packets(
        self, payloads: Sequence[bytes], number: int, ts: int, format: Format, transport: int, last: bool
    ) -> list[bytes]:
        """Without a line of Python for each packet: this is what all viewers of all broadcasts pass through."""
        count = len(payloads)
        kinds = [format.payload_type] * count
        if last and count:
            kinds[-1] |= _MARKER
        headers = map(
            self._header.pack,
            repeat(self._first_byte),
            kinds,
            _numbers(number, count),
            repeat(ts + self._shift & _MASK),
            repeat(self.ssrc),
            repeat(self._fixed),
            *((_numbers(transport, count),) if self.numbered else ()),
        )
        return list(map(add, headers, payloads))

    def _repeat(self, sent: Sent, at: int, transport: int) -> tuple[bytes, bool]:
        self.repeated += 1
        payload, number = sent.payloads[at], sent.number + at
        last = sent.last and at == len(sent.payloads) - 1
        if sent.format.rtx is None:
            return self._packets([payload], number, sent.ts, sent.format, sent.transport + at, last)[0], False
        kind = sent.format.rtx | (_MARKER if last else 0)
        number_here, ts = self._rtx_next & 0xFFFF, sent.ts + self._shift & _MASK
        self._rtx_next += 1
        values = (self._first_byte, kind, number_here, ts, self.rtx_ssrc, self._fixed)
        header = self._header.pack(*values, transport & 0xFFFF) if self.numbered else self._header.pack(*values)
        return header + _osn(number & 0xFFFF) + payload, True


def _numbers(first: int, count: int) -> Sequence[int]:
    """16 bits each."""
    first &= 0xFFFF
    if first + count <= 0x10000:
        return range(first, first + count)
    return [number & 0xFFFF for number in range(first, first + count)]


def _header(mid: str, mid_id: int, transport_id: int) -> tuple[bytes, struct.Struct]:
    """The header extension up to the transport-wide number (RFC 8285, 4.2), and the whole header's layout."""
    body = b""
    if mid:
        value = mid.encode("ascii")
        body += bytes((mid_id << 4 | len(value) - 1,)) + value
    if transport_id:
        body += bytes((transport_id << 4 | 1,))
    if not body:
        return b"", struct.Struct(">BBHII0s")
    size = len(body) + (2 if transport_id else 0)
    padding = -size % 4
    fixed = struct.pack(">HH", ONE_BYTE, (size + padding) // 4) + body
    layout = f">BBHII{len(fixed)}s{'H' if transport_id else ''}{padding}x"
    made = struct.Struct(layout)
    assert made.size == HEADER + 4 + size + padding
    return fixed, made
