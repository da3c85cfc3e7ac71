"""Facts of sources that need not be there."""

from __future__ import annotations

from media.vod.facts import SourceFacts, VideoFacts


def video(width: int, height: int, bit_rate: int, *, seconds: float = 60.0) -> SourceFacts:
    """25 pictures a second, VP9, a key frame every five seconds."""
    end = round(seconds * 1000)
    track = VideoFacts(
        index=0,
        codec="vp9",
        profile="",
        width=width,
        height=height,
        coded_width=width,
        coded_height=height,
        rotation=0,
        pixel_format="yuv420p",
        bits=8,
        frame_rate=25.0,
        variable=False,
        interlaced=False,
        hdr="",
        bit_rate=bit_rate,
        start=0,
        end=end,
        timescale=(1, 1000),
        frames=round(seconds * 25),
        keys=tuple(range(0, end, 5000)),
        exact=True,
        closed=False,
        decoded=8,
    )
    return SourceFacts("matroska", 1000, seconds, track, None, ())
