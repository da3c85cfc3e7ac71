"""Frame durations and the part target: pure arithmetic on what was measured."""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST = 0.85
"""A part lasts at least this share of PART-TARGET (RFC 8216bis, 4.4.4.9)."""

JITTER = 0.001
"""Seconds by which a frame time may be off: RTMP counts in milliseconds."""

_RATES = (120, 119.88, 100, 90, 75, 72, 60, 59.94, 50, 48, 30, 29.97, 25, 24, 23.976, 20, 18, 15, 12.5, 12, 10, 8, 6, 5)


def frame_duration(mean: float, claimed_rate: float) -> float:
    """Seconds per frame, from the mean distance of the first frames and the rate the encoder claims (0.0: none)."""
    if mean <= 0:
        return 1 / claimed_rate if claimed_rate > 0 else 1 / 30
    if claimed_rate > 0 and abs(claimed_rate * mean - 1) < 0.04:
        return 1 / claimed_rate
    nearest = min(_RATES, key=lambda rate: abs(rate * mean - 1))
    return 1 / nearest if abs(nearest * mean - 1) < 0.025 else mean


def fits(target: float, frame: float, jitter: float) -> bool:
    """Whether a whole number of frames lies in 85-100 % of the target, also when a frame time is off by the jitter."""
    count = int((target - jitter + 1e-9) / frame)
    return count > 0 and count * frame - jitter >= SHORTEST * target - 1e-9


def part_target(goal: float, video_frame: float | None, audio_frame: float | None, longest: float) -> float:
    """PART-TARGET in seconds, in hundredths, near 1.05 times the goal, such that both tracks' parts fit into it.

    When no target suits both, the one that suits video; parts of the other may then end a frame early or late and
    their last sample is stretched to reach 85 %.
    """
    wanted = 1.05 * goal
    candidates = sorted((n / 100 for n in range(5, int(longest * 100) + 1)), key=lambda t: abs(t - wanted))
    frames = [(f, j) for f, j in ((video_frame, JITTER), (audio_frame, 0.0)) if f is not None]
    for wishes in (frames, frames[:1]):
        for target in candidates:
            if all(fits(target, frame, jitter) for frame, jitter in wishes):
                return round(target, 2)
    return round(longest, 2)


def mean_distance(times: Sequence[int], timescale: int) -> float:
    return (times[-1] - times[0]) / (len(times) - 1) / timescale if len(times) > 1 else 0.0
