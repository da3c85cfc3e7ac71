"""What a probe finds out about a source. Plain data that can be stored as JSON and read back (msgspec)."""

from __future__ import annotations

import msgspec


class VideoFacts(msgspec.Struct, frozen=True):
    """The video track that is taken: the default one, else the first.

    index: of the stream in the file. width, height: as it is to be shown: square pixels, turned by `rotation` (degrees,
    clockwise). coded_width, coded_height: as it is stored. frame_rate: mean, frames per second; variable: whether
    frames come at uneven distances. hdr: "", "pq" or "hlg". bit_rate: bit/s, mean. start: time of the first frame
    shown, ticks of the stream; timescale: the numerator and denominator of a tick in seconds. keys: times of the key
    frames at which decoding may begin, ticks. exact: every frame has a time of its own that holds; else frames are
    counted, and the source is one chunk. closed: no picture behind a key frame is shown before it, and each key frame
    is an IDR. decoded: frames that the probe decoded to see that it can be.
    """

    index: int
    codec: str
    profile: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    pixel_format: str
    bits: int
    frame_rate: float
    variable: bool
    interlaced: bool
    hdr: str
    bit_rate: int
    start: int
    end: int
    timescale: tuple[int, int]
    frames: int
    keys: tuple[int, ...]
    exact: bool
    closed: bool
    decoded: int
    config: bytes = b""


class AudioFacts(msgspec.Struct, frozen=True):
    """An audio track. start, end: ticks of the stream. even: its frames follow each other without a hole."""

    index: int
    codec: str
    profile: str
    sample_rate: int
    channels: int
    bit_rate: int
    language: str
    default: bool
    start: int
    end: int
    timescale: tuple[int, int]
    frames: int
    even: bool
    config: bytes = b""


class SourceFacts(msgspec.Struct, frozen=True):
    """format: mp4, matroska, avi or mpegts. size in bytes, duration in seconds: of what is there, not what its head
    claims.

    audio: the track that is taken, of `audio_tracks` (the default one, else the first); the others are not carried on.
    damage: share of the packets that could not be read, 0.0 to 1.0; truncated: the file ends before its tracks do.
    """

    format: str
    size: int
    duration: float
    video: VideoFacts | None
    audio: AudioFacts | None
    audio_tracks: tuple[AudioFacts, ...]
    damage: float = 0.0
    truncated: bool = False

    def summary(self) -> dict[str, object]:
        """What its owner may like to see: small, without the lists."""
        video, audio = self.video, self.audio
        told: dict[str, object] = {
            "format": self.format,
            "size": self.size,
            "duration": round(self.duration, 3),
            "audio_tracks": len(self.audio_tracks),
        }
        if video is not None:
            told |= {
                "width": video.width,
                "height": video.height,
                "frame_rate": round(video.frame_rate, 3),
                "variable_frame_rate": video.variable,
                "rotation": video.rotation,
                "hdr": video.hdr,
                "interlaced": video.interlaced,
                "video_codec": video.codec,
            }
        if audio is not None:
            told |= {"audio_codec": audio.codec, "sample_rate": audio.sample_rate, "channels": audio.channels}
        return told
