"""FLV tag bodies, as RTMP carries them: the legacy headers and those of Enhanced RTMP (v1 and v2).

`parse_video` and `parse_audio` tell what a body is and where its payload lies. What nobody can carry here raises
UnsupportedMedia with a sentence for the encoder's owner; what cannot be read raises MediaError.

`header` and `frame` are the way back: the body of a track's sequence header and of one of its frames.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from media.protocols.errors import MediaError, UnsupportedMedia
from media.protocols.opus import MAGIC
from media.samples import Codec, Sample, Track


class Action(IntEnum):
    HEADER = 0
    FRAME = 1
    END = 2
    IGNORE = 3


class Tag(NamedTuple):
    """composition: presentation minus decode time, ms, may be negative. data: header or frame, without FLV's own."""

    action: Action
    codec: Codec
    key: bool = False
    composition: int = 0
    data: bytes = b""


_LEGACY_VIDEO = {
    1: "JPEG",
    2: "Sorenson H.263",
    3: "Screen Video",
    4: "VP6",
    5: "VP6",
    6: "Screen Video 2",
}
_LEGACY_AUDIO = {
    0: "PCM",
    1: "ADPCM",
    2: "MP3",
    3: "PCM",
    4: "Nellymoser",
    5: "Nellymoser",
    6: "Nellymoser",
    7: "G.711",
    8: "G.711",
    11: "Speex",
    14: "MP3",
    15: "device-specific",
}
_FOURCC_VIDEO = {b"avc1": Codec.H264, b"hvc1": Codec.HEVC, b"av01": Codec.AV1, b"vp09": Codec.VP9}
_FOURCC_AUDIO = {b"mp4a": Codec.AAC, b"Opus": Codec.OPUS}
_FOURCC = {codec: fourcc for fourcc, codec in (*_FOURCC_VIDEO.items(), *_FOURCC_AUDIO.items())}
_KEY, _INTER = 1, 2
_COMMAND = 5
_AAC = 0xAF
"""AAC, 44 kHz, 16 bits, stereo: what every AAC tag says, whatever the sound is (FLV 10.1, E.4.2.1)."""
_ENHANCED_AUDIO = 0x90
_ENHANCED_VIDEO = 0x80
_MOST_COMPOSITION = 0x7FFFFF

LEGACY = frozenset({Codec.H264, Codec.AAC})
"""What every target of RTMP takes; the rest is written as Enhanced RTMP has it."""


def parse_video(body: bytes) -> Tag:
    if not body:
        return Tag(Action.IGNORE, Codec.H264)
    first = body[0]
    if first & 0x80:
        return _enhanced_video(body)
    id, frame = first & 15, first >> 4
    if id not in (7, 12):
        name = _LEGACY_VIDEO.get(id, f"codec {id}")
        raise UnsupportedMedia(f"{name} video cannot be carried: set the encoder to H.264, HEVC, AV1 or VP9")
    codec = Codec.H264 if id == 7 else Codec.HEVC
    if frame == _COMMAND or len(body) < 5:
        return Tag(Action.END if len(body) > 1 and body[1] == 2 else Action.IGNORE, codec)
    kind = body[1]
    if kind == 1:
        return Tag(Action.FRAME, codec, frame == _KEY, _signed24(body, 2), body[5:])
    if kind == 0:
        return Tag(Action.HEADER, codec, data=body[5:])
    return Tag(Action.END if kind == 2 else Action.IGNORE, codec)


def parse_audio(body: bytes) -> Tag:
    if not body:
        return Tag(Action.IGNORE, Codec.AAC)
    format = body[0] >> 4
    if format == 10:
        if len(body) < 2:
            return Tag(Action.IGNORE, Codec.AAC)
        if body[1] == 1:
            return Tag(Action.FRAME, Codec.AAC, True, 0, body[2:])
        return Tag(Action.HEADER if body[1] == 0 else Action.IGNORE, Codec.AAC, data=body[2:])
    if format == 9:
        return _enhanced_audio(body)
    name = _LEGACY_AUDIO.get(format, f"codec {format}")
    raise UnsupportedMedia(f"{name} sound cannot be carried: set the encoder to AAC or Opus")


def header(track: Track) -> bytes:
    """The sequence header, which goes before the first frame of its track."""
    codec, config = track.codec, track.config
    if codec is Codec.H264:
        return bytes((_KEY << 4 | 7, 0, 0, 0, 0)) + config
    if codec is Codec.AAC:
        return bytes((_AAC, 0)) + config
    if codec is Codec.OPUS:
        return bytes((_ENHANCED_AUDIO,)) + _FOURCC[codec] + MAGIC + config
    return bytes((_ENHANCED_VIDEO | _KEY << 4,)) + _FOURCC[codec] + config


def frame(codec: Codec, sample: Sample, composition: int = 0) -> bytes:
    """composition: presentation minus decode time, ms."""
    if codec is Codec.AAC:
        return bytes((_AAC, 1)) + sample.data
    if codec is Codec.OPUS:
        return bytes((_ENHANCED_AUDIO | 1,)) + _FOURCC[codec] + sample.data
    kind = (_KEY if sample.key else _INTER) << 4
    if codec in (Codec.AV1, Codec.VP9):
        return bytes((_ENHANCED_VIDEO | kind | 1,)) + _FOURCC[codec] + sample.data
    offset = max(-_MOST_COMPOSITION, min(composition, _MOST_COMPOSITION)) & 0xFFFFFF
    late = offset.to_bytes(3, "big")
    if codec is Codec.H264:
        return bytes((kind | 7, 1)) + late + sample.data
    return bytes((_ENHANCED_VIDEO | kind | 1,)) + _FOURCC[codec] + late + sample.data


def codec_id(codec: Codec) -> int:
    """What onMetaData says of a track: FLV's number, or the FourCC as one (Enhanced RTMP, "Metadata Frame")."""
    if codec in LEGACY:
        return 7 if codec is Codec.H264 else 10
    return int.from_bytes(_FOURCC[codec], "big")


def _enhanced_video(body: bytes) -> Tag:
    frame, kind, at = body[0] >> 4 & 7, body[0] & 15, 1
    kind, at = _skip_modifiers(body, kind, at, modifier=7)
    if kind != 4 and frame == _COMMAND:
        return Tag(Action.IGNORE, Codec.H264)
    kind, fourcc, at = _single_track(body, kind, at, multitrack=6)
    codec = _FOURCC_VIDEO.get(fourcc)
    if codec is None:
        raise UnsupportedMedia(f"{_name(fourcc)} video cannot be carried: set the encoder to H.264, HEVC, AV1 or VP9")
    if kind == 0:
        return Tag(Action.HEADER, codec, data=body[at:])
    if kind == 1:
        if codec in (Codec.H264, Codec.HEVC):
            if len(body) < at + 3:
                return Tag(Action.IGNORE, codec)
            return Tag(Action.FRAME, codec, frame == _KEY, _signed24(body, at), body[at + 3 :])
        return Tag(Action.FRAME, codec, frame == _KEY, 0, body[at:])
    if kind == 3:
        return Tag(Action.FRAME, codec, frame == _KEY, 0, body[at:])
    if kind == 5:
        raise UnsupportedMedia("AV1 with an MPEG-2 TS header cannot be carried: set the encoder to a plain AV1 header")
    return Tag(Action.END if kind == 2 else Action.IGNORE, codec)


def _enhanced_audio(body: bytes) -> Tag:
    kind, at = _skip_modifiers(body, body[0] & 15, 1, modifier=7)
    kind, fourcc, at = _single_track(body, kind, at, multitrack=5)
    codec = _FOURCC_AUDIO.get(fourcc)
    if codec is None:
        raise UnsupportedMedia(f"{_name(fourcc)} sound cannot be carried: set the encoder to AAC or Opus")
    if kind == 0:
        return Tag(Action.HEADER, codec, data=body[at:])
    if kind == 1:
        return Tag(Action.FRAME, codec, True, 0, body[at:])
    return Tag(Action.END if kind == 2 else Action.IGNORE, codec)


def _skip_modifiers(body: bytes, kind: int, at: int, *, modifier: int) -> tuple[int, int]:
    """ModEx: data before the real packet type. Only nanosecond offsets are defined, which nothing here can show."""
    try:
        while kind == modifier:
            size, at = body[at] + 1, at + 1
            if size == 256:
                size, at = (body[at] << 8 | body[at + 1]) + 1, at + 2
            at += size
            kind, at = body[at] & 15, at + 1
    except IndexError:
        raise MediaError("an Enhanced RTMP header ends too early") from None
    return kind, at


def _single_track(body: bytes, kind: int, at: int, *, multitrack: int) -> tuple[int, bytes, int]:
    """Packet type, FourCC and payload offset; a multitrack form is taken only for the one track 0."""
    if kind != multitrack:
        fourcc = body[at : at + 4]
        if len(fourcc) < 4:
            raise MediaError("an Enhanced RTMP header ends too early")
        return kind, fourcc, at + 4
    if len(body) < at + 6:
        raise MediaError("an Enhanced RTMP header ends too early")
    if body[at] >> 4 or body[at + 5]:
        raise UnsupportedMedia(
            "several tracks in one stream (multitrack) cannot be carried: turn them off in the encoder"
        )
    return body[at] & 15, body[at + 1 : at + 5], at + 6


def _signed24(body: bytes, at: int) -> int:
    value = body[at] << 16 | body[at + 1] << 8 | body[at + 2]
    return value - 0x1000000 if value & 0x800000 else value


def _name(fourcc: bytes) -> str:
    known = {b"vp08": "VP8", b"vvc1": "VVC", b"ac-3": "AC-3", b"ec-3": "E-AC-3", b"fLaC": "FLAC", b".mp3": "MP3"}
    return known.get(fourcc, fourcc.decode("ascii", "replace"))
