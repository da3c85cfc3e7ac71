"""Opus over RTP (RFC 7587): each payload is one Opus packet, whatever its length, and the clock is 48 kHz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from media.protocols import opus
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.packet import RtpPacket
from media.samples import Codec, Track

MAX_PAYLOAD = 1275 * 3 + 64
"""More than 120 ms of the highest bit rate come to."""


def track(channels: int = 2) -> Track:
    """RTP carries no OpusHead: the decoder's output is what it says, and nothing is skipped, since the start of a live
    stream is not its encoder's start. Two channels is right for mono streams too (RFC 7587, 4.1)."""
    head = bytes((1, channels, 0, 0)) + opus.RATE.to_bytes(4, "little") + bytes(3)
    return Track(
        id=2,
        codec=Codec.OPUS,
        timescale=opus.RATE,
        config=head,
        codec_string="opus",
        sample_rate=opus.RATE,
        channels=channels,
    )


class OpusDepacketizer:
    """Like `frames.Depacketizer`, but a loss costs only what was lost."""

    wants_key = False

    def __init__(self, channels: int = 2) -> None:
        self.damaged = 0
        """Payloads that are no Opus packets."""
        self.skipped = 0
        self.problem = ""
        self._track: Track | None = track(channels)

    def push(self, packet: RtpPacket) -> Sequence[Frame]:
        payload = packet.payload
        if not payload:
            return ()
        duration = opus.packet_samples(payload) if len(payload) <= MAX_PAYLOAD else 0
        if not duration:
            self.damaged += 1
            self.problem = "the sound is not what its codec says"
            return ()
        described, self._track = self._track, None
        self.problem = ""
        return (Frame(packet.timestamp, payload, True, described, duration),)


def silence(samples: int) -> Iterator[tuple[int, bytes]]:
    """(duration, packet) of stereo silence that fills a hole of so many samples at 48 kHz, up to 2.5 ms.

    For what was lost, and for a sender that sends nothing while nobody speaks (DTX).
    """
    for size, config in ((960, 31), (480, 30), (240, 29), (120, 28)):
        while samples >= size:
            samples -= size
            yield size, bytes((config << 3 | 4, 0xFF, 0xFE))
