"""Track and Sample: the one currency of all media code.

Everything that brings media in produces samples, everything that takes media out reads them. A Track describes one
elementary stream until its decoder configuration changes (then there is a new Track with the same `id`); a Sample is
one coded frame of it. Both are immutable and may be shared by every reader without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    VIDEO = "video"
    AUDIO = "audio"


class Codec(StrEnum):
    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"
    AAC = "aac"
    OPUS = "opus"

    @property
    def kind(self) -> Kind:
        return Kind.AUDIO if self in (Codec.AAC, Codec.OPUS) else Kind.VIDEO


VIDEO_TIMESCALE = 90_000
"""Ticks per second of every video track, as in MPEG-TS and RTP."""


@dataclass(frozen=True, slots=True)
class Track:
    """One elementary stream.

    id: 1 for the video and 2 for the audio of a broadcast. timescale: ticks per second of `Sample.dts` and `pts`
    (VIDEO_TIMESCALE for video, the sample rate for AAC, 48000 for Opus). config: the decoder configuration as the
    file format carries it: avcC, hvcC, av1C or vpcC body; AudioSpecificConfig (ISO/IEC 14496-3); OpusHead without its
    magic, that is the body of dOps in RFC 7845 byte order. codec_string: RFC 6381, for CODECS. sample_rate in Hz,
    width and height in pixels, frame_rate in frames per second as the encoder claims it (0.0 when it does not).
    """

    id: int
    codec: Codec
    timescale: int
    config: bytes
    codec_string: str
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0

    @property
    def kind(self) -> Kind:
        return self.codec.kind

    def continues(self, before: Track) -> bool:
        """Whether this is the same picture in another configuration, such as another size: then the timeline goes on.
        Sound is not cut where a picture begins, and what has another codec or clock is another stream."""
        return self.kind is Kind.VIDEO and (self.codec, self.timescale) == (before.codec, before.timescale)


class Sample(NamedTuple):
    """One coded frame: times in ticks of its track, from a start of the publisher's choosing.

    data: H.264 and HEVC as length-prefixed NAL units (the length size is in the track's config), AV1 as a temporal unit
    in low-overhead format without the temporal delimiter, VP9 a frame, AAC a raw frame, Opus a packet. duration: in
    ticks when the codec fixes it (audio), else 0 and the next decode time tells.
    """

    track: int
    dts: int
    pts: int
    key: bool
    data: bytes
    duration: int = 0
