"""Advice appears when a figure is wrong, names the figure, and is silent when all is well."""

from __future__ import annotations

import pytest

from media.samples import Codec, Track
from server.streaming.broadcasts.advice import advise

VIDEO = Track(1, Codec.H264, 90_000, b"", "avc1.64001f", 1280, 720, 30.0)
AUDIO = Track(2, Codec.AAC, 48_000, b"", "mp4a.40.2", sample_rate=48_000, channels=2)
GOOD = {"bitrate": 2_500_000.0, "frame_rate": 30.0, "key_distance": 2.0}


def test_a_good_stream_needs_no_advice() -> None:
    assert advise([VIDEO, AUDIO], **GOOD) == []


@pytest.mark.parametrize(
    ("tracks", "change", "word"),
    [
        ([VIDEO, AUDIO], {"key_distance": 8.0}, "Key frames come every 8 s: set the key-frame interval to 2 s"),
        ([VIDEO, AUDIO], {"frame_rate": 7.0}, "Only 7 pictures a second"),
        ([VIDEO, AUDIO], {"bitrate": 100_000.0}, "0.1 Mbit/s is little for 1280x720"),
        ([VIDEO, AUDIO], {"bitrate": 40e6}, "40 Mbit/s is more than most"),
        ([AUDIO], {"frame_rate": 0.0}, "No picture"),
        ([VIDEO], {}, "No sound"),
    ],
)
def test_each_wrong_figure_has_its_sentence(tracks: list[Track], change: dict[str, float], word: str) -> None:
    words = advise(tracks, **{**GOOD, **change})
    assert len(words) == 1
    assert word in words[0]
