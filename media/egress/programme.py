"""A broadcast as it is sent by WebRTC: its feeds and its viewers.

A Programme begins with a broadcast's first viewer and ends with its last, or with the broadcast; Programmes holds those
of a process. It has one feed for the source's picture, one for each derived rendition that a viewer is on, and one for
the sound, which is the source's when that is Opus, else a derived rendition that is asked for while there are viewers.
A rung of the ladder is made from when the first viewer is to be sent it until the last one is not any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from media.broadcast import Broadcast, Derived
from media.egress.clock import ProgrammeClock
from media.egress.feed import Feed, Frame, Source
from media.egress.layers import Chooser, Picture, Rendition
from media.egress.payloads import NotPlayable
from media.egress.rounds import Rounds
from media.egress.whep import Viewer
from media.samples import Codec, Kind, Sample, Track
from media.transcode.ladders import LadderBusy
from media.transcode.rungs import Step
from media.transcode.sounds import SoundsBusy

log = logging.getLogger(__name__)

SOURCE = "source"
OPUS = "opus"
TICK_SECONDS = 0.25
FAREWELL_SECONDS = 1.0
"""Viewers of a broadcast that ended keep the connection so long: what was sent last is shown."""
JUDGE_SECONDS = 1.0
KEY_SHARE = 0.25
"""What the key frames of a rendition are thought to take of it, as long as that is not known."""


class Lease(Protocol):
    def release(self) -> None: ...


class Sounds(Protocol):
    """Makes a broadcast's sound in another codec while somebody holds a lease on it."""

    def want(self, broadcast: Broadcast, codec: Codec) -> Lease: ...


class Ladder(Protocol):
    """Makes a broadcast's picture smaller while somebody holds a lease on a rung."""

    def offers(self) -> Sequence[Step]: ...

    def want(self, name: str) -> Lease:
        """Raises LadderBusy."""
        ...


class Ladders(Protocol):
    def of(self, broadcast: Broadcast) -> Ladder: ...


class Programme:
    """`on_over` is called when the last viewer has left, or the broadcast has ended."""

    def __init__(
        self,
        broadcast: Broadcast,
        rounds: Rounds,
        sounds: Sounds | None,
        ladder: Ladder | None,
        on_over: Callable[[Programme], None],
    ) -> None:
        self.broadcast = broadcast
        self.clock = ProgrammeClock()
        self.viewers: dict[Viewer, None] = {}
        self.ended = False
        self._rounds = rounds
        self._sounds = sounds
        self._ladder = ladder
        self._on_over = on_over
        self._rungs: dict[str, Lease] = {}
        self._offered: Mapping[str, Step] = {}
        self._source = self._feed(SOURCE, Kind.VIDEO, broadcast)
        self._derived: dict[str, Feed] = {}
        self._audio: Feed | None = None
        self._lease: Lease | None = None
        self._wanting = False
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        self.broadcast.add(self)  # before its feeds, so that the clock knows of a new timeline first
        self._source.start()
        self._source.on_samples(self.broadcast.gop)  # who comes first sees something at once too
        self.broadcast.follow(self)
        self._tick()

    def close(self) -> None:
        """No more feeds; the caller has sent the viewers away. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.broadcast.unfollow(self)
        self.broadcast.remove(self)
        self._source.close()
        for name in list(self._derived):
            self._close_feed(name)
        self._mute()

    async def judged(self) -> NotPlayable | None:
        """Why the picture cannot be played; None when it can, or when nothing speaks against it within a moment."""
        try:
            async with asyncio.timeout(JUDGE_SECONDS):
                while not self._source.judged:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self._source.problem

    @property
    def track(self) -> Track | None:
        """The source's picture."""
        return self._source.track

    def describe(self) -> dict[str, object]:
        return {
            "broadcast": self.broadcast.id,
            "viewers": len(self.viewers),
            "feeds": [feed.describe() for feed in self._feeds()],
        }

    # what viewers call

    def enter(self, viewer: Viewer) -> None:
        if self.ended:
            viewer.close("the broadcast has ended")
            return
        self.viewers[viewer] = None
        self._find_sound()
        viewer.chooser = Chooser(SOURCE)
        viewer.watch(self._source, time.monotonic())

    def leave(self, viewer: Viewer) -> None:
        self.viewers.pop(viewer, None)
        self._tidy()

    def want_key(self, feed: Feed) -> bool:
        """Ask whoever makes the picture for a key frame; False when it cannot be asked."""
        theirs = feed is self._source or feed.name in self._rungs  # a rung has the source's
        return self.broadcast.want_key("" if theirs else feed.name)

    # the Reader and Follower

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self.clock.restart()
        self._find_sound()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """The clock goes on."""

    def on_samples(self, batch: Sequence[Sample]) -> None:
        """Feeds read for themselves."""

    def on_interrupted(self) -> None:
        """Viewers stay: the publisher may come back."""

    def on_end(self) -> None:
        if self.ended:
            return
        self.ended = True
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._farewell)

    def on_derived(self, derived: Derived) -> None:
        self._find_sound()

    def on_derived_gone(self, derived: Derived) -> None:
        if self._audio is not None and self._audio.source is derived:
            self._audio.close()
            self._audio = None
        feed = self._close_feed(derived.name)
        if feed is not None:
            for viewer in list(self.viewers):
                if feed in (viewer.feed, viewer.next_feed):
                    viewer.switch(self._source)

    def _farewell(self) -> None:
        for viewer in list(self.viewers):
            viewer.close("the broadcast has ended")
        self._on_over(self)

    # feeds

    def _feed(self, name: str, kind: Kind, source: Source) -> Feed:
        return Feed(name, kind, source, self.clock, self._deliver, self._on_feed)

    def _deliver(self, frame: Frame) -> None:
        if not self._changed.is_set():
            self._changed.set()
        self._rounds.give(self.viewers, Viewer.take, frame)

    def _on_feed(self, feed: Feed) -> None:
        self._changed.set()
        if feed.kind is Kind.AUDIO:
            return
        for viewer in list(self.viewers):
            viewer.lost(feed)
            if feed is not self._source:
                continue
            if feed.problem is not None:
                viewer.close(feed.problem.words)
            elif feed.track is not None and not viewer.wants(Kind.VIDEO, feed.track.codec):
                viewer.close("the picture has another codec now: connect again")

    def _find_sound(self) -> None:
        """Opus from the source, or from whoever makes it of what the source has, once somebody listens."""
        if not any(viewer.wants(Kind.AUDIO, Codec.OPUS) for viewer in self.viewers):
            return
        track = next((t for t in self.broadcast.tracks if t.kind is Kind.AUDIO), None)
        if track is None:
            return
        source: Source | None = self.broadcast
        if track.codec is Codec.OPUS:
            self._release()
        else:
            self._want_opus()
            source = self.broadcast.derived.get(OPUS)
        if source is None or (self._audio is not None and self._audio.source is source):
            return
        if self._audio is not None:
            self._audio.close()
        self._audio = self._feed(OPUS, Kind.AUDIO, source)
        self._audio.start()

    def _want_opus(self) -> None:
        if self._lease is not None or self._wanting or self._sounds is None or self.broadcast.ended:
            return
        self._wanting = True  # a new derived rendition is told to us before the lease is here
        try:
            self._lease = self._sounds.want(self.broadcast, Codec.OPUS)
        except SoundsBusy:
            pass  # the picture plays without; the next tick tries again
        finally:
            self._wanting = False

    def _mute(self) -> None:
        if self._audio is not None:
            self._audio.close()
            self._audio = None
        self._release()

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def _feeds(self) -> list[Feed]:
        return [self._source, *self._derived.values(), *([self._audio] if self._audio is not None else [])]

    # now and then

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        self._tidy()
        if self._audio is None:
            self._find_sound()
        if self.viewers and self._ladder is not None:
            self._offered = {step.name: step for step in self._ladder.offers()}
        if self.viewers:
            self._rounds.give(self.viewers, Programme._look_after, self)

    @staticmethod
    def _look_after(viewer: Viewer, programme: Programme, now: float) -> None:
        if viewer.closed:
            return
        viewer.tick(now)
        chooser = viewer.chooser
        if chooser is None or programme._source.interrupted:
            return
        before = chooser.choice
        choice = chooser.look(
            now,
            programme._renditions(viewer),
            viewer.estimator.estimate,
            congested=viewer.congested(now),
            besides=programme._audio.bitrate if programme._audio is not None else 0.0,
        )
        if choice == before:
            return
        if choice.name != before.name or viewer.feed is None or viewer.feed.name != choice.name:
            feed = programme._video(choice.name)
            if feed is None:
                chooser.choice = before  # what would make it is busy: look again
            else:
                viewer.switch(feed)
        elif choice.picture is Picture.FULL and viewer.feed is not None:
            programme.want_key(viewer.feed)

    def _renditions(self, viewer: Viewer) -> list[Rendition]:
        """Those that this viewer can be sent, the largest first."""
        source = self._source
        found = [Rendition(SOURCE, source.bitrate, source.key_bitrate)]
        for name, derived in self.broadcast.derived.items():
            track = derived.current
            if track is None or track.kind is not Kind.VIDEO or not viewer.wants(Kind.VIDEO, track.codec):
                continue
            feed = self._derived.get(name)
            bitrate = feed.bitrate if feed is not None and feed.bitrate else derived.health.describe()["bitrate"]
            if 0 < bitrate < source.bitrate:
                keys = feed.key_bitrate if feed is not None else bitrate * KEY_SHARE
                found.append(Rendition(name, bitrate, keys))
        made = {rendition.name for rendition in found}
        if viewer.wants(Kind.VIDEO, Codec.H264) and not viewer.silent:  # nothing is encoded for who may be gone
            for name, step in self._offered.items():
                if name not in made and step.rate < source.bitrate:
                    found.append(Rendition(name, step.rate, step.rate * KEY_SHARE))
        found.sort(key=lambda rendition: -rendition.bitrate)
        return found

    def _video(self, name: str) -> Feed | None:
        """None when it cannot be made just now."""
        if name == SOURCE:
            return self._source
        feed = self._derived.get(name)
        if feed is None:
            if name in self._offered and self._ladder is not None:
                try:
                    self._rungs[name] = self._ladder.want(name)
                except LadderBusy:
                    return None
            derived = self.broadcast.derived.get(name)
            if derived is None:
                return None
            feed = self._derived[name] = self._feed(name, Kind.VIDEO, derived)
            feed.start()
        return feed

    def _close_feed(self, name: str) -> Feed | None:
        lease = self._rungs.pop(name, None)
        if lease is not None:
            lease.release()
        feed = self._derived.pop(name, None)
        if feed is not None:
            feed.close()
        return feed

    def _tidy(self) -> None:
        """Renditions that nobody is on any more."""
        used = {feed for viewer in self.viewers for feed in (viewer.feed, viewer.next_feed)}
        for name, feed in list(self._derived.items()):
            if feed not in used:
                self._close_feed(name)


class Programmes:
    """The programmes of this process, by broadcast. `expect` before a viewer connects, `done` when that is over."""

    def __init__(self, sounds: Sounds | None = None, ladders: Ladders | None = None) -> None:
        self.rounds = Rounds()
        self._sounds = sounds
        self._ladders = ladders
        self._running: dict[Broadcast, tuple[Programme, int]] = {}

    def hold(self, broadcast: Broadcast) -> Programme:
        """The broadcast's programme, begun when there is none; `release` as often as this was called."""
        programme, holds = self._running.get(broadcast, (None, 0))
        if programme is None:
            ladder = self._ladders.of(broadcast) if self._ladders is not None else None
            programme = Programme(broadcast, self.rounds, self._sounds, ladder, self._over)
            programme.start()
        self._running[broadcast] = programme, holds + 1
        return programme

    def release(self, programme: Programme) -> None:
        running, holds = self._running.get(programme.broadcast, (None, 0))
        if running is not programme:
            return
        if holds > 1:
            self._running[programme.broadcast] = programme, holds - 1
            return
        del self._running[programme.broadcast]
        programme.close()

    def close(self) -> None:
        for programme, _ in list(self._running.values()):
            programme.close()
        self._running.clear()
        self.rounds.close()

    def describe(self) -> dict[str, object]:
        return {"turns": self.rounds.turns, "programmes": [p.describe() for p, _ in self._running.values()]}

    def _over(self, programme: Programme) -> None:
        running, _ = self._running.get(programme.broadcast, (None, 0))
        if running is programme:
            del self._running[programme.broadcast]
        programme.close()
