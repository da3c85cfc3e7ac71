"""What the engine may take and what it shall make. The server's settings become these."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Of what is taken from one source, and of the children that work on it.

    longest: seconds of media. most_pixels and longest_side: of a picture. memory: bytes of address space of a child.
    probe_seconds: for a probe. work_seconds: for any other child, however long its chunk. stalled_seconds: without a
    word from a child before it is taken for hung. niceness: live has to go before this.
    """

    longest: float = 12 * 3600.0
    most_pixels: int = 8192 * 4608
    longest_side: int = 8192
    memory: int = 4 << 30
    probe_seconds: float = 120.0
    work_seconds: float = 3600.0
    stalled_seconds: float = 300.0
    niceness: int = 10


class Rung(msgspec.Struct, frozen=True):
    """A step of the ladder. height: of a 16:9 picture; an upright one has this width. bit_rate: bit/s, a peak.

    The bit rates are for H.264 at 30 frames per second.
    """

    name: str
    height: int
    bit_rate: int


LADDER = (
    Rung("240p", 240, 400_000),
    Rung("360p", 360, 800_000),
    Rung("480p", 480, 1_400_000),
    Rung("720p", 720, 2_800_000),
    Rung("1080p", 1080, 5_000_000),
    Rung("1440p", 1440, 9_000_000),
    Rung("2160p", 2160, 18_000_000),
)


class Options(msgspec.Struct, frozen=True):
    """codec: h264, hevc or av1. ladder: from low to high. highest: name of the highest rung to make, "" for all.

    segment_seconds: the grid that all renditions are cut on. chunk_seconds: what one job encodes, a multiple of it.
    audio_bit_rate: bit/s of stereo AAC. pass_through: a source track that fits is carried as it is, as the top rung.
    mixed: pieces of one rung may come of encoders that differ (hardware on one worker, software on another, or where
    the device failed), so H.264 and HEVC have their parameter sets before each key frame too.
    """

    codec: str = "h264"
    ladder: tuple[Rung, ...] = LADDER
    highest: str = ""
    segment_seconds: float = 4.0
    chunk_seconds: float = 60.0
    preset: str = "veryfast"
    quality: int = 23
    audio_bit_rate: int = 128_000
    pass_through: bool = True
    mixed: bool = False
