"""What went out when, and what transport-wide feedback says of it, by batches instead of packets.

The sender of a picture to many pays for everything once a packet and viewer. The packets of a frame go out in one call:
they are one entry here, and one thing that came or did not, which is how the estimator groups them anyway. A BatchLog
lives as long as its viewer. (`media.protocols.rtp.twcc.SendLog` tells of each packet; it costs three times as much.)
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from media.protocols.errors import RtpError
from media.protocols.rtp.clock import Unwrapper
from media.protocols.rtp.feedback import FORMAT, REFERENCE, TICK, TYPE
from media.protocols.rtp.twcc import Acked

MAX_BATCHES = 1024
_HEADER = 16
_RUN = 0x1FFF
_SMALL, _LARGE = 1, 2


class Told(NamedTuple):
    """What one message told: the batches that came, with the bytes of them that did; packets told of, and lost."""

    came: list[Acked]
    packets: int
    lost: int


class BatchLog:
    def __init__(self) -> None:
        self.next = 0
        """The transport-wide number of the next packet, not cut to 16 bits."""
        self._batches: deque[tuple[int, int, float, int]] = deque(maxlen=MAX_BATCHES)  # first, count, when, bytes
        self._told = 0
        self._reference = Unwrapper(24)

    def sent(self, at: float, count: int, size: int) -> None:
        """count packets of size bytes together went out at that time, s."""
        self._batches.append((self.next, count, at, size))
        self.next += count

    def sent_since(self, at: float) -> bool:
        """Whether anything went out after that time, s."""
        return bool(self._batches) and self._batches[-1][2] > at

    def told(self, body: bytes) -> Told:
        """body: a transport feedback message after its RTCP header. Raises RtpError."""
        if len(body) < _HEADER:
            raise RtpError("a transport feedback message ends too early")
        base, count = body[8] << 8 | body[9], body[10] << 8 | body[11]
        if not self.next or not count:
            return Told([], 0, 0)
        symbols, at = _symbols(body, count)
        plain = symbols.count(_SMALL) == count  # nearly always: all came, one soon after another
        if plain and at + count > len(body):
            raise RtpError("a transport feedback message ends within its deltas")
        number = self.next - 1 - (self.next - 1 - base & 0xFFFF)
        ticks = self._reference.unwrap(int.from_bytes(body[12:15], "big")) * REFERENCE
        begin, done, end = number, 0, number + count
        came: list[Acked] = []
        packets = lost = 0
        for first, many, when, size in self._from(number):
            if first >= end:
                break
            start, stop = max(first, begin) - begin, min(first + many - begin, count)
            arrived = stop - start
            if plain:
                ticks += sum(body[at + done : at + stop])
            else:
                # with what lies between the last batch and this one, of batches that are not known any more
                at, ticks = _pass(body, at, ticks, symbols[done:stop])
                arrived -= symbols.count(0, start, stop)
            done = stop
            if begin + start < self._told:
                continue  # told before
            packets += stop - start
            lost += stop - start - arrived
            if arrived:
                came.append(Acked(begin + start & 0xFFFF, when, ticks * TICK, size * arrived // many))
        self._told = max(self._told, min(end, self.next))
        return Told(came, packets, lost)

    def _from(self, number: int) -> list[tuple[int, int, float, int]]:
        """The batches from the one that holds this number on."""
        found = []
        for batch in reversed(self._batches):
            if batch[0] + batch[1] <= number:
                break
            found.append(batch)
        found.reverse()
        return found


def split_feedback(packet: bytes) -> tuple[list[bytes], bytes]:
    """The bodies of a datagram's transport feedback messages, and all the rest of it for `rtcp.parse`."""
    bodies, rest = [], b""
    at, size = 0, len(packet)
    while at + 4 <= size:
        stop = at + 4 + 4 * (packet[at + 2] << 8 | packet[at + 3])
        if packet[at + 1] == TYPE and packet[at] & 0xDF == 0x80 | FORMAT:
            if stop > size:
                raise RtpError("an RTCP packet is longer than its datagram")
            bodies.append(packet[at + 4 : stop])
        else:
            rest += packet[at:stop]
        at = stop
    return bodies, rest + packet[at:]


def _pass(body: bytes, at: int, ticks: int, symbols: bytes) -> tuple[int, int]:
    """Where the next delta is, and the time of the last packet that came."""
    for symbol in symbols:
        if symbol == _SMALL:
            if at >= len(body):
                raise RtpError("a transport feedback message ends within its deltas")
            ticks += body[at]
            at += 1
        elif symbol == _LARGE:
            if at + 2 > len(body):
                raise RtpError("a transport feedback message ends within its deltas")
            ticks += int.from_bytes(body[at : at + 2], "big", signed=True)
            at += 2
        elif symbol:
            raise RtpError("a transport feedback message holds a reserved status")
    return at, ticks


def _symbols(body: bytes, count: int) -> tuple[bytes, int]:
    """The status of each packet, a byte each, and where the deltas begin."""
    out = bytearray()
    at, end = _HEADER, len(body)
    while len(out) < count:
        if at + 2 > end:
            raise RtpError("a transport feedback message ends within its statuses")
        chunk = body[at] << 8 | body[at + 1]
        at += 2
        if not chunk & 0x8000:
            run = min(chunk & _RUN, count - len(out))
            if not run:
                raise RtpError("a transport feedback message holds an empty run")
            out += bytes((chunk >> 13,)) * run
        elif chunk & 0x4000:
            out += bytes([chunk >> shift & 3 for shift in range(12, -1, -2)])
        else:
            out += bytes([chunk >> shift & 1 for shift in range(13, -1, -1)])
    del out[count:]
    return bytes(out), at
