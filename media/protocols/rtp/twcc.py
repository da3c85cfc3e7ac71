"""Transport-wide congestion control: what came when, told by the receiver and put together by the sender.

An ArrivalLog and a SendLog live as long as their peer; both hold a bounded stretch of packets.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from media.protocols.rtp.clock import Unwrapper
from media.protocols.rtp.feedback import REFERENCE, TICK, TransportFeedback

MAX_PENDING = 4096
"""Arrivals that wait for their feedback; beyond them the oldest are not told."""
MAX_MESSAGE = 500
"""Packets that one message tells of: a datagram of usual size holds them."""


class ArrivalLog:
    """The receiver's side."""

    def __init__(self, *, sender: int, source: int = 0) -> None:
        """sender: our own SSRC. source: one of the other side's, which the message wants."""
        self.source = source
        self._sender = sender
        self._numbers = Unwrapper(16)
        self._pending: dict[int, int] = {}  # ticks of the arrival by number
        self._next = -1
        self._count = 0

    def arrived(self, sequence: int, at: float) -> None:
        """sequence: transport-wide, 16 bits. at: seconds of any clock that does not go back."""
        number = self._numbers.unwrap(sequence)
        pending = self._pending
        if number not in pending:
            pending[number] = int(at / TICK)
            if len(pending) > MAX_PENDING:
                del pending[next(iter(pending))]

    def feedback(self) -> list[TransportFeedback]:
        """The messages about what came since the last call; in the usual case one, none when nothing came."""
        pending = self._pending
        if not pending:
            return []
        self._pending = {}
        numbers = sorted(pending)
        first = numbers[0]
        if 0 <= self._next < first and first - self._next < MAX_MESSAGE:
            first = self._next
        self._next = max(self._next, numbers[-1] + 1)
        messages = []
        at = 0
        while at < len(numbers):
            if numbers[at] - first >= MAX_MESSAGE:
                first = numbers[at]
            at, message = self._message(first, numbers, at, pending)
            messages.append(message)
            first += len(message.deltas)
        return messages

    def _message(
        self, first: int, numbers: Sequence[int], at: int, pending: dict[int, int]
    ) -> tuple[int, TransportFeedback]:
        """About the packets from `first` on as far as one message goes, and the index of the first number beyond."""
        reference = pending[numbers[at]] // REFERENCE
        ticks = reference * REFERENCE
        deltas: list[int | None] = []
        while at < len(numbers):
            number = numbers[at]
            delta = pending[number] - ticks
            if number - first >= MAX_MESSAGE or not -32768 <= delta <= 32767:
                break
            deltas += [None] * (number - first - len(deltas))
            deltas.append(delta)
            ticks += delta
            at += 1
        count, self._count = self._count, (self._count + 1) & 0xFF
        message = TransportFeedback(
            self._sender, self.source, first & 0xFFFF, reference & 0xFFFFFF, count, tuple(deltas)
        )
        return at, message


class Acked(NamedTuple):
    """One packet of ours. sent: seconds of our clock; arrived: of the receiver's, None when it did not come. size: in
    bytes."""

    sequence: int
    sent: float
    arrived: float | None
    size: int


class SendLog:
    """The sender's side: numbers each packet, keeps when it went, and reads the feedback."""

    def __init__(self, capacity: int = 1024) -> None:
        """capacity: packets, a power of two up to 32768; feedback about older ones is not understood."""
        if capacity & (capacity - 1) or not 2 <= capacity <= 1 << 15:
            raise ValueError("the capacity of a send log is a power of two up to 32768")
        self._mask = capacity - 1
        self._count = 0
        self._number = array("q", [-1]) * capacity
        self._sent = array("d", [0.0]) * capacity
        self._size = array("I", [0]) * capacity
        self._reference = Unwrapper(24)

    def sent(self, at: float, size: int) -> int:
        """Note a packet that goes now; its transport-wide sequence number, 16 bits. size: bytes on the wire."""
        number = self._count
        self._count = number + 1
        slot = number & self._mask
        self._number[slot] = number
        self._sent[slot] = at
        self._size[slot] = size
        return number & 0xFFFF

    def acknowledged(self, feedback: TransportFeedback) -> list[Acked]:
        """Every packet that the message tells of and that we still know, in the order of sending.

        What came is told once; what did not may be told again, as come or not.
        """
        if not self._count:
            return []
        ticks = self._reference.unwrap(feedback.reference) * REFERENCE
        last = self._count - 1
        back = (last - feedback.base) & 0xFFFF
        number = last - back
        acked = []
        numbers, mask = self._number, self._mask
        sent, sizes = self._sent, self._size
        for delta in feedback.deltas:
            arrived = None
            if delta is not None:
                ticks += delta
                arrived = ticks * TICK
            slot = number & mask
            if numbers[slot] == number >= 0:
                if arrived is not None:
                    numbers[slot] = -1
                acked.append(Acked(number & 0xFFFF, sent[slot], arrived, sizes[slot]))
            number += 1
        return acked
