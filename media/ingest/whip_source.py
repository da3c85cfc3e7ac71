"""One source (SSRC) of a WebRTC publisher: packets in any order, frames with their place in time out.

A Source lives from its first packet until its session ends or another source takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from media.protocols.rtp.av1 import Av1Depacketizer
from media.protocols.rtp.clock import SourceClock
from media.protocols.rtp.frames import Depacketizer, Frame
from media.protocols.rtp.h264 import H264Depacketizer
from media.protocols.rtp.jitter import JitterBuffer
from media.protocols.rtp.opus import OpusDepacketizer
from media.protocols.rtp.packet import RtpPacket
from media.protocols.rtp.rtcp import ReportBlock
from media.protocols.rtp.vp9 import Vp9Depacketizer
from media.samples import Codec, Track

Placed = tuple[float, Frame]
"""Seconds on the sender's timeline, and the frame."""
DEPACKETIZERS: Mapping[Codec, Callable[[], Depacketizer | OpusDepacketizer]] = {
    Codec.H264: H264Depacketizer,
    Codec.VP9: Vp9Depacketizer,
    Codec.AV1: Av1Depacketizer,
    Codec.OPUS: OpusDepacketizer,
}
FIRST_KEY_WITHIN = 0.5
"""Seconds in which a picture's first key frame may come by itself."""


class Source:
    """rid: of its simulcast layer, "" without."""

    def __init__(self, ssrc: int, codec: Codec, rid: str, clock: SourceClock, wait: float, now: float) -> None:
        """wait: how long a missing packet is waited for, s."""
        self.ssrc = ssrc
        self.codec = codec
        self.rid = rid
        self.clock = clock
        self.jitter = JitterBuffer(clock.rate, max_wait=wait)
        self.track: Track | None = None
        self.bytes = 0
        self.plis = 0
        self.last_packet = now
        self.last_key = now
        """When the last key frame was whole, at first when the source began."""
        self.asked_key = 0.0
        self.depacketizer = DEPACKETIZERS[codec]()
        self._asked: dict[int, float] = {}
        self._began = now
        self._lost_told = 0

    def push(self, packet: RtpPacket, arrival: float, *, repaired: bool = False) -> list[Placed]:
        self.last_packet = arrival
        return self._frames(self.jitter.push(packet, arrival, repaired=repaired), arrival)

    def expire(self, now: float) -> list[Placed]:
        """What waited for packets that will not come any more."""
        return self._frames(self.jitter.expire(now), now)

    def missing(self, now: float, rtt: float) -> list[int]:
        """Sequence numbers to ask for again, now."""
        wanted = self.jitter.nacks(now, rtt)
        if wanted:
            if len(self._asked) > 1024:
                self._asked.clear()
            for sequence in wanted:
                self._asked.setdefault(sequence, now)
        return wanted

    def answered(self, sequence: int, now: float) -> float | None:
        """A retransmission came: how long after it was first asked for, s."""
        asked = self._asked.pop(sequence, None)
        return None if asked is None else now - asked

    def wants_key(self, now: float) -> bool:
        """Whether nothing can be shown until a key frame comes; at the start it may come by itself."""
        return self.depacketizer.wants_key and (self.track is not None or now - self._began > FIRST_KEY_WITHIN)

    def report(self, now: float) -> ReportBlock:
        return self.jitter.report(self.ssrc, *self.clock.last_report(now))

    def _frames(self, packets: Sequence[RtpPacket], arrival: float) -> list[Placed]:
        found: list[Placed] = []
        for packet in packets:
            self.bytes += len(packet.payload)
            for frame in self.depacketizer.push(packet):
                if frame.track is not None:
                    self.track = frame.track
                if frame.key:
                    self.last_key = arrival
                found.append((self.clock.position(frame.timestamp, arrival), frame))
        return found
