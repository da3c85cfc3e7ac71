"""A broadcast: one publisher at a time, many bounded readers.

A Broadcast is made when its first publisher is admitted and dies when the product ends it. Publishers come and go
within it (a dropped encoder, a deploy): each is a PublisherSession with a timeline of its own. A session holds its
first samples back until both tracks are known or HEADER_WAIT has passed, so that readers learn of all tracks at once.

Readers are called on the loop, in order, without waiting. A reader that cannot keep up is its own problem: one that
needs time puts itself behind a `queue_reader.QueueReader`, which drops to the next key frame and counts.

A broadcast may have derived renditions beside what its publisher sends: the same programme in another codec or size, on
the same clock. Each is a Derived with readers of its own; whoever makes it may fail without anybody else noticing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from media.health import Health
from media.ingest.gate import Link, PublishRequest
from media.samples import Kind, Sample, Track

log = logging.getLogger(__name__)

HEADER_WAIT = 0.5
"""Seconds after the first media that a second sequence header may take."""
HELD_BYTES, HELD_SAMPLES = 8 << 20, 1024
"""More than this is not held back for a second sequence header."""
TAKEN_OVER = "another encoder took over"
KEY_SECONDS = 0.5
"""A publisher is asked for a key frame this often, however many want one."""
GOP_BYTES, GOP_SAMPLES = 8 << 20, 1200
"""More than this is not kept since the last key frame."""
MOST_DERIVED = 16
"""Derived renditions of one broadcast."""
DERIVED_NAME = re.compile(r"[a-z0-9]{1,12}")


class Reader(Protocol):
    """What a broadcast feeds. No method may block or raise; one that raises is taken off the broadcast and logged."""

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        """A new timeline starts: a new publisher, another codec or track, or a clock that jumped."""
        ...

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """The picture's configuration is another from the next sample on, which is a key frame (see Track.continues):
        a sender that changes the size of its picture. The timeline goes on."""
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


class Follower(Protocol):
    """What is told of a broadcast's derived renditions. Called on the loop; must not block or raise."""

    def on_derived(self, derived: Derived) -> None:
        """There is a new one, or one that was not listed is from now on."""
        ...

    def on_derived_gone(self, derived: Derived) -> None: ...


class Broadcast:
    """One broadcast's live side. `id` is the product's id of it, as text. running: a timeline has begun and its
    publisher is still there. gop: the picture since its last key frame, for readers who come in between; empty when
    that is too much. notes: sentences for the person who publishes, by who says them."""

    def __init__(self, id: str, watcher: Watcher) -> None:
        self.id = id
        self.notes: dict[str, str] = {}
        self.tracks: tuple[Track, ...] = ()
        self.publisher: PublisherSession | None = None
        self.health = Health()
        self.last_key: tuple[Track, Sample] | None = None
        self.gop: list[Sample] = []
        self._gop_bytes = 0
        self.last_media = 0.0
        self.ended = False
        self.running = False
        self._watcher = watcher
        self._readers: list[Reader] = []
        self._derived: dict[str, Derived] = {}
        self._followers: list[Follower] = []
        self._key_wanted: dict[str, float] = {}

    def add(self, reader: Reader) -> None:
        self._readers.append(reader)
        if self.tracks and self.publisher is not None:
            reader.on_tracks(self.tracks)

    def remove(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    @property
    def derived(self) -> Mapping[str, Derived]:
        return self._derived

    def derive(self, name: str, *, listed: bool = False, on_timeline: Callable[[], None] | None = None) -> Derived:
        """One more rendition of this broadcast, made by the caller; one of the same name is closed and replaced.

        name: DERIVED_NAME; "opus", a simulcast layer "m", a rung "480p". listed: it belongs into the playlists.
        on_timeline: called when a timeline began, after all readers know of it: Derived.track() is due (again).
        Raises ValueError for a bad name, and when there are MOST_DERIVED already; RuntimeError when it has ended.
        """
        if self.ended:
            raise RuntimeError(f"broadcast {self.id} has ended")
        if not DERIVED_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a derived rendition")
        if name in self._derived:
            self._derived[name].close()
        if len(self._derived) >= MOST_DERIVED:
            raise ValueError(f"a broadcast has at most {MOST_DERIVED} derived renditions")
        derived = self._derived[name] = Derived(self, name, listed, on_timeline)
        for follower in list(self._followers):
            follower.on_derived(derived)
        return derived

    def follow(self, follower: Follower) -> None:
        """Tell it of each derived rendition, also of those that are here already."""
        self._followers.append(follower)
        for derived in list(self._derived.values()):
            follower.on_derived(derived)

    def unfollow(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)

    def want_key(self, rendition: str = "") -> bool:
        """Ask the publisher for a key frame, or for one of its simulcast layer; False when it cannot be asked."""
        publisher = self.publisher
        if publisher is None:
            return False
        now = time.monotonic()
        if now - self._key_wanted.get(rendition, -1e9) < KEY_SECONDS:
            return True
        if not publisher.link.want_key(rendition):
            return False
        self._key_wanted[rendition] = now
        return True

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
        for derived in list(self._derived.values()):
            derived.close()
        self._each(lambda reader: reader.on_end())

    def describe(self) -> dict[str, object]:
        return {
            "id": self.id,
            "publisher": self.publisher.link.describe() if self.publisher else None,
            "tracks": [t.codec_string for t in self.tracks],
            "health": self.health.describe(),
            "derived": [derived.describe() for derived in self._derived.values()],
        }

    # what a PublisherSession calls

    def _start(self, session: PublisherSession, tracks: tuple[Track, ...]) -> None:
        first = not session.started
        self.tracks = tracks
        self.health.on_tracks(tracks)
        self.gop = []
        self._stop_derived()  # what they have is on the clock of the timeline before
        self.running = True
        self._each(lambda reader: reader.on_tracks(tracks))
        for derived in list(self._derived.values()):
            derived._timeline()
        if first:
            self._watcher.on_live(self)
        else:
            self._watcher.on_tracks(self)

    def _change(self, tracks: tuple[Track, ...]) -> None:
        """The timeline and all that is derived go on."""
        self.tracks = tracks
        self.gop = []
        self._each(lambda reader: reader.on_change(tracks))
        self._watcher.on_tracks(self)

    def _samples(self, batch: Sequence[Sample]) -> None:
        self.last_media = time.monotonic()
        self.health.on_samples(batch)
        for sample in batch:
            if sample.track == 1:
                self._remember(sample)
        for reader in self._readers:
            try:
                reader.on_samples(batch)
            except Exception:
                self._drop(reader)

    def _remember(self, sample: Sample) -> None:
        if sample.key:
            self.last_key = (self.tracks[0], sample)
            self.gop, self._gop_bytes = [sample], len(sample.data)
        elif self.gop:
            self._gop_bytes += len(sample.data)
            if self._gop_bytes > GOP_BYTES or len(self.gop) >= GOP_SAMPLES:
                self.gop = []
            else:
                self.gop.append(sample)

    def _gone(self, session: PublisherSession, reason: str, clean: bool) -> None:
        if session.started:
            self.running = False
            self.gop = []
            self._stop_derived()
            self._each(lambda reader: reader.on_interrupted())
        if self.publisher is not session:
            return  # another one is here already: nothing was interrupted
        self.publisher = None
        if not self.ended:
            self._watcher.on_interrupted(self, reason, clean)

    def _stop_derived(self) -> None:
        for derived in list(self._derived.values()):
            derived._stop()

    def _listed(self, derived: Derived) -> None:
        for follower in list(self._followers):
            follower.on_derived(derived)

    def _without(self, derived: Derived) -> None:
        """It was closed."""
        if self._derived.get(derived.name) is derived:
            del self._derived[derived.name]
        for follower in list(self._followers):
            follower.on_derived_gone(derived)

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
        self._changed = False
        self._derived: list[Derived] = []

    def track(self, track: Track) -> None:
        before = self._tracks.get(track.id)
        if self.closed or before == track:
            return
        self._tracks[track.id] = track
        if self.started and before is not None and track.continues(before):
            self._changed = True
        else:
            self._stale = True

    def samples(self, batch: Sequence[Sample]) -> None:
        if self.closed or not batch:
            return
        if self.started and not self._stale:
            if self._changed:
                self._changed = False
                self._broadcast._change(self._all())
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

    def derive(self, name: str, on_timeline: Callable[[], None]) -> Derived | None:
        if self.closed or self._broadcast.publisher is not self:
            return None
        try:
            derived = self._broadcast.derive(name, listed=True, on_timeline=on_timeline)
        except (RuntimeError, ValueError):
            return None
        self._derived.append(derived)
        return derived

    def close(self, reason: str, *, clean: bool) -> None:
        if self.closed:
            return
        if not self.started and self._held:
            self._release()
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for derived in self._derived:
            derived.close()
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
        self._stale = self._changed = False
        self._broadcast._start(self, self._all())
        self.started = True
        self._broadcast._samples(batch)

    def _all(self) -> tuple[Track, ...]:
        return tuple(self._tracks[id] for id in sorted(self._tracks))


class Derived:
    """One more rendition of a broadcast, made from what its publisher sends: another codec, another size.

    Its samples are on the publisher's clock: `dts` and `pts` count from the same zero as those, in the derived
    track's timescale. With each timeline of the broadcast it begins anew: until track() is called again there is no
    track, and samples are dropped, so that nothing late lands on a clock that it does not belong to. Readers are
    told as those of a broadcast are: on_tracks when it begins, on_interrupted when its timeline is over, on_end when it
    is closed. Nothing here waits, keeps samples or tells the broadcast of a failure.
    """

    def __init__(
        self, broadcast: Broadcast, name: str, listed: bool, on_timeline: Callable[[], None] | None = None
    ) -> None:
        self.broadcast = broadcast
        self.name = name
        self.listed = listed
        self.current: Track | None = None
        self.closed = False
        self.dropped = 0
        self.last_media = 0.0
        self.health = Health()
        self._on_timeline = on_timeline
        self._readers: list[Reader] = []

    def add(self, reader: Reader) -> None:
        """A reader of this rendition alone; it is told of the track at once when there is one."""
        self._readers.append(reader)
        if self.current is not None:
            reader.on_tracks((self.current,))

    def remove(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    def enlist(self) -> None:
        """From now on it belongs into the playlists; followers are told again."""
        if self.listed or self.closed:
            return
        self.listed = True
        self.broadcast._listed(self)

    def track(self, track: Track) -> bool:
        """What follows is this track (id 1 for video, 2 for sound). False, and nothing done, when no timeline runs."""
        if self.closed or not self.broadcast.running:
            return False
        if track != self.current:
            self.current = track
            self.health.on_tracks((track,))
            self._each(lambda reader: reader.on_tracks((track,)))
        return True

    def samples(self, batch: Sequence[Sample]) -> None:
        if self.closed or self.current is None or not batch:
            self.dropped += len(batch)
            return
        self.last_media = time.monotonic()
        self.health.on_samples(batch)
        self._each(lambda reader: reader.on_samples(batch))

    def close(self) -> None:
        """It will bring no more. Safe to call twice."""
        if self.closed:
            return
        self._stop()
        self.closed = True
        self._each(lambda reader: reader.on_end())
        self.broadcast._without(self)

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "codec": self.current.codec_string if self.current else None,
            "readers": len(self._readers),
            "dropped": self.dropped,
            "health": self.health.describe(),
        }

    # what a Broadcast calls

    def _stop(self) -> None:
        """The timeline is over."""
        if self.current is not None:
            self.current = None
            self._each(lambda reader: reader.on_interrupted())

    def _timeline(self) -> None:
        """A timeline began."""
        if self._on_timeline is None or self.closed:
            return
        try:
            self._on_timeline()
        except Exception:
            log.exception("broadcast %s: what makes its rendition %s failed", self.broadcast.id, self.name)
            self.close()

    def _each(self, call: Callable[[Reader], None]) -> None:
        for reader in list(self._readers):
            try:
                call(reader)
            except Exception:
                log.exception(
                    "broadcast %s: a %s of its rendition %s failed and was taken off",
                    self.broadcast.id,
                    type(reader).__name__,
                    self.name,
                )
                self.remove(reader)
