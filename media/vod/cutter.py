"""Coded samples of one rendition to CMAF segments, and what the playlists must know of them. Pure.

Samples are decoded at the pace at which they are shown, `lead` ticks earlier: decode times are the presentation times
in order. So segments that separate encoders made fit each other to the tick, whatever the encoder's delay is.
Everything is shown `lead` late, sound too, so that no decode time is negative and there is no edit list. (Offsets
that are negative instead, as brand cmf2 has them, are shown late by what is built on libavformat.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from media.package.cmaf import fragment, init_segment
from media.samples import VIDEO_TIMESCALE, Kind, Track
from media.vod.plan import Plan
from media.vod.results import Made, Segment


class Coded(NamedTuple):
    """In decode order. time: when it is shown on the output's timeline, ticks of the track."""

    time: int
    key: bool
    data: bytes


class Cutter:
    """Of one rendition. `write` gets each file as soon as it is whole."""

    def __init__(self, plan: Plan, letter: str, track: Track, write: Callable[[str, bytes], None]) -> None:
        self._plan = plan
        self._letter = letter
        self._track = track
        self._lead = round(plan.lead * track.timescale / VIDEO_TIMESCALE)
        self._origin = round(plan.origin * track.timescale / VIDEO_TIMESCALE)
        self._write = write
        self._segments: list[Segment] = []
        write(plan.init_name(letter), init_segment(track))

    def segment(self, number: int, samples: Sequence[Coded], end: int) -> None:
        """number: within the plan. end: when the next segment's first sample is shown."""
        video = self._track.kind is Kind.VIDEO
        decoded, shift = (_decode_times(samples, self._lead), 0) if video else ([s.time for s in samples], self._lead)
        start = min(sample.time for sample in samples)
        end = max(end, *(sample.time + 1 for sample in samples))
        durations = [after - before for before, after in zip(decoded, [*decoded[1:], end], strict=True)]
        offsets = [s.time + self._lead - shift - at for s, at in zip(samples, decoded, strict=True)]
        place = self._plan.first + number
        parts, size = fragment(
            place + 1,
            self._track.id,
            decoded[0] + shift + self._origin,
            durations,
            [sample.data for sample in samples],
            [sample.key for sample in samples] if video else None,
            offsets if any(offsets) else None,
        )
        self._write(self._plan.segment_name(self._letter, number), b"".join(parts))
        self._segments.append(Segment(place, start + self._lead + self._origin, end - start, size))

    def made(self) -> Made:
        track = self._track
        return Made(
            self._letter,
            track.codec_string,
            track.timescale,
            self._plan.init_name(self._letter),
            tuple(self._segments),
            track.width,
            track.height,
            track.frame_rate,
            track.sample_rate,
            track.channels,
        )


def _decode_times(samples: Sequence[Coded], lead: int) -> list[int]:
    """The times of the samples in order, counted from `lead` earlier, and none later than when its sample is shown."""
    times = sorted(sample.time for sample in samples)
    latest = 1 << 62
    for number in range(len(samples) - 1, 0, -1):
        latest = times[number] = min(times[number], samples[number].time + lead, latest - 1)
    return times
