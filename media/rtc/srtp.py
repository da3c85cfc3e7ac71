"""SRTP of one peer, with libsrtp's functions called directly.

pylibsrtp's own `protect` copies each packet in and out and makes an int for its length; here a packet is copied once,
into a slot from which the socket sends it. The sessions, and the keys in them, are the ones that aiortc set up.
"""

from __future__ import annotations

from typing import Any

from pylibsrtp import Session, ffi, lib  # type: ignore[attr-defined]  # it does not say that it exports them

SLOT = 2048
SLOTS = 64
"""As many segments as any kernel takes in one send (UDP_MAX_SEGMENTS of the older ones)."""
MAX_PACKET = SLOT - 160
"""Room for the tag, the index of RTCP and what else libsrtp may add."""

AUTHENTICATION_FAILED = 7
REPLAYED = frozenset({9, 10})


class Slots:
    """Where packets are protected: shared by all peers of a port, as each is sent before the next is made."""

    __slots__ = ("_memory", "cells", "length", "views")

    def __init__(self) -> None:
        self._memory: Any = ffi.new(f"char[{SLOT * SLOTS}]")
        self.cells: list[Any] = [self._memory + SLOT * slot for slot in range(SLOTS)]
        whole = memoryview(ffi.buffer(self._memory))
        self.views = [whole[SLOT * slot : SLOT * (slot + 1)] for slot in range(SLOTS)]
        self.length: Any = ffi.new("int *")


class SrtpRefused(Exception):
    """libsrtp takes a packet for forged, repeated or not a packet; `code` is its number for it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Srtp:
    __slots__ = ("_receiving", "_sending", "_sessions")

    def __init__(self, receiving: Session, sending: Session) -> None:
        self._sessions = (receiving, sending)  # they free what the two below point to
        self._receiving: Any = receiving._srtp[0]
        self._sending: Any = sending._srtp[0]

    def protect(self, packet: bytes | bytearray | memoryview, slots: Slots, slot: int = 0) -> memoryview:
        """The protected packet, in the slot until its next use. Raises SrtpRefused, and ValueError over MAX_PACKET."""
        size = len(packet)
        if size > MAX_PACKET:
            raise ValueError("the packet is too long")
        view, length = slots.views[slot], slots.length
        view[:size] = packet
        length[0] = size
        if code := lib.srtp_protect(self._sending, slots.cells[slot], length):
            raise SrtpRefused(code)
        return view[: length[0]]

    def protect_rtcp(self, packet: bytes, slots: Slots) -> memoryview:
        size = len(packet)
        if size > MAX_PACKET:
            raise ValueError("the packet is too long")
        view, length = slots.views[0], slots.length
        view[:size] = packet
        length[0] = size
        if code := lib.srtp_protect_rtcp(self._sending, slots.cells[0], length):
            raise SrtpRefused(code)
        return view[: length[0]]

    def unprotect(self, packet: bytes, slots: Slots, *, rtcp: bool) -> bytes:
        """The plain packet. Raises SrtpRefused."""
        size = len(packet)
        if size > SLOT:
            raise SrtpRefused(0)
        view, length = slots.views[0], slots.length
        view[:size] = packet
        length[0] = size
        unprotect = lib.srtp_unprotect_rtcp if rtcp else lib.srtp_unprotect
        if code := unprotect(self._receiving, slots.cells[0], length):
            raise SrtpRefused(code)
        return bytes(view[: length[0]])
