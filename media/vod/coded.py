"""What encoders put out, as files carry it: NAL units with lengths, decoder configurations, tracks. Pure.

Encoders write H.264 and HEVC with start codes (Annex B of both); MP4 has lengths of four bytes instead, and the
parameter sets in the decoder configuration alone (ISO/IEC 14496-15).
"""

from __future__ import annotations

from collections.abc import Iterator

from media.protocols.av1 import build_av1c, parse_av1c, sequence_header, without_delimiter
from media.protocols.bits import unescape
from media.protocols.errors import MediaError
from media.protocols.h26x import build_avcc, parse_avcc, parse_hvcc
from media.samples import VIDEO_TIMESCALE, Codec, Track

H264_SPS, H264_PPS = 7, 8
HEVC_VPS, HEVC_SPS, HEVC_PPS = 32, 33, 34


def units(stream: bytes) -> Iterator[bytes]:
    """NAL units between start codes."""
    at = stream.find(b"\0\0\1")
    while at >= 0:
        begin = at + 3
        at = stream.find(b"\0\0\1", begin)
        yield stream[begin : at if at >= 0 else len(stream)].rstrip(b"\0")


def sample(codec: Codec, data: bytes) -> bytes:
    """A coded picture as a sample of the track. Parameter sets that an encoder repeats stay in: they do no harm."""
    if codec is Codec.AV1:
        return without_delimiter(data)
    return b"".join([len(unit).to_bytes(4, "big") + unit for unit in units(data) if unit])


def video_track(codec: Codec, extradata: bytes, width: int, height: int, frame_rate: float) -> Track:
    """Of an encoder's extradata, or of a configuration that is one already. Raises MediaError."""
    config = extradata
    if codec is Codec.H264:
        if config[:1] != b"\x01":
            found = list(units(config))
            config = build_avcc(
                [unit for unit in found if unit[0] & 31 == H264_SPS],
                [unit for unit in found if unit[0] & 31 == H264_PPS],
            )
        text = parse_avcc(config).codec_string
    elif codec is Codec.HEVC:
        config = build_hvcc(list(units(config)))
        text = parse_hvcc(config).codec_string
    elif codec is Codec.AV1:
        config = build_av1c(sequence_header(config[4:] if config[:1] == b"\x81" else config))
        text = parse_av1c(config).codec_string
    else:
        raise MediaError(f"{codec} is not made here")
    return Track(1, codec, VIDEO_TIMESCALE, config, text, width, height, frame_rate)


def build_hvcc(found: list[bytes]) -> bytes:
    """HEVCDecoderConfigurationRecord (8.3.3.1) of parameter sets of 8 bits and 4:2:0, one layer. Raises MediaError."""
    sets = {kind: [unit for unit in found if unit[0] >> 1 & 63 == kind] for kind in (HEVC_VPS, HEVC_SPS, HEVC_PPS)}
    if not all(sets.values()):
        raise MediaError("the HEVC stream lacks a parameter set")
    # of the SPS: two bytes of header, one of layers, then profile, tier and level as the record has them
    general = unescape(sets[HEVC_SPS][0][2:])[1:13]
    parts = [b"\x01", general, b"\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f", bytes((len(sets),))]
    for kind, group in sets.items():
        parts.append(bytes((0x80 | kind,)) + len(group).to_bytes(2, "big"))
        parts += [len(unit).to_bytes(2, "big") + unit for unit in group]
    return b"".join(parts)
