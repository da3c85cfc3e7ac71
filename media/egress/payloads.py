"""Which tracks can be sent by RTP, and as what."""

from __future__ import annotations

from typing import Protocol

from media.protocols.errors import MediaError
from media.protocols.rtp.av1 import Av1Packetizer
from media.protocols.rtp.h264 import H264Packetizer, Reordering, may_reorder
from media.protocols.rtp.vp9 import Vp9Packetizer
from media.samples import Codec, Sample, Track


class NotPlayable(Exception):
    """The stream cannot be played by WebRTC. code: stable, for programs; words: for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Packetiser(Protocol):
    """One track's samples as payloads."""

    @property
    def may_reorder(self) -> bool:
        """Whether the stream may have B-frames."""
        ...

    @property
    def left_out(self) -> int:
        """B-frames that no other frame needs, and RTP cannot carry."""
        ...

    def payloads(self, sample: Sample) -> list[bytes]:
        """Empty when the sample is not sent. Raises MediaError for a damaged one, NotPlayable for the whole stream."""
        ...


class _H264:
    def __init__(self, track: Track) -> None:
        self._may_reorder = may_reorder(track)
        self._packetizer = H264Packetizer(track)
        self._reordering = Reordering(track)

    @property
    def may_reorder(self) -> bool:
        return self._may_reorder

    @property
    def left_out(self) -> int:
        return self._reordering.left_out

    def payloads(self, sample: Sample) -> list[bytes]:
        if self._may_reorder and not self._reordering.sendable(sample):
            if self._reordering.needed:
                raise NotPlayable(
                    "b_frames",
                    "The picture has B-frames that other frames depend on; WebRTC cannot play those. Turn them off in "
                    "the encoder (x264: bframes=0), or play by HLS.",
                )
            return []
        return self._packetizer.payloads(sample)


class _Plain:
    """Codecs that are sent as they are decoded."""

    may_reorder = property(lambda self: False)
    left_out = property(lambda self: 0)

    def __init__(self, packetizer: Vp9Packetizer | Av1Packetizer) -> None:
        self.payloads = packetizer.payloads


class _Opus:
    may_reorder = property(lambda self: False)
    left_out = property(lambda self: 0)

    def payloads(self, sample: Sample) -> list[bytes]:
        return [sample.data]


def packetiser_of(track: Track) -> Packetiser:
    """Raises NotPlayable."""
    if track.codec is Codec.OPUS:
        return _Opus()
    if track.codec is Codec.H264:
        try:
            return _H264(track)
        except MediaError as error:
            raise NotPlayable("codec_not_playable", f"The picture cannot be sent by WebRTC: {error}.") from error
    if track.codec is Codec.VP9:
        return _Plain(Vp9Packetizer())
    if track.codec is Codec.AV1:
        return _Plain(Av1Packetizer())
    name = "HEVC" if track.codec is Codec.HEVC else "AAC"
    raise NotPlayable("codec_not_playable", f"{name} is not sent by WebRTC. Play by HLS, or send H.264.")
