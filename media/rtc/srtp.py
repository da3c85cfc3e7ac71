"""SRTP of one peer, with libsrtp's functions called directly.

pylibsrtp's own `protect` copies each packet in and out and makes an int for its length; here a packet is copied once,
into memory from which the socket sends it, and the packets of a run are protected without a line of Python for each.
The sessions, and the keys in them, are the ones that aiortc set up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from pylibsrtp import Session, ffi, lib  # type: ignore[attr-defined]  # it does not say that it exports them

SLOT = 2048
SLOTS = 64
"""As many packets as any kernel takes in one send (UDP_MAX_SEGMENTS of the older ones)."""
MAX_PACKET = SLOT - 160
"""Room for the tag, the index of RTCP and what else libsrtp may add."""

AUTHENTICATION_FAILED = 7
REPLAYED = frozenset({9, 10})


class Slots:
    """Where packets are protected: shared by all peers of a port, as each is sent before the next is made. A run lies
    there as one piece, each packet where the one before it will end: so it takes one copy in, and one send."""

    __slots__ = ("_cells", "_stride", "lengths", "memory", "sizes", "slots", "view")

    def __init__(self) -> None:
        self.memory: Any = ffi.new(f"char[{SLOT * SLOTS}]")
        self.view = memoryview(ffi.buffer(self.memory))
        self.sizes: Any = ffi.new(f"int[{SLOTS}]")
        self.lengths = memoryview(ffi.buffer(self.sizes))
        """The same as bytes."""
        self.slots: list[Any] = [self.sizes + slot for slot in range(SLOTS)]
        self._stride = 0
        self._cells: list[Any] = []

    def cells(self, stride: int, count: int) -> list[Any]:
        """Where at least so many packets begin that are so far from each other. All viewers of a frame ask the same."""
        if stride != self._stride:
            self._stride, self._cells = stride, []
        cells = self._cells
        while len(cells) < count:
            cells.append(self.memory + stride * len(cells))
        return cells


class SrtpRefused(Exception):
    """libsrtp takes a packet for forged, repeated or not a packet; `code` is its number for it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Srtp:
    """growth: bytes that a packet is longer once it is protected; 0 as long as none was."""

    __slots__ = ("_gap", "_receiving", "_sending", "_sessions", "growth")

    def __init__(self, receiving: Session, sending: Session) -> None:
        self._sessions = (receiving, sending)  # they free what the two below point to
        self._receiving: Any = receiving._srtp[0]
        self._sending: Any = sending._srtp[0]
        self._gap = b""
        self.growth = 0

    def protect(self, packet: bytes | bytearray | memoryview, slots: Slots) -> memoryview:
        """The protected packet, in the slots until their next use. Raises SrtpRefused, and ValueError over
        MAX_PACKET."""
        size = len(packet)
        length = self._make(lib.srtp_protect, packet, slots)
        if not self.growth:
            self.growth, self._gap = length - size, bytes(length - size)
        return slots.view[:length]

    def protect_run(self, packets: Sequence[bytes], size: int, last: int, slots: Slots) -> memoryview:
        """The same for packets that have `size` bytes but the last of them; `growth` has to be known. They follow each
        other without a gap. Raises SrtpRefused when any of them was refused, and ValueError."""
        if max(size, last) > MAX_PACKET or len(packets) > SLOTS:
            raise ValueError("the packets are too long or too many")
        count, stride = len(packets), size + self.growth
        plain = self._gap.join(packets)
        slots.view[: len(plain)] = plain
        slots.lengths[: 4 * count] = size.to_bytes(4, sys.byteorder) * count
        sizes = slots.sizes
        sizes[count - 1] = last
        codes = list(map(lib.srtp_protect, repeat(self._sending, count), slots.cells(stride, count), slots.slots))
        if any(codes):
            raise SrtpRefused(max(codes))
        return slots.view[: stride * (count - 1) + sizes[count - 1]]

    def protect_rtcp(self, packet: bytes, slots: Slots) -> memoryview:
        return slots.view[: self._make(lib.srtp_protect_rtcp, packet, slots)]

    def unprotect(self, packet: bytes, slots: Slots, *, rtcp: bool) -> bytes:
        """The plain packet. Raises SrtpRefused."""
        size = len(packet)
        if size > SLOT:
            raise SrtpRefused(0)
        view, length = slots.view, slots.sizes
        view[:size] = packet
        length[0] = size
        unprotect = lib.srtp_unprotect_rtcp if rtcp else lib.srtp_unprotect
        if code := unprotect(self._receiving, slots.memory, length):
            raise SrtpRefused(code)
        return bytes(view[: length[0]])

    def _make(self, protect: Any, packet: bytes | bytearray | memoryview, slots: Slots) -> int:
        size = len(packet)
        if size > MAX_PACKET:
            raise ValueError("the packet is too long")
        length = slots.sizes
        slots.view[:size] = packet
        length[0] = size
        if code := protect(self._sending, slots.memory, length):
            raise SrtpRefused(code)
        return int(length[0])
