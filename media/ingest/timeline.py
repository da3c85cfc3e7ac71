"""From RTMP's clock to decode times: 32-bit milliseconds that wrap, jump, go back or start anywhere.

A Timeline lives as long as one publishing. Picture and sound share one clock, so their true offset is kept. Times start
at START_MS and never go back, across jumps neither. Sound is placed by counting its samples, because milliseconds are
too coarse for it; the count stays within half a frame of the clock.

Media may not run ahead of our own clock for long, or whoever sends it could fill a disk in a moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from media.protocols.errors import TimestampError
from media.samples import VIDEO_TIMESCALE

START_MS = 10_000
"""Where a timeline starts: room for a track that begins before the first message's time."""
AHEAD_MS = 10_000
"""A clock that runs ahead by more has jumped."""
BACK_MS = 250
"""A track that goes back by more has jumped; by less, its frames are moved up to the last one."""
STALE_MS = 2_000
"""After a jump, frames of the old clock may still come, interleaved; they are dropped."""
JUMP_GAP_MS = 1_000
MAX_JUMPS = 10
JUMP_WINDOW = 60.0
"""Seconds of our clock."""
DRIFT = 1.01
"""How much faster than ours an encoder's clock may go for ever."""

_PER_MS = VIDEO_TIMESCALE // 1000
_HALF = 1 << 31
_MASK = (1 << 32) - 1


class Timeline:
    def __init__(self, *, max_ahead: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        """max_ahead: seconds that media may come before its time, 0: any. clock: seconds, from anywhere."""
        self.jumped = False
        """The last time given is the first after a jump; whoever acts on it sets it back."""
        self._raw: int | None = None
        self._ms = START_MS
        self._old_raw: int | None = None
        self._jumps: list[float] = []
        self._jump_ms = 0
        self._clock = clock
        self._max_ahead_ms = max_ahead * 1000 or math.inf
        self._ceiling = START_MS + self._max_ahead_ms  # what media may reach, as of `_ceiling_at`
        self._ceiling_at = clock()
        self._video_ms: int | None = None
        self._video_dts = -1
        self._audio_ms: int | None = None
        self._audio_next: int | None = None
        self._audio_dts = -1
        self._audio_rate = 0

    def video(self, timestamp: int, composition: int) -> tuple[int, int] | None:
        """(dts, pts) in ticks of VIDEO_TIMESCALE, for a time and a composition offset in ms; None: drop the frame."""
        ms = self._at(timestamp, self._video_ms)
        if ms is None:
            return None
        self._video_ms = ms
        dts = ms * _PER_MS
        pts = dts + composition * _PER_MS
        if dts <= self._video_dts:
            dts = self._video_dts + 1
        self._video_dts = dts
        return dts, pts if pts >= 0 else 0

    def beside(self, timestamp: int) -> int | None:
        """Ticks of VIDEO_TIMESCALE for a frame that is not of the timeline's own picture (a simulcast layer); None when
        it is too far from what came last. Moves nothing."""
        if self._raw is None:
            return None
        delta = ((timestamp - self._raw + _HALF) & _MASK) - _HALF
        ms = self._ms + delta
        return ms * _PER_MS if -AHEAD_MS <= delta <= AHEAD_MS and ms >= 0 else None

    def audio(self, timestamp: int, rate: int, frame: int) -> int | None:
        """dts in ticks of `rate` (Hz), for a frame of so many samples; None: drop the frame."""
        ms = self._at(timestamp, self._audio_ms)
        if ms is None:
            return None
        self._audio_ms = ms
        ideal = ms * rate // 1000
        following = self._audio_next
        if following is None or rate != self._audio_rate:
            if rate != self._audio_rate:
                self._audio_dts, self._audio_rate = -1, rate
            dts = ideal
        else:
            off = ideal - following
            half = frame >> 1
            if off > half:  # a real gap
                dts = ideal
            elif off < -half:  # more frames than time: close up, without going back
                dts = following - (frame >> 3)
            elif off > half >> 1:  # an encoder whose two clocks drift apart
                dts = following + (frame >> 6)
            elif off < -(half >> 1):
                dts = following - (frame >> 6)
            else:
                dts = following
        if dts <= self._audio_dts:
            dts = self._audio_dts + 1
        self._audio_dts = dts
        self._audio_next = dts + frame
        return dts

    def _at(self, raw: int, own: int | None) -> int | None:
        """Milliseconds on our timeline; `own` is where the message's track was."""
        last = self._raw
        if last is None:
            self._raw = raw
            return self._ms
        delta = ((raw - last + _HALF) & _MASK) - _HALF
        ms = self._ms + delta
        if delta <= AHEAD_MS and (ms >= own - BACK_MS if own is not None else delta >= -AHEAD_MS) and ms >= 0:
            if ms > self._ceiling:
                self._rise(ms)
            self._raw = raw
            self._ms = ms
            return ms
        return self._jump(raw, last)

    def _rise(self, ms: int) -> None:
        """The ceiling rises with our clock, but to no more than twice `max_ahead` over what has come: time in which
        media stood still is not saved up."""
        now = self._clock()
        risen = self._ceiling + (now - self._ceiling_at) * 1000 * DRIFT
        self._ceiling_at = now
        self._ceiling = min(risen, ms + 2 * self._max_ahead_ms)
        if ms > risen:
            ahead = self._max_ahead_ms + ms - risen
            raise TimestampError(
                f"the stream's clock has counted {ahead / 1000:.0f} s more than have passed; "
                f"at most {self._max_ahead_ms / 1000:g} s are taken: send in real time (ffmpeg: -re)"
            )

    def _jump(self, raw: int, last: int) -> int | None:
        old = self._old_raw
        if old is not None and self._ms - self._jump_ms < STALE_MS:
            distance = ((raw - old + _HALF) & _MASK) - _HALF
            if -STALE_MS <= distance <= STALE_MS:
                return None
        ms = max(self._ms, self._video_ms or 0, self._audio_ms or 0) + JUMP_GAP_MS
        if ms > self._ceiling:
            self._rise(ms)
        now = self._clock()
        self._jumps = [at for at in self._jumps if now - at < JUMP_WINDOW]
        self._jumps.append(now)
        self._jump_ms = ms
        if len(self._jumps) > MAX_JUMPS:
            raise TimestampError(
                f"the encoder's timestamps jumped {len(self._jumps)} times within a minute; "
                "its clocks for picture and sound may not agree"
            )
        self._old_raw, self._raw, self._ms = last, raw, ms
        self._video_ms = self._audio_ms = self._audio_next = None
        self.jumped = True
        return ms
