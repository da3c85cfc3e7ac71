"""The jobs that make a video playable: probe, pieces of work, and the playlists over what is there so far.

    videos.probe      reads the source, plans, and enqueues the pieces: first the one that makes it playable
    videos.piece      a chunk of the picture in some rungs, the sound, or the stills; any worker takes any piece
    videos.recording  makes a set of a broadcast's recording, and enqueues pieces for what lacks of it
    videos.assemble   writes playlists of what is in the store, and moves the video to playable and ready

Every job may run twice: names of files are final, and a row is marked once. What is made is in the store before a row
says so. A job whose video is gone, failed or was begun anew ends, also in the middle of its work.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from media.transcode.hardware import Hardware
from media.vod import engine
from media.vod.errors import BadSource, EngineFailed
from media.vod.fallback import encode_chunk
from media.vod.options import Limits, Options
from media.vod.plan import Plan, make_plan, plan_from_json, plan_to_json
from media.vod.recorded import Work
from media.vod.results import AudioResult, ChunkResult
from media.vod.results import Pictures as MadePictures
from media.vod.work import Progress
from server.streaming.videos import store, work_store
from server.streaming.videos.jobs import (
    ASSEMBLE_JOB,
    PIECE_JOB,
    PROBE_JOB,
    RECORDING_JOB,
    REPLACE_JOB,
    enqueue_assembly,
    enqueue_pieces,
)
from server.streaming.videos.models import Failure, Pictures, VideoState, folder_of
from server.streaming.videos.pieces import pieces_of
from server.streaming.videos.playlists import Assembly
from server.streaming.videos.recordings import Recordings
from server.streaming.videos.replacing import Replacing
from server.streaming.videos.scratch import NoRoom, Scratch, SourceMissing
from server.streaming.videos.work_store import PICTURE, SOUND, STILLS, Piece, Task
from storage.jobs import Jobs, Worker
from storage.objects import ObjectStore, StoreError
from storage.objects.store import content_type_of
from storage.postgres.database import AWAY, Database

log = logging.getLogger(__name__)

RETRIES = 4
PAUSE = timedelta(seconds=5)
STEP_SECONDS = 1.0
UPLOADS_AT_ONCE = 4

T = TypeVar("T")


class Files(Protocol):
    """The spool in a server, the bare store in a worker."""

    async def delete_prefix(self, prefix: str) -> int: ...


@dataclass(frozen=True, slots=True)
class ProcessingOptions:
    """children: pieces of work under way in this process at once. seconds: one may take, with fetching and storing.
    outdated: how long segments stay whose video has another file by now."""

    engine: Options = field(default_factory=Options)
    limits: Limits = field(default_factory=Limits)
    children: int = 1
    hardware: Hardware = field(default_factory=lambda: Hardware("software", "h264"))
    seconds: float = 4 * 3600.0
    outdated: timedelta = timedelta(hours=7)


class Processing:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        files: Files,
        jobs: Jobs,
        scratch: Scratch,
        options: ProcessingOptions,
    ) -> None:
        self._database = database
        self._objects = objects
        self._files = files
        self._jobs = jobs
        self._scratch = scratch
        self._options = options
        self._assembly = Assembly(database, objects)
        self._replacing = Replacing(database, objects, jobs, outdated=options.outdated)
        self._recordings = Recordings(database, objects, jobs, scratch, options.engine, options.limits)
        self._turns = asyncio.Semaphore(max(1, options.children))
        self._done = 0
        self._failed = 0
        self._working = 0

    def register(self, worker: Worker) -> None:
        seconds = self._options.seconds
        worker.register(
            REPLACE_JOB,
            self.replace_job,
            retries=RETRIES,
            pause=PAUSE,
            seconds=seconds,
            given_up=self._replacing.given_up,
        )
        for name, handler in (
            (PROBE_JOB, self.probe_job),
            (RECORDING_JOB, self.recording_job),
            (PIECE_JOB, self.piece_job),
            (ASSEMBLE_JOB, self.assemble_job),
        ):
            worker.register(name, handler, retries=RETRIES, pause=PAUSE, seconds=seconds, given_up=self.given_up)

    def describe(self) -> dict[str, object]:
        return {
            "working": self._working,
            "done": self._done,
            "failed": self._failed,
            "children": self._options.children,
            **self._options.hardware.describe(),
            "scratch": self._scratch.describe(),
        }

    # jobs

    async def probe_job(self, payload: bytes) -> None:
        task = msgspec.json.decode(payload, type=Task)
        await self._unless_bad(task, self._probe(task))

    async def recording_job(self, payload: bytes) -> None:
        task = msgspec.json.decode(payload, type=Task)
        async with self._turns:
            failure = await self._recordings.take(task)
        if failure is not None:
            await self._fail(task, failure)
        await self._swept(task.id)

    async def replace_job(self, payload: bytes) -> None:
        target = await self._replacing.take_place(msgspec.json.decode(payload, type=Task))
        if target is not None:
            await self._swept(target)

    async def _swept(self, id: UUID) -> None:
        """Of a video that was deleted meanwhile nothing stays: what has just come is nobody's."""
        async with self._database.acquire() as conn:
            gone = await store.get(conn, id) is None
        if gone:
            await self._files.delete_prefix(folder_of(id))

    async def piece_job(self, payload: bytes) -> None:
        task = msgspec.json.decode(payload, type=Task)
        await self._unless_bad(task, self._piece(task))

    async def assemble_job(self, payload: bytes) -> None:
        task = msgspec.json.decode(payload, type=Task)
        await self._unless_bad(task, self._assemble(task))

    async def given_up(self, payload: bytes, error: BaseException) -> None:
        """A job has failed too often: the video has failed, with a sentence for its owner. Stills may be missing."""
        task = msgspec.json.decode(payload, type=Task)
        async with self._database.acquire() as conn:
            piece = await work_store.piece(conn, task)
        if piece is not None and piece.kind == STILLS and isinstance(error, EngineFailed):
            await self._finish(task, MadePictures((), "", "", (), ""), 0)
            return
        await self._fail(task, _failure_of(error))

    async def remove_outdated(self, payload: bytes) -> None:
        await self._replacing.remove_outdated(payload)

    # the work

    async def _probe(self, task: Task) -> None:
        if not await self._wanted(task):
            return
        async with self._scratch.source(task.id, task.run) as source, self._turns:
            facts = await self._watched(task, lambda _: engine.probe(source, self._options.limits))
        if facts is None:
            return
        plan = await asyncio.to_thread(make_plan, facts, self._options.engine)
        async with self._database.acquire() as conn:
            video = await store.get(conn, task.id)
        if video is not None and video.mark:
            plan = msgspec.structs.replace(plan, mark=video.mark)
        pieces = pieces_of(plan)
        summary, planned = msgspec.json.encode(facts.summary()).decode(), await asyncio.to_thread(plan_to_json, plan)
        async with self._database.transaction() as conn:
            if not await work_store.lock_current(conn, task):
                return
            longest = await work_store.longest(conn, task.id)
            if longest and plan.seconds > longest:
                raise BadSource(
                    "too_long", f"The video lasts {plan.seconds:.0f} s; your account may have {longest:.0f} s at most."
                )
            await work_store.set_plan(conn, task.id, facts=summary, plan=planned.decode(), duration=plan.seconds)
            await work_store.add_pieces(conn, task.id, pieces)
            await enqueue_pieces(self._jobs, conn, task.id, task.run, pieces)
            await store.add_event(conn, task.id, "probed", f"{len(pieces)} pieces of work")

    async def _piece(self, task: Task) -> None:
        async with self._database.acquire() as conn:
            piece = await work_store.piece(conn, task) if await work_store.current(conn, task) else None
            if piece is None:
                return
            if piece.result is not None:  # done already, and the job was not yet marked so when its worker died
                await enqueue_assembly(self._jobs, conn, task.id, task.run)
                return
            planned = await work_store.plan(conn, task.id)
            kept = await work_store.stretches(conn, task.id) is not None
        assert planned is not None
        if kept:
            work = (await asyncio.to_thread(msgspec.json.decode, planned, type=list[Work]))[piece.number]
            await self._done_with(task, piece, work.plan, 0, self._gathered(task, work))
        else:
            plan = await asyncio.to_thread(plan_from_json, planned)
            await self._done_with(task, piece, plan, piece.number, self._scratch.source(task.id, task.run))

    @asynccontextmanager
    async def _gathered(self, task: Task, work: Work) -> AsyncIterator[Path]:
        async with self._scratch.folder() as folder:
            await self._recordings.gather(task.id, work, folder / "source")
            yield folder / "source"

    async def _done_with(
        self, task: Task, piece: Piece, plan: Plan, chunk: int, opened: AbstractAsyncContextManager[Path]
    ) -> None:
        async with opened as source, self._scratch.folder() as folder:
            async with self._turns:
                made = await self._watched(task, lambda tell: self._make(piece, plan, chunk, source, folder, tell))
            if made is None or not await self._wanted(task):
                return
            stored = await self._store(task.id, folder, made.files)
        await self._finish(task, made, stored)

    def _make(
        self, piece: Piece, plan: Plan, chunk: int, source: Path, folder: Path, tell: Progress
    ) -> Awaitable[ChunkResult | AudioResult | MadePictures]:
        limits = self._options.limits
        if piece.kind == PICTURE:
            hardware = self._options.hardware
            return encode_chunk(hardware, source, plan, chunk, piece.rungs, folder, tell, limits)
        if piece.kind == SOUND:
            return engine.encode_audio(source, plan, folder, tell, limits)
        return engine.make_pictures(source, plan, folder, tell, limits)

    async def _store(self, id: UUID, folder: Path, names: Collection[str]) -> int:
        """What was made goes to the store; how many bytes."""
        at_once = asyncio.Semaphore(UPLOADS_AT_ONCE)

        async def put(name: str) -> int:
            async with at_once:
                path = folder / name
                size = (await asyncio.to_thread(path.stat)).st_size
                await self._objects.put_file(f"{folder_of(id)}/{name}", path, content_type_of(name))
                return size

        tasks = [asyncio.ensure_future(put(name)) for name in dict.fromkeys(names)]
        try:
            return sum(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, task: Task, made: ChunkResult | AudioResult | MadePictures, stored: int) -> None:
        result = (await asyncio.to_thread(msgspec.json.encode, made)).decode()
        async with self._database.transaction() as conn:
            if wanted := await work_store.lock_current(conn, task):
                await work_store.finish(conn, task, result, stored)
                if isinstance(made, MadePictures):
                    await work_store.set_pictures(conn, task.id, _pictures(made))
                await enqueue_assembly(self._jobs, conn, task.id, task.run)
            gone = not wanted and await store.get(conn, task.id) is None
        self._done += 1
        if gone:  # deleted meanwhile: what has just come is nobody's
            await self._files.delete_prefix(folder_of(task.id))

    async def _assemble(self, task: Task) -> None:
        """Whoever writes the playlists last has read last: an older one that comes late finds that there is more, and
        writes them again."""
        while True:
            written = await self._assembly.write(task.id)
            if written is None:
                return
            async with self._database.transaction() as conn:
                video = await store.lock(conn, task.id)
                if video is None:
                    break
                if video.run != task.run or video.state is VideoState.FAILED:
                    return
                if await self._assembly.signature(conn, task.id) != written.signature:
                    continue
                if await work_store.set_packaged(
                    conn,
                    task.id,
                    state=written.state,
                    renditions=written.renditions,
                    pieces=written.pieces,
                ):
                    await store.add_event(conn, task.id, "published", "playable")
                if written.complete and video.state != written.state:
                    await store.add_event(conn, task.id, "ready", f"{len(written.renditions)} renditions")
                if written.complete and video.replaces is not None:
                    await self._jobs.enqueue(conn, REPLACE_JOB, task)
            if written.complete:
                await self._scratch.forget(task.id)
            return
        await self._files.delete_prefix(folder_of(task.id))  # deleted meanwhile

    # around it

    async def _wanted(self, task: Task) -> bool:
        async with self._database.acquire() as conn:
            return await work_store.current(conn, task)

    async def _watched(self, task: Task, work: Callable[[Progress], Awaitable[T]]) -> T | None:
        """The work's outcome; None when it is not wanted any more. How far it is stands in the rows meanwhile."""
        reached = 0.0

        def tell(share: float) -> None:
            nonlocal reached
            reached = share

        self._working += 1
        running = asyncio.ensure_future(work(tell))
        try:
            while True:
                done, _ = await asyncio.wait({running}, timeout=STEP_SECONDS)
                if done:
                    return running.result()
                try:
                    async with self._database.acquire() as conn:
                        if not await work_store.step(conn, task, reached):
                            return None
                except AWAY as error:  # nobody sees how far it is, for a while
                    log.warning("progress of video %s could not be written: %s", task.id, error)
        finally:
            self._working -= 1
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _unless_bad(self, task: Task, work: Awaitable[None]) -> None:
        """What another attempt cannot mend is the end of it."""
        try:
            await work
        except BadSource as error:
            await self._fail(task, Failure(error.code, error.reason))
        except SourceMissing:
            await self._fail(task, Failure("source_gone", "The uploaded file is not there any more. Upload it again."))

    async def _fail(self, task: Task, failure: Failure) -> None:
        async with self._database.transaction() as conn:
            if not await work_store.lock_current(conn, task):
                return
            await work_store.fail(conn, task.id, failure)
            await store.add_event(conn, task.id, "failed", failure.message)
        self._failed += 1
        log.warning("video %s failed: %s", task.id, failure.code)
        await self._scratch.forget(task.id)


def _pictures(made: MadePictures) -> Pictures:
    best_first = sorted(made.candidates, key=lambda candidate: candidate.name != made.best)
    return Pictures(
        thumbnails=tuple(candidate.name for candidate in best_first), storyboard=made.storyboard, preview=made.preview
    )


def _failure_of(error: BaseException) -> Failure:
    match error:
        case EngineFailed():
            return Failure("engine_failed", f"{error.reason} Try again; if it fails again, the file may be at fault.")
        case NoRoom():
            return Failure("no_room", "The server has no room to work on this video just now. Try again later.")
        case OSError(errno=errno.ENOSPC) | OSError(errno=errno.EDQUOT):
            return Failure("no_room", "The server has no room to work on this video just now. Try again later.")
        case StoreError():
            return Failure("store_away", "What was made of this video could not be stored. Try again later.")
    return Failure("failed", "The work on this video failed. Try again later.")
