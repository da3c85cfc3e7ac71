"""The receiver's buffer: packets of one source in their order, gaps held open for a while, and what to ask for again.

A JitterBuffer lives as long as its source (one SSRC). It holds at most `capacity` packets and hands each on as soon as
those before it have come or were given up; the gap shows in the sequence numbers. Times are seconds of any clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from media.protocols.rtp.packet import RtpPacket
from media.protocols.rtp.rtcp import ReportBlock

CAPACITY = 2048
MAX_WAIT = 0.5
REORDER = 0.01
RETRY = 0.02
MAX_TRIES = 10
MAX_NACKS = 512
"""Sequence numbers asked for at once; when more are missing, it takes a key frame anyway."""


class _Gap:
    __slots__ = ("due", "noticed", "tries")

    def __init__(self, noticed: float, due: float) -> None:
        self.noticed = noticed
        self.due = due
        self.tries = 0


class JitterBuffer:
    def __init__(
        self,
        rate: int,
        *,
        capacity: int = CAPACITY,
        max_wait: float = MAX_WAIT,
        reorder: float = REORDER,
        max_tries: int = MAX_TRIES,
    ) -> None:
        """rate: ticks a second of the timestamps. capacity: packets, a power of two up to 16384. max_wait: how long a
        gap is held open. reorder: how long a packet may be late before it is asked for. max_tries: how often it is."""
        if capacity & (capacity - 1) or not 2 <= capacity <= 16384:
            raise ValueError("the capacity of a jitter buffer is a power of two up to 16384")
        self.received = 0
        """Packets that came by themselves, duplicates left out."""
        self.duplicates = 0
        self.late = 0
        """Came after they had been given up."""
        self.lost = 0
        """Given up."""
        self.recovered = 0
        """Gaps closed by a retransmission."""
        self.requested = 0
        self.restarts = 0
        """Times the sequence numbers began anew elsewhere."""
        self.jitter = 0.0
        """Interarrival jitter in ticks (RFC 3550, A.8)."""
        self._rate = rate
        self._capacity = capacity
        self._mask = capacity - 1
        self._max_wait = max_wait
        self._reorder = reorder
        self._max_tries = max_tries
        self._ring: list[RtpPacket | None] = [None] * capacity
        self._held = 0
        self._next = -1  # number, unwrapped, of the packet to hand on next; -1 before the first
        self._highest = -1
        self._missing: dict[int, _Gap] = {}  # in the order of their numbers
        self._given_up: dict[int, None] = {}
        self._stray: RtpPacket | None = None  # far off: if its neighbour comes, the sender has begun anew
        self._transit = -1
        self._base = 0
        self._base_received = 0
        self._told_expected = self._told_received = 0

    def push(self, packet: RtpPacket, arrival: float, *, repaired: bool = False) -> Sequence[RtpPacket]:
        """The packets that are now in order. repaired: it came as a retransmission."""
        following = self._next
        if following < 0:
            self._begin(packet.sequence)
            following = self._next
        ahead = (packet.sequence - following) & 0xFFFF
        if not repaired:
            transit = int(arrival * self._rate) - packet.timestamp & 0xFFFFFFFF
            if self._transit >= 0:
                change = (transit - self._transit) & 0xFFFFFFFF
                if change > 0x7FFFFFFF:
                    change = 0x100000000 - change
                self.jitter += (change - self.jitter) / 16
            self._transit = transit
        if not ahead and following > self._highest:
            self._highest = following
            self._next = following + 1
            self.received += 1
            self._stray = None
            return (packet,)
        return self._out_of_order(packet, ahead, arrival, repaired)

    def _out_of_order(self, packet: RtpPacket, ahead: int, arrival: float, repaired: bool) -> Sequence[RtpPacket]:
        if ahead > 0x7FFF:
            ahead -= 0x10000
        if not -self._capacity < ahead < self._capacity:
            return self._far_off(packet, repaired)
        self._stray = None
        number = self._next + ahead
        if ahead < 0:
            if number in self._given_up:
                del self._given_up[number]
                self.late += 1
                self.received += not repaired
            else:
                self.duplicates += 1
            return ()
        slot = number & self._mask
        if self._ring[slot] is not None:
            self.duplicates += 1
            return ()
        if number > self._highest:
            for missing in range(self._highest + 1, number):
                self._missing[missing] = _Gap(arrival, arrival + self._reorder)
            self._highest = number
        elif self._missing.pop(number, None) is not None and repaired:
            self.recovered += 1
        self.received += not repaired
        self._ring[slot] = packet
        self._held += 1
        return self._in_order([]) if number == self._next else ()

    def expire(self, now: float) -> Sequence[RtpPacket]:
        """Give up the gaps that were open for too long; the packets that waited for them."""
        if not self._missing:
            return ()
        out: list[RtpPacket] = []
        while self._missing:
            number, gap = next(iter(self._missing.items()))
            if gap.noticed + self._max_wait > now:
                break
            self._give_up(number)
            self._next = number + 1
            self._in_order(out)
        return out

    def nacks(self, now: float, rtt: float = 0.1) -> list[int]:
        """The 16-bit sequence numbers to ask for now. rtt: seconds; nothing is asked for again within it, nor when it
        would come too late."""
        if not self._missing:
            return []
        wanted = []
        for number, gap in self._missing.items():
            if gap.due > now or gap.tries >= self._max_tries or gap.noticed + self._max_wait < now + rtt:
                continue
            gap.tries += 1
            gap.due = now + max(RETRY, rtt)
            wanted.append(number & 0xFFFF)
            if len(wanted) >= MAX_NACKS:
                break
        self.requested += len(wanted)
        return wanted

    def deadline(self) -> float | None:
        """When `expire` or `nacks` has something to do next; None while nothing is missing."""
        if not self._missing:
            return None
        first = next(iter(self._missing.values()))
        due = (gap.due for gap in self._missing.values() if gap.tries < self._max_tries)
        return min(first.noticed + self._max_wait, min(due, default=first.noticed + self._max_wait))

    def flush(self) -> Sequence[RtpPacket]:
        """Everything that is held, when nothing more will come."""
        out: list[RtpPacket] = []
        while self._missing:
            number = next(iter(self._missing))
            self._give_up(number)
            self._next = number + 1
            self._in_order(out)
        return out

    def report(self, ssrc: int, last_report: int = 0, delay: int = 0) -> ReportBlock:
        """The block about this source for a receiver report, over the time since the last one (RFC 3550, A.3)."""
        expected = max(0, self._highest - self._base + 1)
        received = self.received - self._base_received
        over, came = expected - self._told_expected, received - self._told_received
        self._told_expected, self._told_received = expected, received
        fraction = min(255, ((over - came) << 8) // over) if over > came and over > 0 else 0
        return ReportBlock(
            ssrc,
            fraction,
            expected - received,
            max(0, self._highest) & 0xFFFFFFFF,
            int(self.jitter),
            last_report,
            delay,
        )

    @property
    def held(self) -> int:
        """Packets that wait for a gap to close."""
        return self._held

    def _begin(self, sequence: int) -> None:
        """Numbers go on rising: the new place lies above every number before."""
        ahead = (sequence - self._highest - 1) & 0xFFFF
        self._next = self._base = self._highest + 1 + ahead
        self._highest = self._next - 1
        self._base_received = self.received
        self._told_expected = self._told_received = 0

    def _far_off(self, packet: RtpPacket, repaired: bool) -> Sequence[RtpPacket]:
        """One packet may be nonsense; two in a row are a sender that has begun anew (RFC 3550, A.1)."""
        stray, self._stray = self._stray, packet
        if repaired or stray is None or (stray.sequence + 1) & 0xFFFF != packet.sequence:
            return ()
        out = list(self.flush())
        self._stray = None
        self._given_up.clear()
        self.restarts += 1
        self._begin(stray.sequence)
        self._next += 2
        self._highest += 2
        self.received += 2
        out += (stray, packet)
        return out

    def _give_up(self, number: int) -> None:
        del self._missing[number]
        self.lost += 1
        self._given_up[number] = None
        if len(self._given_up) > self._capacity:
            del self._given_up[next(iter(self._given_up))]

    def _in_order(self, out: list[RtpPacket]) -> list[RtpPacket]:
        ring, mask, at = self._ring, self._mask, self._next
        while (packet := ring[at & mask]) is not None:
            ring[at & mask] = None
            out.append(packet)
            at += 1
        self._held -= at - self._next
        self._next = at
        return out
