"""A broadcast: one publisher at a time, many bounded readers.

A Broadcast is made when its first publisher is admitted and dies when the product ends it. Publishers come and go
within it (a dropped encoder, a deploy): each is a PublisherSession with a timeline of its own. A session holds its
first samples back until both tracks are known or HEADER_WAIT has passed, so that readers learn of all tracks at once.

Readers are called on the loop, in order, without waiting. A reader that cannot keep up is its own problem: one that
needs time puts itself behind a QueueReader, which drops to the next key frame and counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from media.ingest.gate import Link, PublishRequest
from media.samples import Kind, Sample, Track

log = logging.getLogger(__name__)

HEADER_WAIT = 0.5
"""Seconds after the first media that a second sequence header may take."""
HELD_BYTES, HELD_SAMPLES = 8 << 20, 1024
"""More than this is not held back for a second sequence header."""
TAKEN_OVER = "another encoder took over"


class Reader(Protocol):
    """What a broadcast feeds. No method may block or raise; one that raises is taken off the broadcast and logged."""

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        """A new timeline starts: a new publisher, a changed configuration, or a clock that jumped."""
        ...

    def on_samples(self, batch: Sequence[Sample]) -> None: ...

    def on_interrupted(self) -> None:
        """The publisher is gone; it may come back. What is open should be closed now."""
        ...

    def on_end(self) -> None: ...


class Watcher(Protocol):
    """What the product is told. Called on the loop; must not block."""

    def on_live(self, broadcast: Broadcast) -> None:
        """The first media of a publisher session came through."""
        ...

    def on_tracks(self, broadcast: Broadcast) -> None: ...

    def on_interrupted(self, broadcast: Broadcast, reason: str, clean: bool) -> None: ...

    def on_failed(self, broadcast: Broadcast, reader: Reader) -> None:
        """A reader raised and was taken off; the exception is logged."""
        ...


class Broadcast:
    """One broadcast's live side. `id` is the product's id of it, as text."""

    def __init__(self, id: str, watcher: Watcher) -> None:
        self.id = id
        self.tracks: tuple[Track, ...] = ()
        self.publisher: PublisherSession | None = None
        self.health = Health()
        self.last_key: tuple[Track, Sample] | None = None
        self.last_media = 0.0
        self.ended = False
        self._watcher = watcher
        self._readers: list[Reader] = []

    def add(self, reader: Reader) -> None:
        self._readers.append(reader)
        if self.tracks and self.publisher is not None:
            reader.on_tracks(self.tracks)

    def remove(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    def open(self, request: PublishRequest) -> PublisherSession:
        """Let a publisher in; one that is still there is hung up on (the caller has judged it dead or replaced)."""
        if self.ended:
            raise RuntimeError(f"broadcast {self.id} has ended")
        old, self.publisher = self.publisher, PublisherSession(self, request)
        if old is not None:
            old.close(TAKEN_OVER, clean=False)
            old.link.close(TAKEN_OVER)
        return self.publisher

    def end(self, reason: str) -> None:
        """No more publishers; readers close what they have open. Safe to call twice."""
        if self.ended:
            return
        self.ended = True
        publisher = self.publisher
        if publisher is not None:
            publisher.close(reason, clean=True)
            publisher.link.close(reason)
        self._each(lambda reader: reader.on_end())

    def describe(self) -> dict[str, object]:
        return {
            "id": self.id,
            "publisher": self.publisher.link.describe() if self.publisher else None,
            "tracks": [t.codec_string for t in self.tracks],
            "health": self.health.describe(),
        }

    # what a PublisherSession calls

    def _start(self, session: PublisherSession, tracks: tuple[Track, ...]) -> None:
        first = not session.started
        self.tracks = tracks
        self.health.on_tracks(tracks)
        self._each(lambda reader: reader.on_tracks(tracks))
        if first:
            self._watcher.on_live(self)
        else:
            self._watcher.on_tracks(self)

    def _samples(self, batch: Sequence[Sample]) -> None:
        self.last_media = time.monotonic()
        self.health.on_samples(batch)
        for sample in batch:
            if sample.key and sample.track == 1:
                self.last_key = (self.tracks[0], sample)
        for reader in self._readers:
            try:
                reader.on_samples(batch)
            except Exception:
                self._drop(reader)

    def _gone(self, session: PublisherSession, reason: str, clean: bool) -> None:
        if session.started:
            self._each(lambda reader: reader.on_interrupted())
        if self.publisher is not session:
            return  # another one is here already: nothing was interrupted
        self.publisher = None
        if not self.ended:
            self._watcher.on_interrupted(self, reason, clean)

    def _each(self, call: Callable[[Reader], None]) -> None:
        for reader in list(self._readers):
            try:
                call(reader)
            except Exception:
                self._drop(reader)

    def _drop(self, reader: Reader) -> None:
        log.exception("broadcast %s: a %s failed and was taken off", self.id, type(reader).__name__)
        self._readers = [r for r in self._readers if r is not reader]
        self._watcher.on_failed(self, reader)


class PublisherSession:
    """One publisher's stay in a broadcast: the Publisher that an ingest connection writes to."""

    def __init__(self, broadcast: Broadcast, request: PublishRequest) -> None:
        self.request = request
        self.link: Link = request.link
        self.started = False
        self.closed = False
        self._broadcast = broadcast
        self._tracks: dict[int, Track] = {}
        self._held: list[Sample] = []
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stale = False

    def track(self, track: Track) -> None:
        if self.closed or self._tracks.get(track.id) == track:
            return
        self._tracks[track.id] = track
        self._stale = True

    def samples(self, batch: Sequence[Sample]) -> None:
        if self.closed or not batch:
            return
        if self.started and not self._stale:
            self._broadcast._samples(batch)
            return
        if self.started:
            self._begin(batch)
            return
        self._held.extend(batch)
        self._held_bytes += sum(len(sample.data) for sample in batch)
        kinds = {track.kind for track in self._tracks.values()}
        full = self._held_bytes > HELD_BYTES or len(self._held) > HELD_SAMPLES
        if full or kinds == {Kind.VIDEO, Kind.AUDIO}:
            self._release()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEADER_WAIT, self._release)

    def restart(self) -> None:
        self._stale = True

    def close(self, reason: str, *, clean: bool) -> None:
        if self.closed:
            return
        if not self.started and self._held:
            self._release()
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._broadcast._gone(self, reason, clean)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.closed or self.started or not self._tracks:
            return
        held, self._held = self._held, []
        self._begin(held)

    def _begin(self, batch: Sequence[Sample]) -> None:
        """Start a timeline. A new header applies to the whole batch: ingest flushes before it announces one."""
        self._stale = False
        tracks = tuple(self._tracks[id] for id in sorted(self._tracks))
        self._broadcast._start(self, tracks)
        self.started = True
        self._broadcast._samples(batch)


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


class QueueReader:
    """A reader that works in a task of its own behind a bounded queue.

    Overflow drops everything up to the next key frame and counts it in `dropped`; the publisher never waits. Packaging
    keeps up on the loop and needs none; this is for readers that wait for something else: a push to another server, a
    transcoder, a socket that carries media.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.dropped = 0
        self._limit = limit_bytes
        self._size = 0
        self._queue: deque[tuple[Track, ...] | Sample | None] = deque()
        self._waiting_for_key = True
        self._has_video = False
        self._wake = asyncio.Event()

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._has_video = any(t.kind is Kind.VIDEO for t in tracks)
        self._waiting_for_key = self._has_video
        self._queue.append(tracks)
        self._wake.set()

    def on_samples(self, batch: Sequence[Sample]) -> None:
        for sample in batch:
            if self._waiting_for_key:
                if not (sample.key and sample.track == 1):
                    continue
                self._waiting_for_key = False
            if self._size + len(sample.data) > self._limit:
                self._overflow()
                continue
            self._size += len(sample.data)
            self._queue.append(sample)
        if self._queue:
            self._wake.set()

    def on_interrupted(self) -> None:
        pass

    def on_end(self) -> None:
        self._queue.append(None)
        self._wake.set()

    async def read(self) -> tuple[Track, ...] | Sample | None:
        """The next tracks or sample; None at the end."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        item = self._queue.popleft()
        if isinstance(item, Sample):
            self._size -= len(item.data)
        return item

    def _overflow(self) -> None:
        kept = [item for item in self._queue if not isinstance(item, Sample)]
        self.dropped += len(self._queue) - len(kept) + 1
        self._queue = deque(kept)
        self._size = 0
        self._waiting_for_key = self._has_video
