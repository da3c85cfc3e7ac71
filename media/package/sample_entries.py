"""Sample entries: how the decoder configuration of each codec stands in an init segment, and before a key frame.

Pure functions from a Track to bytes. avc1 and hvc1: ISO/IEC 14496-15; av01: AV1-ISOBMFF; vp09: VP Codec ISO Media File
Format Binding; mp4a: ISO/IEC 14496-14; Opus: the Opus-in-ISOBMFF encapsulation.
"""

from __future__ import annotations

import struct

from media.package.colour import Picture, picture_of
from media.protocols.errors import MediaError
from media.protocols.h26x import hevc_sets, parameter_sets
from media.samples import Codec, Track


def box(kind: bytes, *payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, payload)), kind) + b"".join(payload)


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *payload)


def sample_entry(track: Track) -> bytes:
    match track.codec:
        case Codec.H264:
            return _visual(track, b"avc3" if track.codec_string.startswith("avc3") else b"avc1", b"avcC", track.config)
        case Codec.HEVC:
            return _visual(track, b"hev1" if track.codec_string.startswith("hev1") else b"hvc1", b"hvcC", track.config)
        case Codec.AV1:
            return _visual(track, b"av01", b"av1C", track.config)
        case Codec.VP9:
            return _visual(track, b"vp09", b"vpcC", _vpcc(track.config))
        case Codec.AAC:
            return _audible(track, b"mp4a", track.sample_rate, _esds(track.config))
        case Codec.OPUS:
            return _audible(track, b"Opus", 48_000, box(b"dOps", _dops(track)))


def in_band(track: Track) -> bytes:
    """The parameter sets as they stand in a sample: players that read one init segment alone (libavformat) find there
    what changed since. Empty for codecs whose key frames say it anyway, and for a configuration that is damaged."""
    config = track.config
    try:
        if track.codec is Codec.H264:
            sps, pps = parameter_sets(config)
            units, size = [*sps, *pps], (config[4] & 3) + 1
        elif track.codec is Codec.HEVC:
            units, size = hevc_sets(config), (config[21] & 3) + 1
        else:
            return b""
        return b"".join([len(unit).to_bytes(size, "big") + unit for unit in units])
    except (MediaError, OverflowError):
        return b""


def _visual(track: Track, kind: bytes, config_kind: bytes, config: bytes) -> bytes:
    picture = picture_of(track.codec, config)
    return box(
        kind,
        bytes(6),
        struct.pack(">H16xHHIIIH32xHH", 1, track.width, track.height, 0x480000, 0x480000, 0, 1, 0x18, 0xFFFF),
        box(config_kind, config),
        *_picture_boxes(picture),
    )


def _picture_boxes(picture: Picture) -> list[bytes]:
    boxes = []
    if picture.aspect is not None:
        boxes.append(box(b"pasp", struct.pack(">II", *picture.aspect)))
    if picture.colour is not None:
        primaries, transfer, matrix, full = picture.colour
        boxes.append(box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, 0x80 if full else 0)))
    return boxes


def _audible(track: Track, kind: bytes, rate: int, config: bytes) -> bytes:
    rate = rate if rate <= 0xFFFF else 0
    return box(kind, bytes(6), struct.pack(">H8xHH4xI", 1, track.channels or 2, 16, rate << 16), config)


def _vpcc(config: bytes) -> bytes:
    """vpcC is a full box; some carry its version and flags in the configuration, some do not."""
    return config if len(config) >= 12 and config[:4] == b"\x01\0\0\0" else b"\x01\0\0\0" + config


def _descriptor(tag: int, body: bytes) -> bytes:
    size = len(body)
    return bytes((tag, 0x80 | size >> 21 & 0x7F, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F, size & 0x7F)) + body


def _esds(config: bytes) -> bytes:
    # object type 0x40: MPEG-4 audio; stream type 5 (audio), upstream 0, reserved 1
    decoder = struct.pack(">BB3xII", 0x40, 0x15, 0, 0) + _descriptor(5, config)
    stream = struct.pack(">HB", 0, 0) + _descriptor(4, decoder) + _descriptor(6, b"\x02")
    return full_box(b"esds", 0, 0, _descriptor(3, stream))


def _dops(track: Track) -> bytes:
    """OpusHead is little-endian with version 1, dOps big-endian with version 0."""
    head = track.config
    if len(head) < 11:
        return struct.pack(">BBHIhB", 0, track.channels or 2, 312, 48_000, 0, 0)
    _, channels, skip, rate, gain, family = struct.unpack("<BBHIhB", head[:11])
    return struct.pack(">BBHIhB", 0, channels, skip, rate, gain, family) + head[11:]
