"""VP9: the codec configuration (vpcC) and the size that a key frame's header tells (VP9 bitstream, 6.2)."""

from __future__ import annotations

from media.protocols.bits import BitReader
from media.protocols.errors import MediaError
from media.protocols.h26x import check_size

SYNC = 0x498342
FULL_BOX = b"\x01\x00\x00\x00"


def parse_vpcc(config: bytes) -> tuple[bytes, str]:
    """The vpcC body with its version and flags (VP codec in ISO-BMFF), and the codec string.

    Encoders send the record with and without the four bytes of version and flags in front.
    """
    record = config[4:] if config[:4] == FULL_BOX and len(config) >= 12 else config
    if not 8 <= len(record) <= 1024 or record[0] > 3:
        raise MediaError("the VP9 sequence header is not a VPCodecConfigurationRecord")
    depth = record[2] >> 4
    return FULL_BOX + record, f"vp09.{record[0]:02d}.{record[1]:02d}.{depth:02d}"


def key_frame_size(frame: bytes) -> tuple[int, int]:
    """Width and height from a key frame's uncompressed header. Raises MediaError."""
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
    if profile >= 2:
        r.skip(1)
    if r.bits(3) != 7:  # not RGB
        r.skip(1)
        if profile in (1, 3):
            r.skip(3)
    elif profile in (1, 3):
        r.skip(1)
    width, height = r.bits(16) + 1, r.bits(16) + 1
    check_size(width, height)
    return width, height
