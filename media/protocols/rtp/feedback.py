"""The transport-wide congestion control message (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).

It says of each packet, numbered across the streams of one transport, whether and when it came.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from media.protocols.errors import RtpError

TYPE, FORMAT = 205, 15
TICK = 0.000_25
"""Seconds of one unit of a delta."""
REFERENCE = 256
"""Ticks of one unit of the reference time (64 ms)."""
MAX_STATUSES = 1024
"""Packets that one message may tell of. The format allows 65535, which a few bytes could claim, over and over."""
_RUN = 0x1FFF
_head = struct.Struct(">IIHH")


class TransportFeedback(NamedTuple):
    """base: the first packet's 16-bit number. reference: 24 bits, units of 64 ms. number: of this message, 8 bits.
    deltas: for each packet from `base` on, ticks of 250 µs since the one before it that came (the first: since
    `reference`), None when it did not come."""

    sender: int
    source: int
    base: int
    reference: int
    number: int
    deltas: tuple[int | None, ...]

    def build(self) -> bytes:
        """The RTCP packet: run-length chunks where they are shorter, else vectors of one or two bits.
        Raises ValueError for a delta beyond 16 bits or for too many packets."""
        deltas = self.deltas
        if len(deltas) > MAX_STATUSES:
            raise ValueError(f"one feedback message tells of {MAX_STATUSES} packets at most")
        symbols = bytes(0 if delta is None else 1 if 0 <= delta <= 255 else 2 for delta in deltas)
        parts = [
            _head.pack(self.sender, self.source, self.base & 0xFFFF, len(deltas)),
            ((self.reference & 0xFFFFFF) << 8 | self.number & 0xFF).to_bytes(4, "big"),
            _chunks(symbols),
        ]
        for delta in deltas:
            if delta is None:
                continue
            if not -32768 <= delta <= 32767:
                raise ValueError(f"a delta of {delta} ticks does not fit 16 bits")
            parts.append(bytes((delta,)) if 0 <= delta <= 255 else struct.pack(">h", delta))
        body = b"".join(parts)
        body += bytes(-len(body) % 4)
        return struct.pack(">BBH", 0x80 | FORMAT, TYPE, len(body) // 4) + body

    @classmethod
    def parse(cls, body: bytes) -> TransportFeedback:
        """body: what follows the RTCP header. Raises RtpError."""
        if len(body) < 16:
            raise RtpError("a transport feedback message ends too early")
        sender, source, base, count = _head.unpack_from(body)
        if count > MAX_STATUSES:
            raise RtpError(f"a transport feedback message tells of more than {MAX_STATUSES} packets")
        reference, number = int.from_bytes(body[12:15], "big"), body[15]
        symbols, at = _symbols(body, count)
        if 3 in symbols:
            raise RtpError("a transport feedback message holds a reserved status")
        if at + symbols.count(1) + 2 * symbols.count(2) > len(body):
            raise RtpError("a transport feedback message ends within its deltas")
        deltas: list[int | None] = []
        for symbol in symbols:
            if symbol == 1:
                deltas.append(body[at])
                at += 1
            elif symbol == 2:
                deltas.append(int.from_bytes(body[at : at + 2], "big", signed=True))
                at += 2
            else:
                deltas.append(None)
        return cls(sender, source, base, reference, number, tuple(deltas))


def _symbols(body: bytes, count: int) -> tuple[list[int], int]:
    """The status of each packet, and where the deltas begin."""
    symbols: list[int] = []
    at = 16
    while len(symbols) < count:
        if at + 2 > len(body):
            raise RtpError("a transport feedback message ends within its statuses")
        chunk = body[at] << 8 | body[at + 1]
        at += 2
        if not chunk & 0x8000:
            symbols += [chunk >> 13] * min(chunk & _RUN, count - len(symbols))
            if not chunk & _RUN:
                raise RtpError("a transport feedback message holds an empty run")
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    del symbols[count:]
    return symbols, at


def _chunks(symbols: bytes) -> bytes:
    out = bytearray()
    at, end = 0, len(symbols)
    while at < end:
        first = symbols[at]
        run = 1
        while at + run < end and run < _RUN and symbols[at + run] == first:
            run += 1
        if run >= 14 or at + run == end or (run >= 7 and first == 2):
            out += struct.pack(">H", first << 13 | run)
            at += run
            continue
        piece = symbols[at : at + 14]
        if 2 in piece:
            piece = piece[:7]
            chunk, width, places = 0xC000, 2, 7
        else:
            chunk, width, places = 0x8000, 1, 14
        for i, symbol in enumerate(piece):
            chunk |= symbol << width * (places - 1 - i)
        out += struct.pack(">H", chunk)
        at += len(piece)
    return bytes(out)
