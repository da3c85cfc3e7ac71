"""What of a broadcast goes to one target: its tracks, with the sound in a codec that the target takes.

A Feed reads the broadcast into a queue while a connection lasts. Where the target takes no Opus it asks for AAC, and
holds the timeline back until that has begun, so that both sequence headers go out together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from media.broadcast import Broadcast, Derived
from media.queue_reader import QueueReader
from media.samples import Codec, Kind, Sample, Track
from media.transcode.sounds import SoundsBusy

log = logging.getLogger(__name__)

SOUND_WAIT = 4.0
"""Seconds that the picture waits for sound which is being made."""
NO_SOUND = "sound needs AAC, which this target takes alone: the picture goes without"


class Lease(Protocol):
    @property
    def derived(self) -> Derived: ...

    def release(self) -> None: ...


class Sounds(Protocol):
    """Makes sound in another codec for as long as somebody wants it (media.transcode)."""

    def want(self, broadcast: Broadcast, codec: Codec) -> Lease:
        """Raises SoundsBusy, and RuntimeError when the broadcast has ended."""
        ...


class Feed:
    """A Reader of the broadcast. remark: told what is missing in words, "" when nothing is."""

    def __init__(
        self,
        broadcast: Broadcast,
        queue: QueueReader,
        codecs: frozenset[Codec],
        sounds: Sounds | None,
        remark: Callable[[str], None],
    ) -> None:
        self._broadcast = broadcast
        self._queue = queue
        self._codecs = codecs
        self._sounds = sounds
        self._remark = remark
        self._lease: Lease | None = None
        self._sound = _Sound(self)
        self._picture: tuple[Track, ...] = ()
        self._holding = False
        self._timer: asyncio.TimerHandle | None = None
        self._without = 0  # the id of a track that is left out

    def start(self) -> None:
        self._broadcast.add(self)

    def close(self) -> None:
        self._broadcast.remove(self)
        self._let_go()

    # Reader of the broadcast

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._stop_waiting()
        foreign = [t for t in tracks if t.kind is Kind.AUDIO and t.codec not in self._codecs]
        if not foreign:
            self._without = 0
            self._let_go()
            self._remark("")
            self._queue.on_tracks(tracks)
            return
        self._without = foreign[0].id
        self._picture = tuple(track for track in tracks if track not in foreign)
        self._holding = True
        if self._lease is None and not self._ask():
            self._without_sound()
            return
        if self._holding:
            self._timer = asyncio.get_running_loop().call_later(SOUND_WAIT, self._without_sound)

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """A picture in another configuration; the sound that is made goes on."""
        self._picture = tuple(track for track in tracks if track.id != self._without)
        if self._holding:
            return
        made = self._lease.derived.current if self._without and self._lease is not None else None
        self._queue.on_change(self._picture if made is None else (*self._picture, made))

    def on_samples(self, batch: Sequence[Sample]) -> None:
        if self._holding:
            return
        if self._without:
            batch = [sample for sample in batch if sample.track != self._without]
        self._queue.on_samples(batch)

    def on_interrupted(self) -> None:
        self._queue.on_interrupted()

    def on_end(self) -> None:
        self._queue.on_end()

    # sound that is made for us

    def on_sound(self, track: Track) -> None:
        if not self._without:
            return
        self._stop_waiting()
        self._remark("")
        self._queue.on_tracks((*self._picture, track))

    def on_sound_samples(self, batch: Sequence[Sample]) -> None:
        if self._without and not self._holding:
            self._queue.on_samples(batch)

    def on_sound_gone(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
            if self._without and not self._broadcast.ended:
                self._without_sound()

    def _ask(self) -> bool:
        if self._sounds is None:
            return False
        try:
            lease = self._lease = self._sounds.want(self._broadcast, Codec.AAC)
        except (SoundsBusy, RuntimeError):
            log.warning("broadcast %s: no AAC for a target: too much sound is converted already", self._broadcast.id)
            return False
        lease.derived.add(self._sound)
        return True

    def _without_sound(self) -> None:
        was_holding = self._holding
        self._stop_waiting()
        self._remark(NO_SOUND)
        if was_holding:
            self._queue.on_tracks(self._picture)

    def _stop_waiting(self) -> None:
        self._holding = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        self._stop_waiting()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.derived.remove(self._sound)
            lease.release()


class _Sound:
    """A Reader of the sound that is made."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._feed.on_sound(tracks[0])

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        pass  # only pictures change so

    def on_samples(self, batch: Sequence[Sample]) -> None:
        self._feed.on_sound_samples(batch)

    def on_interrupted(self) -> None:
        pass

    def on_end(self) -> None:
        self._feed.on_sound_gone()
