"""Pixel shape and colour of a video track, read from its decoder configuration, for pasp and colr.

Best effort by nature: what is not said, or cannot be read, is None and then neither box is written.
"""

from __future__ import annotations

from typing import NamedTuple

from media.protocols.bits import BitReader, unescape
from media.protocols.errors import MediaError
from media.samples import Codec

_WITH_CHROMA = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
_ASPECTS = {
    1: (1, 1), 2: (12, 11), 3: (10, 11), 4: (16, 11), 5: (40, 33), 6: (24, 11), 7: (20, 11), 8: (32, 11), 9: (80, 33),
    10: (18, 11), 11: (15, 11), 12: (64, 33), 13: (160, 99), 14: (4, 3), 15: (3, 2), 16: (2, 1),
}  # fmt: skip

Colour = tuple[int, int, int, bool]
"""Primaries, transfer, matrix (ISO/IEC 23091-2) and whether the range is full."""


class Picture(NamedTuple):
    aspect: tuple[int, int] | None = None
    colour: Colour | None = None


def picture_of(codec: Codec, config: bytes) -> Picture:
    try:
        if codec is Codec.VP9:
            return _vp9(config)
        if codec is Codec.H264:
            return _h264(config)
    except MediaError:
        pass  # damaged or unusual: players find it in the stream
    return Picture()


def _h264(config: bytes) -> Picture:
    """From the VUI of the first SPS of an avcC (ISO/IEC 14496-10, 7.3.2.1.1 and E.1.1)."""
    size = int.from_bytes(config[6:8], "big")
    r = BitReader(unescape(config[8 : 8 + size])[1:])
    profile = r.bits(8)
    r.skip(16)
    r.ue()
    if profile in _WITH_CHROMA:
        if r.ue() == 3:
            r.skip(1)
        r.ue()
        r.ue()
        r.skip(1)
        if r.flag():
            return Picture()  # scaling matrices: nobody streams these, and all after them would have to be skipped
    r.ue()
    order = r.ue()
    if order == 0:
        r.ue()
    elif order == 1:
        return Picture()
    r.ue()
    r.skip(1)
    r.ue()
    r.ue()
    if not r.flag():
        r.skip(1)
    r.skip(1)
    if r.flag():
        for _ in range(4):
            r.ue()
    if not r.flag():
        return Picture()
    aspect = None
    if r.flag():
        index = r.bits(8)
        wide, high = (r.bits(16), r.bits(16)) if index == 255 else _ASPECTS.get(index, (0, 0))
        aspect = (wide, high) if wide and high else None
    if r.flag():
        r.skip(1)
    if not r.flag():
        return Picture(aspect)
    r.skip(3)
    full = r.flag()
    if not r.flag():
        return Picture(aspect)
    return Picture(aspect, (r.bits(8), r.bits(8), r.bits(8), full))


def _vp9(config: bytes) -> Picture:
    body = config[4:] if len(config) >= 12 and config[:4] == b"\x01\0\0\0" else config
    if len(body) < 6:
        return Picture()
    return Picture(colour=(body[3], body[4], body[5], bool(body[2] & 1)))
