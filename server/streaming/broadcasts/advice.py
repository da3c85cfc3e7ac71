"""What a broadcast's figures mean for the person who pushes, in words."""

from __future__ import annotations

from collections.abc import Sequence

from media.samples import Kind, Track

GOOD_KEY_DISTANCE = 4.0
LOW_FRAME_RATE = 20.0
HIGH_BITRATE = 12_000_000.0
MUCH_FOR_HEIGHT = ((720, 300_000.0), (1080, 1_000_000.0))


def advise(tracks: Sequence[Track], *, bitrate: float, frame_rate: float, key_distance: float) -> list[str]:
    """Sentences, the most important first; empty when all is well. bitrate in bit/s, key_distance in s."""
    words = []
    video = next((t for t in tracks if t.kind is Kind.VIDEO), None)
    audio = next((t for t in tracks if t.kind is Kind.AUDIO), None)
    if key_distance > GOOD_KEY_DISTANCE:
        words.append(
            f"Key frames come every {key_distance:.0f} s: set the key-frame interval to 2 s in your encoder. "
            "Viewers wait that long for the first picture, and segments are cut without a key frame."
        )
    if video is not None and 0 < frame_rate < LOW_FRAME_RATE and bitrate > 0:
        words.append(f"Only {frame_rate:.0f} pictures a second arrive: the encoder or the line cannot keep up.")
    if video is not None and bitrate > 0:
        floor = max((rate for height, rate in MUCH_FOR_HEIGHT if video.height >= height), default=0.0)
        if bitrate < floor:
            words.append(
                f"{bitrate / 1e6:.1f} Mbit/s is little for {video.width}x{video.height}: raise the bit rate or send a "
                "smaller picture."
            )
    if bitrate > HIGH_BITRATE:
        words.append(
            f"{bitrate / 1e6:.0f} Mbit/s is more than most viewers' lines carry: 6 Mbit/s is plenty for 1080p."
        )
    if video is None and audio is not None:
        words.append("No picture arrives, only sound.")
    if audio is None and video is not None:
        words.append("No sound arrives: check the audio source in your encoder.")
    return words
