"""VP9: the codec configuration (vpcC) and the size that a key frame's header tells (VP9 bitstream, 6.2)."""

from __future__ import annotations

from typing import NamedTuple

from media.protocols.bits import BitReader
from media.protocols.errors import MediaError
from media.protocols.h26x import check_size

SYNC = 0x498342
FULL_BOX = b"\x01\x00\x00\x00"
_LEVELS = (
    (10, 829_440, 36_864),
    (11, 2_764_800, 73_728),
    (20, 4_608_000, 122_880),
    (21, 9_216_000, 245_760),
    (30, 20_736_000, 552_960),
    (31, 36_864_000, 983_040),
    (40, 83_558_400, 2_228_224),
    (41, 160_432_128, 2_228_224),
    (50, 311_951_360, 8_912_896),
    (51, 588_251_136, 8_912_896),
    (52, 1_176_502_272, 8_912_896),
    (60, 1_176_502_272, 35_651_584),
    (61, 2_353_004_544, 35_651_584),
    (62, 4_706_009_088, 35_651_584),
)
"""Level, luma samples a second, luma samples of a picture (VP9 levels, webmproject.org)."""


def parse_vpcc(config: bytes) -> tuple[bytes, str]:
    """The vpcC body with its version and flags (VP codec in ISO-BMFF), and the codec string.

    Encoders send the record with and without the four bytes of version and flags in front.
    """
    record = config[4:] if config[:4] == FULL_BOX and len(config) >= 12 else config
    if not 8 <= len(record) <= 1024 or record[0] > 3:
        raise MediaError("the VP9 sequence header is not a VPCodecConfigurationRecord")
    depth = record[2] >> 4
    return FULL_BOX + record, f"vp09.{record[0]:02d}.{record[1]:02d}.{depth:02d}"


class KeyFrame(NamedTuple):
    """What a key frame's uncompressed header tells. chroma: as vpcC counts the ways of subsampling."""

    profile: int
    depth: int
    chroma: int
    full_range: bool
    width: int
    height: int


def key_frame(frame: bytes) -> KeyFrame:
    """Raises MediaError."""
    r = BitReader(frame[:32])
    if r.bits(2) != 2:
        raise MediaError("the VP9 stream holds a damaged frame")
    low, high = r.bits(1), r.bits(1)
    profile = high << 1 | low
    if profile == 3:
        r.skip(1)
    if r.flag() or r.flag():  # show_existing_frame, frame_type
        raise MediaError("the VP9 stream does not begin with a key frame")
    r.skip(2)
    if r.bits(24) != SYNC:
        raise MediaError("the VP9 stream holds a damaged frame")
    depth = 8
    if profile >= 2:
        depth = 12 if r.flag() else 10
    chroma, full_range = 1, True
    if r.bits(3) != 7:  # not RGB
        full_range = r.flag()
        if profile in (1, 3):
            across, down = r.flag(), r.flag()
            chroma = 3 if not across else 1 if down else 2
            r.skip(1)
    else:
        chroma = 3
        if profile in (1, 3):
            r.skip(1)
    width, height = r.bits(16) + 1, r.bits(16) + 1
    check_size(width, height)
    return KeyFrame(profile, depth, chroma, full_range, width, height)


def is_key(frame: bytes) -> bool:
    """Whether the uncompressed header says that it is a key frame: neither one shown again nor of the other type."""
    if not frame or frame[0] >> 6 != 2:
        return False
    return not frame[0] & (0x06 if frame[0] & 0x30 == 0x30 else 0x0C)


def key_frame_size(frame: bytes) -> tuple[int, int]:
    """Width and height from a key frame's uncompressed header. Raises MediaError."""
    told = key_frame(frame)
    return told.width, told.height


def build_vpcc(told: KeyFrame, rate: float = 30.0) -> tuple[bytes, str]:
    """The vpcC body with its version and flags, and the codec string, of a stream that comes without them. The level is
    the lowest that holds such pictures at `rate` a second; colours are unspecified."""
    area = told.width * told.height
    level = next((level for level, speed, most in _LEVELS if area <= most and area * rate <= speed), 62)
    record = bytes((told.profile, level, told.depth << 4 | told.chroma << 1 | told.full_range, 2, 2, 2, 0, 0))
    return parse_vpcc(record)
