"""From whole frames on a WebRTC sender's clock to samples of its publisher.

A WhipIntake lives as long as one publishing. Frames come with their place on the sender's timeline in seconds, picture
and sound on the same one; the Timeline that RTMP has, too, makes decode times of it that rise and cannot run ahead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from media.ingest.gate import Publisher, Rendition
from media.ingest.timeline import Timeline
from media.protocols.errors import MediaError
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.opus import silence
from media.samples import Codec, Sample, Track

MAX_CHANGES = 30
CHANGE_WINDOW = 60.0
"""Each new configuration cuts a segment and makes decoders begin anew. Browsers change the size of their picture when
the network does, so more are taken than from an encoder that somebody has set up; what is beyond them waits."""
MAX_LAYERS = 3
"""Simulcast layers beside the broadcast's own picture."""
MOST_BACK = 45_000
MAX_BACK = 3
"""Pictures whose time goes back, by up to half a second, between two key frames: they come in another order than they
are shown."""
LONGEST_SILENCE = 48_000
"""Ticks of a hole in the sound that are filled with silence: a second of loss, or of a sender that is quiet (DTX)."""


class Layer:
    """One simulcast layer on its way into its rendition."""

    def __init__(self) -> None:
        self.rendition: Rendition | None = None
        """None: there can be none of its name, and what it brings is dropped."""
        self._last = -1
        self._waiting_for_key = True

    def restart(self) -> None:
        """A timeline began: what comes is on another clock, and its first frame a key frame."""
        self._last = -1
        self._waiting_for_key = True

    def take(self, track: Track, time: int | None, frame: Frame) -> bool:
        """time: ticks of VIDEO_TIMESCALE. Whether it can go on without a key frame."""
        rendition = self.rendition
        if rendition is None or rendition.closed:
            return True
        if time is None or (self._waiting_for_key and not frame.key):
            return not self._waiting_for_key
        if frame.key and not rendition.track(track):
            return False  # no timeline yet
        time = max(time, self._last + 1)
        self._last, self._waiting_for_key = time, False
        rendition.samples([Sample(track.id, time, time, frame.key, frame.data)])
        return True


class WhipIntake:
    def __init__(
        self, publisher: Publisher, *, max_ahead: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """max_ahead: seconds that media may come before its time. clock: seconds, from anywhere."""
        self.frames = 0
        self.filled = 0
        """Ticks of silence that were put in."""
        self.left_out = 0
        """Frames of formats that changed too often."""
        self._publisher = publisher
        self._timeline = Timeline(max_ahead=max_ahead, clock=clock)
        self._clock = clock
        self._changes: deque[float] = deque()
        self._tracks: dict[int, Track] = {}
        self._sound_until = -1
        self._waiting_for_key = True
        self._layers: dict[str, Layer] = {}
        self._last_picture = 0
        self._back = 0

    def picture(self, track: Track, position: float, frame: Frame) -> bool:
        """position: seconds. Whether the stream can go on without a key frame. Raises MediaError, TimestampError."""
        if self._waiting_for_key and not frame.key:
            return False
        self._check_order(frame)
        times = self._timeline.video(_milliseconds(position), 0)
        if times is None:
            return True
        if not self._announce(track):
            self._waiting_for_key = True  # the picture stands until one comes in time
            return True
        if self._timeline.jumped:
            self._restart()
            if not frame.key:
                return False
        self._waiting_for_key = False
        self.frames += 1
        self._publisher.samples([Sample(track.id, times[0], times[1], frame.key, frame.data)])
        return True

    def layer(self, name: str, track: Track, position: float, frame: Frame) -> bool:
        """A frame of a smaller picture, sent beside the broadcast's own. Whether the layer can go on without a key
        frame."""
        layer = self._layers.get(name)
        if layer is None:
            if len(self._layers) >= MAX_LAYERS or (self._waiting_for_key and not self.frames):
                return True
            layer = self._layers[name] = Layer()
            layer.rendition = self._publisher.derive(name, layer.restart)
        return layer.take(track, self._timeline.beside(_milliseconds(position)), frame)

    def end_layer(self, name: str) -> None:
        """It is sent no longer, or is the broadcast's own picture now."""
        layer = self._layers.pop(name, None)
        if layer is not None and layer.rendition is not None:
            layer.rendition.close()

    def sound(self, track: Track, position: float, frame: Frame) -> None:
        """Raises TimestampError."""
        dts = self._timeline.audio(_milliseconds(position), track.timescale, frame.duration)
        if dts is None or not self._announce(track):
            return
        batch: list[Sample] = []
        if self._timeline.jumped:
            self._restart()
        elif track.codec is Codec.OPUS and 0 <= self._sound_until < dts:
            hole = dts - self._sound_until
            if hole <= LONGEST_SILENCE:
                at = self._sound_until
                for duration, packet in silence(hole):
                    batch.append(Sample(track.id, at, at, True, packet, duration))
                    at += duration
                    self.filled += duration
        batch.append(Sample(track.id, dts, dts, True, frame.data, frame.duration))
        self._sound_until = dts + frame.duration
        self.frames += 1
        self._publisher.samples(batch)

    def _check_order(self, frame: Frame) -> None:
        """RTP tells when a picture is shown, not when it is decoded: B-frames have no place. Raises MediaError."""
        if frame.key:
            self._back = 0
        elif 0 < (self._last_picture - frame.timestamp) & 0xFFFFFFFF <= MOST_BACK:
            self._back += 1
            if self._back >= MAX_BACK:
                raise MediaError(
                    "the picture has B-frames, which WebRTC does not carry: set them to 0 in the encoder (x264: tune "
                    "zerolatency), or push by RTMP"
                )
        self._last_picture = frame.timestamp

    def _restart(self) -> None:
        """The clock jumped: what follows is on a new timeline, and pictures wait for a key frame."""
        self._timeline.jumped = False
        self._publisher.restart()
        self._waiting_for_key = True
        self._sound_until = -1

    def _announce(self, track: Track) -> bool:
        """False when it is one change too many for this minute: its frames are left out."""
        if self._tracks.get(track.id) == track:
            return True
        now = self._clock()
        changes = self._changes
        while changes and now - changes[0] >= CHANGE_WINDOW:
            changes.popleft()
        if len(changes) >= MAX_CHANGES:
            self.left_out += 1
            return False
        changes.append(now)
        self._tracks[track.id] = track
        self._publisher.track(track)
        return True


def _milliseconds(position: float) -> int:
    return round(position * 1000) & 0xFFFFFFFF
