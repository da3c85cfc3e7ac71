"""The job of clips and trims: segments copied by the store, edges made in a child, and the row says what there is.

It may run twice: names are final, and the row is written once all is in the store. Of the middle nothing passes through
this process; what the edges need does. A trim is a draft, which takes the place of the video as a new file does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeAlias
from uuid import UUID

import msgspec

from media.protocols.errors import MediaError
from media.samples import VIDEO_TIMESCALE
from media.vod.clipping import Cut, carry_out
from media.vod.cut import CutPlan, plan_cut
from media.vod.errors import BadSource, EngineFailed
from media.vod.options import Limits as EngineLimits
from media.vod.options import Options as EngineOptions
from media.vod.runs import Run, Window, look, runs_of_journal, runs_of_stretches, windows
from server.streaming.broadcasts.live import prefix
from server.streaming.clips.models import Options
from server.streaming.videos.jobs import CUT_JOB
from server.streaming.videos.models import Cut as VideoCut
from server.streaming.videos.models import Failure, Kept, SourceKind, folder_of
from server.streaming.videos.sets import Sets
from server.streaming.videos.work_store import Task
from storage.jobs import Worker
from storage.objects import ObjectStore, StoreError
from storage.objects.store import content_type_of
from storage.postgres.database import Database

log = logging.getLogger(__name__)

RETRIES = 4
PAUSE = timedelta(seconds=2)
SECONDS = 3600.0
AT_ONCE = 16
COPIES_TOLD = 200
LOOK_SECONDS = 0.25
STEP_SECONDS = 1.0
SHARE_MADE = 0.6
"""Of the progress."""

Planned: TypeAlias = tuple[Window, CutPlan]


class Journals(Protocol):
    """Of what is on air here the spool, else the store."""

    async def journal(self, prefix: str, /) -> tuple[bytes, bool]: ...
    async def read(self, key: str, /) -> bytes | None: ...


class Scratch(Protocol):
    def folder(self) -> AbstractAsyncContextManager[Path]: ...


class Finishing(Protocol):
    async def made(self, task: Task, /) -> None:
        """The row says which segments there are: playlists are written, and pictures to choose from made."""
        ...


class Unwanted(Exception):
    """It was deleted, or begun anew."""


class Cutter:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        sets: Sets,
        journals: Journals,
        scratch: Scratch,
        finishing: Finishing,
        engine: EngineOptions,
        limits: EngineLimits,
        options: Options,
    ) -> None:
        self._database = database
        self._objects = objects
        self._sets = sets
        self._journals = journals
        self._scratch = scratch
        self._finishing = finishing
        self._engine = engine
        self._limits = limits
        self._options = options
        self._turns = asyncio.Semaphore(options.children)

    def register(self, worker: Worker) -> None:
        worker.register(CUT_JOB, self.cut_job, retries=RETRIES, pause=PAUSE, seconds=SECONDS, given_up=self.given_up)

    async def cut_job(self, payload: bytes) -> None:
        """What another attempt cannot mend is the end of it."""
        task = msgspec.json.decode(payload, type=Task)
        try:
            await self._cut(task)
        except Unwanted:
            await self._forgotten(task.id)
        except BadSource as error:
            await self._failed(task, Failure(error.code, error.reason))
        except MediaError:
            await self._failed(task, Failure("damaged", "A segment there cannot be read. Choose another moment."))

    async def given_up(self, payload: bytes, error: BaseException) -> None:
        await self._failed(msgspec.json.decode(payload, type=Task), _failure_of(error))

    async def _cut(self, task: Task) -> None:
        async with self._database.acquire() as conn:
            cut = await self._sets.cut(conn, task.id) if await self._sets.current(conn, task) else None
            done = cut is not None and bool(await self._sets.stretches(conn, task.id))
        if cut is None:
            return
        if not done:  # else the job was not yet marked so when its worker died
            runs = await self._runs(task, cut)
            planned = await self._planned(runs, cut.keep)
            made, stored = await self._made(task, [plan for _, plan in planned])
            async with self._database.transaction() as conn:
                if not await self._sets.lock_current(conn, task):
                    raise Unwanted
                keep = [_kept(*one) for one in planned]
                await self._sets.put(conn, task, made.stretches, keep, stored=stored)
                await self._sets.happened(conn, task.id, "cut", _told(made))
        await self._finishing.made(task)

    async def _runs(self, task: Task, cut: VideoCut) -> list[Run]:
        """Of the source. Raises BadSource."""
        if cut.kind is SourceKind.BROADCAST:
            start, end = cut.keep[0][0], cut.keep[-1][1]
            lines = await self._recorded(cut.id, end)
            return await asyncio.to_thread(runs_of_journal, lines, prefix(cut.id), start, end, self._engine)
        async with self._database.acquire() as conn:
            source, video = await self._sets.get(conn, cut.id), await self._sets.get(conn, task.id)
            stretches = await self._sets.stretches(conn, cut.id)
        if source is None or video is None or not stretches:
            raise _gone()
        return await asyncio.to_thread(runs_of_stretches, stretches, source.folder, source.mark, video.mark)

    async def _recorded(self, id: UUID, end: float) -> bytes:
        """The journal, once it tells of the last moment, or as it is when that does not come."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.wait
        while True:
            lines, _ = await self._journals.journal(prefix(id))
            found = await asyncio.to_thread(look, lines)
            if found.last is None:
                raise _gone()
            if found.last >= end or found.closed or loop.time() > deadline:
                return lines
            await asyncio.sleep(LOOK_SECONDS)

    async def _planned(self, runs: Sequence[Run], ranges: Sequence[tuple[float, float]]) -> list[Planned]:
        """Raises BadSource."""
        found = [window for start, end in ranges for window in windows(runs, start, end)]
        if not found:
            raise BadSource("nothing_there", "There is neither picture nor sound in this stretch.")
        return [(window, await plan_cut(window.run.strips, *window.shown, self._read)) for window in found]

    async def _read(self, key: str) -> bytes:
        data = await self._journals.read(key)
        if data is None:
            raise _gone()
        return data

    async def _made(self, task: Task, plans: Sequence[CutPlan]) -> tuple[Cut, int]:
        """What came of it, and how many bytes of it are in the store now."""
        reached = 0.0

        def tell(share: float) -> None:
            nonlocal reached
            reached = share

        async with self._scratch.folder() as folder:
            async with self._turns:
                making = asyncio.ensure_future(carry_out(plans, folder, self._read, tell, self._limits))
                try:
                    while not (await asyncio.wait({making}, timeout=STEP_SECONDS))[0]:
                        await self._reach(task, SHARE_MADE * reached)
                    cut = making.result()
                finally:
                    making.cancel()
                    await asyncio.gather(making, return_exceptions=True)
            await self._store(task, cut, folder)
        renditions = (made for stretch in cut.stretches for made in stretch.renditions)
        return cut, sum(segment.size for made in renditions for segment in made.segments)

    async def _reach(self, task: Task, share: float) -> None:
        """Raises Unwanted."""
        async with self._database.acquire() as conn:
            if not await self._sets.reach(conn, task, share):
                raise Unwanted

    async def _store(self, task: Task, cut: Cut, folder: Path) -> None:
        target = folder_of(task.id)
        for name in cut.files:
            await self._objects.put_file(f"{target}/{name}", folder / name, content_type_of(name))
        for at in range(0, len(cut.copies), COPIES_TOLD):
            some = cut.copies[at : at + COPIES_TOLD]
            await self._copy(some, target)
            await self._reach(task, SHARE_MADE + (0.95 - SHARE_MADE) * (at + len(some)) / len(cut.copies))

    async def _copy(self, some: Sequence[tuple[str, str]], target: str) -> None:
        """What was shown a moment ago may still be on its way to the store."""
        at_once = asyncio.Semaphore(AT_ONCE)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.wait

        async def copy(source: str, name: str) -> None:
            async with at_once:
                while not await self._objects.copy(source, f"{target}/{name}"):
                    if loop.time() > deadline or await self._journals.read(source) is None:
                        raise _gone()
                    await asyncio.sleep(LOOK_SECONDS)

        tasks = [asyncio.ensure_future(copy(*one)) for one in some]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forgotten(self, id: UUID) -> None:
        """When it was deleted meanwhile, what has just come is nobody's."""
        async with self._database.acquire() as conn:
            gone = await self._sets.get(conn, id) is None
        if gone:
            await self._objects.delete_prefix(f"{folder_of(id)}/")

    async def _failed(self, task: Task, failure: Failure) -> None:
        async with self._database.transaction() as conn:
            if await self._sets.lock_current(conn, task):
                await self._sets.fail(conn, task, failure)
        log.warning("cut %s failed: %s", task.id, failure.code)


def _kept(window: Window, plan: CutPlan) -> Kept:
    start = plan.zero / VIDEO_TIMESCALE - window.run.later
    return start, start + plan.duration / VIDEO_TIMESCALE


def _told(cut: Cut) -> str:
    seconds = sum(stretch.length for stretch in cut.stretches)
    return (
        f"{seconds:.2f} s, {cut.encoded} pictures encoded anew; files: {len(cut.copies)} copied, {len(cut.files)} made"
    )


def _gone() -> BadSource:
    return BadSource("source_gone", "What this is cut of is not there any more.")


def _failure_of(error: BaseException) -> Failure:
    match error:
        case EngineFailed():
            return Failure("engine_failed", f"{error.reason} Try again.")
        case StoreError():
            return Failure("store_away", "What was cut could not be stored. Try again later.")
    return Failure("failed", "The cut failed. Try again later.")
