"""Retransmission (RFC 4588): packets sent again, in a stream of their own, and what is kept to send them from."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Generic, TypeVar

from media.protocols.rtp.packet import RtpPacket

Kept = TypeVar("Kept")


def unwrap(packet: RtpPacket, *, payload_type: int, ssrc: int) -> RtpPacket | None:
    """The packet that was sent again; None for padding, which probes the path.

    payload_type and ssrc: of the stream that it belongs to, as the SDP ties them together.
    """
    payload = packet.payload
    if len(payload) < 3:
        return None
    return RtpPacket(
        payload_type,
        payload[0] << 8 | payload[1],
        packet.timestamp,
        ssrc,
        payload[2:],
        marker=packet.marker,
        profile=packet.profile,
        extension=packet.extension,
    )


def payload(sequence: int, original: bytes) -> bytes:
    """The payload of a retransmission: the first packet's sequence number before what it carried."""
    return (sequence & 0xFFFF).to_bytes(2, "big") + original


class History(Generic[Kept]):
    """The last packets sent of one source, to answer NACKs from; lives as long as the source.

    What is kept is the caller's: a payload shared by all viewers, or where to find it.
    """

    def __init__(self, capacity: int = 1024) -> None:
        """capacity: packets, a power of two up to 32768."""
        if capacity & (capacity - 1) or not 2 <= capacity <= 1 << 15:
            raise ValueError("the capacity of a history is a power of two up to 32768")
        self.resent = 0
        self.refused = 0
        """Asked for, but no longer kept, or sent again a moment ago."""
        self._mask = capacity - 1
        self._sequences = [-1] * capacity
        self._kept: list[Kept | None] = [None] * capacity
        self._resent_at = [-inf] * capacity

    def keep(self, sequence: int, what: Kept) -> None:
        """sequence: 16 bits."""
        slot = sequence & self._mask
        self._sequences[slot] = sequence
        self._kept[slot] = what
        self._resent_at[slot] = -inf

    def asked(self, sequences: Iterable[int], now: float, rtt: float) -> list[tuple[int, Kept]]:
        """What to send again: each packet at most once within a round trip, so that no receiver makes us a flood."""
        found: list[tuple[int, Kept]] = []
        for sequence in sequences:
            slot = sequence & self._mask
            what = self._kept[slot]
            if what is None or self._sequences[slot] != sequence or now - self._resent_at[slot] < rtt:
                self.refused += 1
                continue
            self._resent_at[slot] = now
            found.append((sequence, what))
        self.resent += len(found)
        return found

    def clear(self) -> None:
        """Let go of everything that is kept."""
        size = self._mask + 1
        self._sequences = [-1] * size
        self._kept = [None] * size
        self._resent_at = [-inf] * size
