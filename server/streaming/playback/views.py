"""Views, watch time and the retention of videos.

A view counts once for a viewer and a window (a day), after some seconds that were delivered to him and played. What is
counted is kept in memory and written every few seconds; a process that is killed loses what it counted since, and no
more: who was counted is written in the same transaction as the count, by a digest that names nobody and is forgotten
after the window, so that neither a restart nor another process counts him twice.

Media and word of it have to come to the same process: a balancer keeps a viewer with one (docs/operators.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from aiohttp import web

from server.kit.http import Call
from server.kit.limits import address_key
from server.streaming.playback import views_store
from server.streaming.playback.files import Files
from server.streaming.playback.subjects import Subject
from server.streaming.playback.viewers import COOKIE, COOKIE_SECONDS, Viewers
from server.streaming.playback.views_store import Seen
from server.streaming.playback.watches import Watch, bucket_width, starts_of
from server.streaming.videos.models import ViewBody, Watchable
from storage.objects import StoreError
from storage.postgres import Connection, Database
from storage.postgres.database import AWAY

log = logging.getLogger(__name__)

SEGMENT = re.compile(r"([va](?:-[a-z0-9]{1,16})?)-([0-9]{1,7})\.m4s", re.ASCII)
SEGMENTS_MOST = 20_000
WATCHES_MOST = 200_000
UNUSED_SECONDS = 1800.0
GRIDS_MOST = 256
SHORT = 0.8
"""Of what is shorter than the seconds that make a view, this share has to be played."""
PRUNE_EVERY = 60
"""Rounds of writing."""

Key = tuple[UUID, str]


class Videos(Protocol):
    async def add_views(self, conn: Connection, views: Mapping[UUID, int]) -> None: ...


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """seconds: watched before a view counts. window: a viewer counts once in so many s. per_address: views of one video
    that one address can make in that time. write: s between two writings."""

    seconds: float
    window: float
    per_address: int
    write: float


class Views:
    """key: of the digests of viewers. secure: whether browsers come by TLS."""

    def __init__(
        self,
        database: Database,
        videos: Videos,
        files: Files,
        viewers: Viewers,
        key: bytes,
        options: ViewOptions,
        *,
        secure: bool,
    ) -> None:
        self._database = database
        self._videos = videos
        self._files = files
        self._viewers = viewers
        self._key = key
        self._options = options
        self._secure = secure
        self._watches: OrderedDict[Key, Watch] = OrderedDict()
        self._dirty: set[Key] = set()
        self._grids: OrderedDict[tuple[UUID, str], tuple[str, list[float]]] = OrderedDict()
        self._from_address: Counter[tuple[UUID, str]] = Counter()
        self._window_began = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self.counted = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        failed, round_ = False, 0
        while True:
            await asyncio.sleep(self._options.write)
            round_ += 1
            try:
                await self.write()
                if round_ % PRUNE_EVERY == 1:
                    async with self._database.acquire() as conn:
                        await views_store.prune(conn, self._options.window)
                failed = False
            except AWAY as error:
                if not failed:
                    log.warning("what was watched cannot be written down: %r", error)
                failed = True
            except Exception:
                log.exception("what was watched could not be written down")
            self._forget()

    async def close(self) -> None:
        """Write down what there is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.write()
        except AWAY as error:
            log.warning("what was watched since the last writing is lost: %r", error)

    def describe(self) -> dict[str, object]:
        return {"watches": len(self._watches), "counted": self.counted}

    # what is told

    def delivered(self, request: web.Request, subject: Subject, name: str) -> None:
        """A segment has been given to this viewer."""
        match = SEGMENT.fullmatch(name)
        if match is None:
            return
        now = time.monotonic()
        key = (subject.id, self._viewers.viewer_of(request))
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(begun=now, used=now)
            if len(self._watches) > WATCHES_MOST:
                self._watches.popitem(last=False)
        self._watches.move_to_end(key)
        watch.used = now
        if len(watch.segments) < SEGMENTS_MOST:
            watch.segments.add(int(match[2]))
        watch.letter = match[1]

    async def viewed(self, video: Watchable, call: Call, body: ViewBody) -> None:
        """A player says that it has played from one place to another."""
        key = (video.id, self._viewers.viewer_of(call.request))
        watch = self._watches.get(key)
        if watch is None:
            return
        if (cookie := self._viewers.issue(call.request)) is not None:
            call.set_cookie(COOKIE, cookie, max_age=COOKIE_SECONDS, secure=self._secure)
            # he is known by it from now on; nothing was counted of what he did before
            if not watch.buckets:
                del self._watches[key]
                key = (video.id, cookie.partition(".")[0])
                self._watches[key] = watch
        starts = await self._starts(video.id, watch.letter)
        if len(starts) < 2 or body.to <= body.from_:
            return
        duration = max(video.duration, starts[-1])
        watch.width = bucket_width(duration)
        watch.used = time.monotonic()
        watch.played(body.from_, body.to, watch.used, starts)
        if not watch.counted and watch.spent >= min(self._options.seconds, SHORT * starts[-1]):
            self._count(video.id, watch, call.address)
        if watch.dirty and self._watches.get(key) is watch:
            self._watches.move_to_end(key)
            self._dirty.add(key)

    def _count(self, id: UUID, watch: Watch, address: str) -> None:
        if time.monotonic() - self._window_began > self._options.window:
            self._window_began = time.monotonic()
            self._from_address.clear()
        where = (id, address_key(address))
        if self._from_address[where] >= self._options.per_address:
            return
        self._from_address[where] += 1
        watch.counted = True

    async def _starts(self, id: UUID, letter: str) -> list[float]:
        """Where the segments begin; empty while that cannot be known."""
        try:
            file = await self._files.read(f"videos/{id}", f"{letter}.m3u8")
        except StoreError:
            return []
        if file is None:
            return []
        known = self._grids.get((id, letter))
        if known is None or known[0] != file.etag:
            known = self._grids[id, letter] = (file.etag, starts_of(file.body.decode(errors="replace")))
            if len(self._grids) > GRIDS_MOST:
                self._grids.popitem(last=False)
        return known[1]

    # what is written

    async def write(self) -> None:
        """Everything that was counted since the last time, in one transaction."""
        async with self._writing:
            taken = {
                key: Seen(self._digest(key[1]), watch.seconds, watch.buckets, watch.counted)
                for key in self._dirty
                if (watch := self._watches.get(key)) is not None and watch.dirty
            }
            self._dirty.intersection_update(taken)
            if not taken:
                return
            widths = {key[0]: self._watches[key].width for key in taken}
            async with self._database.transaction() as conn:
                views = await views_store.add(
                    conn, {(key[0], seen.viewer): seen for key, seen in taken.items()}, widths, self._options.window
                )
                await self._videos.add_views(conn, views)
            self.counted += sum(views.values())
            for key, seen in taken.items():
                watch = self._watches.get(key)
                if watch is not None:
                    watch.seconds -= seen.seconds
                    watch.written |= seen.buckets
                    watch.counted_written = watch.counted_written or seen.counted
                    if not watch.dirty:
                        self._dirty.discard(key)

    def _digest(self, viewer: str) -> bytes:
        return hashlib.blake2s(viewer.encode(), key=self._key, digest_size=16).digest()

    def _forget(self) -> None:
        unused = time.monotonic() - UNUSED_SECONDS
        while self._watches:
            key, watch = next(iter(self._watches.items()))
            if watch.used >= unused or watch.dirty:
                break
            del self._watches[key]
