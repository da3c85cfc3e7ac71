"""What a broadcast or one of its renditions is like now: a Reader that keeps ten seconds of sums."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from media.samples import Kind, Sample, Track


@dataclass(slots=True)
class _Second:
    at: float
    bytes: int = 0
    frames: int = 0


class Health:
    """What a broadcast is like now: bit rate, frame rate, key-frame distance, over the last ten seconds of arrivals."""

    WINDOW = 10

    def __init__(self) -> None:
        self.key_distance = 0.0
        self._seconds: deque[_Second] = deque(maxlen=self.WINDOW + 1)
        self._last_key: int | None = None
        self._timescale = 1
        self._video = False

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._last_key = None
        self.key_distance = 0.0
        video = next((t for t in tracks if t.kind is Kind.VIDEO), None)
        self._video = video is not None
        self._timescale = video.timescale if video else 1

    def on_samples(self, batch: Sequence[Sample]) -> None:
        now = time.monotonic()
        seconds = self._seconds
        if not seconds or now - seconds[-1].at >= 1.0:
            seconds.append(_Second(now))
        second = seconds[-1]
        for sample in batch:
            second.bytes += len(sample.data)
            if sample.track == 1:
                second.frames += 1
                if sample.key:
                    if self._last_key is not None:
                        self.key_distance = (sample.dts - self._last_key) / self._timescale
                    self._last_key = sample.dts
                elif self._last_key is not None:
                    open_for = (sample.dts - self._last_key) / self._timescale
                    if open_for > self.key_distance > 0 or open_for > self.WINDOW:
                        self.key_distance = open_for

    def describe(self) -> dict[str, float]:
        """bitrate in bit/s, frame_rate in frames/s, key_distance in s."""
        now = time.monotonic()
        recent = [s for s in self._seconds if now - s.at < self.WINDOW]
        span = now - recent[0].at if recent else 0.0
        if span < 0.5:
            return {"bitrate": 0.0, "frame_rate": 0.0, "key_distance": self.key_distance}
        return {
            "bitrate": 8 * sum(s.bytes for s in recent) / span,
            "frame_rate": sum(s.frames for s in recent) / span if self._video else 0.0,
            "key_distance": self.key_distance,
        }
