"""Pixel shape and colour of a video track, read from its decoder configuration, for pasp and colr.

Best effort by nature: what is not said, or cannot be read, is None and then neither box is written.
"""

from __future__ import annotations

from typing import NamedTuple

from media.samples import Codec

Colour = tuple[int, int, int, bool]
"""Primaries, transfer, matrix (ISO/IEC 23091-2) and whether the range is full."""


class Picture(NamedTuple):
    aspect: tuple[int, int] | None = None
    colour: Colour | None = None


def picture_of(codec: Codec, config: bytes) -> Picture:
    if codec is Codec.VP9:
        return _vp9(config)
    return Picture()


def _vp9(config: bytes) -> Picture:
    body = config[4:] if len(config) >= 12 and config[:4] == b"\x01\0\0\0" else config
    if len(body) < 6:
        return Picture()
    return Picture(colour=(body[3], body[4], body[5], bool(body[2] & 1)))
