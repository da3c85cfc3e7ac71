"""What is done about uploads beside requests: files made of what has come, and an end for what nobody goes on with.

The same in the server and in `bin/worker`. Every step may be done twice.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from uuid import UUID

from server.kit.clock import now
from server.streaming.uploads import store
from server.streaming.uploads.models import Kind, State, Upload
from server.streaming.uploads.service import FINISH_JOB, PREFIX
from server.streaming.videos.models import Failure, source_key
from server.streaming.videos.service import Videos
from storage.jobs import Jobs, Worker
from storage.objects import Lost, ObjectStore, Parts, Piece
from storage.postgres import Database

SWEEP_JOB = "uploads.sweep"
SWEEP_CRON = "*/5 * * * *"
ORPHANS_JOB = "uploads.orphans"
ORPHANS_CRON = "41 3 * * *"
_AT_ONCE = 100
_LONGEST = 3600.0
_SILENT = timedelta(minutes=15)
"""A job that had the file to make has failed for good by then, or never was: it is enqueued again."""

_log = logging.getLogger(__name__)


class Finishing:
    """Owns nothing between calls. hours: how long a row answers after its upload has ended."""

    def __init__(
        self, database: Database, objects: ObjectStore, parts: Parts, videos: Videos, jobs: Jobs, *, hours: float
    ) -> None:
        self._database = database
        self._objects = objects
        self._parts = parts
        self._videos = videos
        self._jobs = jobs
        self._hours = timedelta(hours=hours)

    def register(self, worker: Worker) -> None:
        worker.register(FINISH_JOB, self._finish_job, seconds=_LONGEST)
        worker.register(SWEEP_JOB, self._sweep_job)
        worker.every(SWEEP_JOB, SWEEP_CRON)
        worker.register(ORPHANS_JOB, self._orphans_job, seconds=_LONGEST)
        worker.every(ORPHANS_JOB, ORPHANS_CRON)

    async def _finish_job(self, payload: bytes) -> None:
        await self.finish(UUID(payload.decode()))

    async def _sweep_job(self, payload: bytes) -> None:
        await self.sweep()

    async def _orphans_job(self, payload: bytes) -> None:
        await self.orphans()

    async def finish(self, id: UUID) -> None:
        """Make the video's file of what has come, and say so. Raises StoreError: then it is called again."""
        async with self._database.acquire() as conn:
            upload = await store.get(conn, id)
            if upload is None or upload.video_id is None or upload.state not in (State.FULL, State.DONE):
                return
            parts = await store.lock_all(conn, upload.owner_id, upload.pieces)
        sources = [parts[piece] for piece in upload.pieces if piece in parts] or [upload]
        if upload.state is State.FULL:
            try:
                if len(sources) < len(upload.pieces):
                    raise Lost(0)
                pieces = [Piece(source.place, source.received) for source in sources]
                await self._parts.complete(pieces, source_key(upload.video_id), "application/octet-stream")
            except Lost as lost:
                await self._fail(upload, sources, lost)
                return
            async with self._database.transaction() as conn:
                if await store.done(conn, id, now() + self._hours):
                    await self._videos.uploaded(conn, upload.video_id, size=upload.received)
        await self._clean(upload, sources)

    async def sweep(self) -> int:
        """Remove what nobody goes on with, some at a time; how many."""
        removed = 0
        while True:
            async with self._database.acquire() as conn:
                ids = await store.unwanted(conn, _AT_ONCE)
            for id in ids:
                await self._expire(id)
            removed += len(ids)
            if len(ids) < _AT_ONCE:
                break
        async with self._database.transaction() as conn:
            for id in await store.waiting(conn, self._hours - _SILENT, _AT_ONCE):
                await self._jobs.enqueue(conn, FINISH_JOB, str(id).encode(), dedupe=f"{FINISH_JOB}:{id}")
        return removed

    async def orphans(self) -> int:
        """Remove places whose row is gone: a process died between the two. How many."""
        places = set()
        async for key, _ in self._objects.list(f"{PREFIX}/"):
            with contextlib.suppress(ValueError):  # nothing of ours
                places.add(UUID(key.split("/")[1]))
        removed, ids = 0, sorted(places)
        for at in range(0, len(ids), 1000):
            some = ids[at : at + 1000]
            async with self._database.acquire() as conn:
                known = await store.known(conn, some)
            for id in set(some) - known:
                await self._parts.abort(f"{PREFIX}/{id}")
                removed += 1
        return removed

    async def _expire(self, id: UUID) -> None:
        async with self._database.transaction() as conn:
            upload = await store.lock(conn, id)
            if upload is None:
                return
            if upload.state is State.OPEN and upload.kind is not Kind.FORM and upload.video_id is not None:
                # a while longer it answers that its time is over
                await store.expire(conn, id, now() + self._hours)
                await self._videos.abandon(conn, upload.video_id)
            else:
                await store.delete(conn, [id])
        if upload.state is not State.DONE:
            await self._parts.abort(upload.place)

    async def _fail(self, upload: Upload, sources: list[Upload], lost: Lost) -> None:
        _log.error("upload %s: %s", upload.id, lost)
        failure = Failure("upload_lost", "The store has lost a part of the file. Upload it again.")
        async with self._database.transaction() as conn:
            if upload.video_id is not None:
                await self._videos.upload_failed(conn, upload.video_id, failure)
            await store.delete(conn, [upload.id])
        await self._clean(upload, sources)

    async def _clean(self, upload: Upload, sources: list[Upload]) -> None:
        for source in sources:
            await self._parts.abort(source.place)
        if upload.pieces:
            async with self._database.transaction() as conn:
                await store.delete(conn, upload.pieces)
