"""The job that makes a set of a recording: segments copied by the store under the names of the video, a plan of what
lacks. And the sources that the pieces of such a plan are made of. Keeps nothing between calls.

The recording may still be on its way to the store when it begins, from this process or another: then it waits. To do it
again, after a crash at any place, is harmless: names are final, and the row says what there is once all of it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from media.package.journal import Init
from media.vod import engine
from media.vod.errors import VodError
from media.vod.options import Limits, Options
from media.vod.recorded import Copy, Looked, Recorded, Work, bytes_of, late_of, recorded, retimed, source_of, work_of
from media.vod.stretches import Stretch, stretches_to_json
from server.kit.clock import now
from server.streaming.broadcasts import store as broadcasts
from server.streaming.broadcasts.live import prefix
from server.streaming.videos import store, work_store
from server.streaming.videos.jobs import enqueue_assembly, enqueue_pieces, enqueue_recording
from server.streaming.videos.models import Failure, folder_of
from server.streaming.videos.scratch import Scratch
from server.streaming.videos.work_store import PICTURE, SOUND, STILLS, Piece, Task
from storage.jobs import Jobs
from storage.objects import ObjectStore, StoreError
from storage.objects.writer import JOURNAL
from storage.postgres import Database

log = logging.getLogger(__name__)

COPIES_AT_ONCE = 16
PATIENCE = timedelta(hours=24)
"""So long after its end a recording may be on its way to the store."""
LEAST_PAUSE, MOST_PAUSE = timedelta(seconds=1), timedelta(minutes=5)
SHARE_COPIED = 0.3
"""Of the progress."""
PROBED = 2
"""Segments that are looked at to know what a stretch's picture is like."""
COST = {STILLS: 0.05, SOUND: 0.05, PICTURE: 1.0}


class Gone(Exception):
    """The recording is not there any more."""


class Recordings:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        jobs: Jobs,
        scratch: Scratch,
        options: Options,
        limits: Limits,
    ) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._scratch = scratch
        self._options = options
        self._limits = limits

    async def take(self, task: Task) -> Failure | None:
        """The job. What it failed of, which another attempt cannot mend; raises StoreError and what may."""
        async with self._database.acquire() as conn:
            video = await store.get(conn, task.id) if await work_store.current(conn, task) else None
            row = await broadcasts.get(conn, video.broadcast_id) if video and video.broadcast_id else None
        if video is None:
            return None
        try:
            if row is None or row.recording is None:
                raise Gone
            found = await self._read(row.id)
            late = now() - (row.ended_at or now()) > PATIENCE
            # its last lines may be on their way; what the spool has given up since is not in there either
            known = found.clean and (late or found.segments == row.recording.segments)
            if not known or not await self._copy(task, row.id, found):
                return await self._later(task, late=late)
        except StoreError as error:
            log.warning("the recording for video %s cannot be had now: %s", task.id, error)
            return await self._later(task, late=False)
        except Gone:
            return Failure("recording_gone", "The recording of this broadcast is not there any more.")
        if not found.stretches:
            return Failure("no_media", "There is neither picture nor sound in this recording.")
        looked = await self.look(task.id, found.stretches, found.looks)
        work = await asyncio.to_thread(work_of, found.stretches, found.looks, looked, self._options)
        await self._planned(task, found.stretches, work)
        return None

    async def gather(self, id: UUID, work: Work, path: Path) -> None:
        """The source of a piece, as one file. Raises StoreError."""
        await self._gather(id, work.files, work.shifts, path)

    async def _gather(self, id: UUID, names: Sequence[str], shifts: Sequence[int], path: Path) -> None:
        handle = await asyncio.to_thread(open, path, "wb")
        try:
            for number, name in enumerate(names):
                body = await self._objects.get(f"{folder_of(id)}/{name}")
                if body is None:
                    raise StoreError(f"{folder_of(id)}/{name} is not in the store any more")
                if shifts and number:
                    body = await asyncio.to_thread(retimed, body, shifts[number])
                await asyncio.to_thread(handle.write, body)
        finally:
            await asyncio.to_thread(handle.close)

    async def _read(self, id: UUID) -> Recorded:
        journal = await self._objects.get(f"{prefix(id)}/{JOURNAL}")
        return await asyncio.to_thread(recorded, journal or b"", self._options)

    async def _copy(self, task: Task, broadcast_id: UUID, found: Recorded) -> bool:
        """False: not all of it is there yet. Raises Gone when it never will be."""
        source, target = prefix(broadcast_id), folder_of(task.id)
        for at in range(0, len(found.copies), 20 * COPIES_AT_ONCE):
            some = found.copies[at : at + 20 * COPIES_AT_ONCE]
            if not await self._copy_some(source, target, some):
                async with self._database.acquire() as conn:
                    row = await broadcasts.get(conn, broadcast_id)
                if row is None or row.recording is None:
                    raise Gone
                return False
            async with self._database.acquire() as conn:
                if not await work_store.copied(conn, task, SHARE_COPIED * (at + len(some)) / len(found.copies)):
                    raise Gone  # so is who wanted it
        return True

    async def _copy_some(self, source: str, target: str, some: Sequence[Copy]) -> bool:
        at_once = asyncio.Semaphore(COPIES_AT_ONCE)

        async def copy(one: Copy) -> bool:
            async with at_once:
                return await self._objects.copy(f"{source}/{one.name}", f"{target}/{one.new}")

        tasks = [asyncio.ensure_future(copy(one)) for one in some]
        try:
            return all(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _later(self, task: Task, *, late: bool) -> Failure | None:
        """Looked for again after a pause that grows with the time that it has taken already."""
        if late:
            return Failure("recording_lost", "A part of this recording never reached the store.")
        async with self._database.transaction() as conn:
            if await work_store.lock_current(conn, task):
                video = await store.get(conn, task.id)
                assert video is not None
                pause = min(max((now() - video.created_at) / 4, LEAST_PAUSE), MOST_PAUSE)
                await enqueue_recording(self._jobs, conn, task.id, task.run, after=pause)
        return None

    async def look(self, id: UUID, stretches: Sequence[Stretch], looks: Sequence[Init | None]) -> list[Looked | None]:
        """By a probe of the first segments of each kind of picture. What cannot be decoded here is left as it is."""
        known: dict[str, Looked | None] = {}
        found: list[Looked | None] = []
        for stretch, look in zip(stretches, looks, strict=True):
            top = source_of(stretch)
            if look is None or top is None:
                found.append(None)
                continue
            if look.digest not in known:
                known[look.digest] = None
                async with self._scratch.folder() as folder:
                    names = (top.init, *(f"{top.letter}-{segment.number}.m4s" for segment in top.segments[:PROBED]))
                    await self._gather(id, names, (), folder / "source")
                    try:
                        facts = await engine.probe(folder / "source", self._limits)
                    except VodError:
                        facts = None
                if facts is not None and facts.video is not None and facts.video.exact:
                    known[look.digest] = Looked(facts.video, late_of(facts.video, top))
            found.append(known[look.digest])
        return found

    async def _planned(self, task: Task, stretches: Sequence[Stretch], work: Sequence[Work]) -> None:
        pieces = [
            Piece(f"{one.kind}-{number}", one.kind, number, list(one.rungs), _cost(one))
            for number, one in enumerate(work)
        ]
        kept = await asyncio.to_thread(stretches_to_json, stretches)
        plan = await asyncio.to_thread(msgspec.json.encode, work)
        source = bytes_of(stretches, source=True)
        stored = bytes_of(stretches, source=False) - source
        async with self._database.transaction() as conn:
            if not await work_store.lock_current(conn, task):
                return
            await work_store.set_stretches(
                conn, task.id, kept.decode(), duration=sum(stretch.length for stretch in stretches)
            )
            await work_store.set_work(conn, task.id, plan.decode())
            await work_store.add_pieces(conn, task.id, pieces)
            await work_store.set_bytes(conn, task.id, source=source, stored=stored)
            await enqueue_assembly(self._jobs, conn, task.id, task.run)
            await enqueue_pieces(self._jobs, conn, task.id, task.run, pieces)
            await store.add_event(conn, task.id, "copied", f"{len(pieces)} pieces of work are left")


def _cost(work: Work) -> float:
    pixels = sum(rung.width * rung.height for rung in work.plan.rungs) / 1e6 if work.kind == PICTURE else 1.0
    return max(work.plan.seconds * pixels * COST[work.kind], 0.1)
