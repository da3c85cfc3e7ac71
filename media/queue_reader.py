"""A Reader of a broadcast for whatever cannot keep up on the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from media.samples import Kind, Sample, Track


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

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        self.on_tracks(tracks)

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
