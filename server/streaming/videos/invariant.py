"""Store and database compared, both ways: objects that no row speaks of, and rows whose objects are not there.

In bounded steps, folder by folder: never more is in memory than some hundred rows and the names of one folder. What is
found is told in figures and words; only what nobody can want any more is deleted, and only when that is asked for. The
report lies in the store, where every process finds it. Keeps nothing else between calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from media.vod.packaging import MULTIVARIANT
from server.kit.clock import now
from server.streaming.broadcasts import store as broadcasts
from server.streaming.broadcasts.live import prefix
from server.streaming.videos import replacing, store
from server.streaming.videos.models import Video, VideoState, folder_of
from server.streaming.videos.sets import Sets
from storage.jobs import Jobs
from storage.objects import BadKey, ObjectStore, StoreError
from storage.postgres import Database

CHECK_JOB = "storage.check"
CHECK_CRON = "53 4 * * *"
STEP = 200
"""Folders or rows at once."""
SETTLED = timedelta(days=1)
"""What is younger may be on its way, or on its way out."""
EXAMPLES = 20
REPORT = "checks/store.json"
REREAD = 900.0

log = logging.getLogger(__name__)


class Files(Protocol):
    """The spool in a server, the bare store elsewhere."""

    async def delete_prefix(self, prefix: str) -> int: ...


class Report(msgspec.Struct):
    """at: when it was done. orphans: objects that no row speaks of, with their bytes; missing: objects that a row
    needs; mended: objects deleted. examples: some of each, in words."""

    at: datetime
    videos: int = 0
    broadcasts: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    missing: int = 0
    mended: int = 0
    examples: list[str] = msgspec.field(default_factory=list)

    def figures(self) -> dict[str, float]:
        return {"orphans": self.orphans, "orphan_bytes": self.orphan_bytes, "missing": self.missing}


class Invariant:
    def __init__(self, database: Database, objects: ObjectStore, files: Files) -> None:
        self._database = database
        self._objects = objects
        self._files = files

    async def check(self, *, mend: bool = False, tell: Callable[[str], None] = lambda _: None) -> Report:
        """mend: delete what no row has spoken of for a day. tell: hears of each thing that is found. Raises
        StoreError."""
        return await _Check(self._database, self._objects, self._files, mend, tell).run()

    async def job(self, payload: bytes) -> None:
        report = await self.check()
        await self._objects.put(REPORT, msgspec.json.encode(report), "application/json")
        if report.orphans or report.missing:
            log.warning(
                "the store has %d objects that no row speaks of, and lacks %d: bin/admin storage check tells which",
                report.orphans,
                report.missing,
            )

    async def last(self) -> Report | None:
        """As the job left it, in whatever process. Raises StoreError."""
        found = await self._objects.get(REPORT)
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.json.decode(found, type=Report) if found is not None else None
        return None


class LastReport:
    """What /metrics says of it. Owns a task from `start` to `close`."""

    def __init__(self, invariant: Invariant) -> None:
        self._invariant = invariant
        self._report: Report | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-report")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def figures(self) -> dict[str, float]:
        """Nothing before the first check."""
        return self._report.figures() if self._report is not None else {}

    async def look(self) -> None:
        with contextlib.suppress(StoreError):
            self._report = await self._invariant.last() or self._report

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(REREAD)


class _Check:
    def __init__(
        self, database: Database, objects: ObjectStore, files: Files, mend: bool, tell: Callable[[str], None]
    ) -> None:
        self._database = database
        self._objects = objects
        self._files = files
        self._mend = mend
        self._tell = tell
        self._sets = Sets(Jobs())
        self._report = Report(at=now())

    async def run(self) -> Report:
        async for names in self._folders("videos/"):
            await self._video_folders(names)
        async for names in self._folders("live/"):
            await self._broadcast_folders(names)
        await self._videos()
        await self._recordings()
        return self._report

    # from the store to the rows

    async def _folders(self, above: str) -> AsyncIterator[Sequence[str]]:
        after = ""
        while names := await self._objects.folders(above, after, STEP):
            yield names
            after = names[-1]

    async def _video_folders(self, names: Sequence[str]) -> None:
        async with self._database.acquire() as conn:
            known = await store.known(conn, _ids(names))
        for name in names:
            if _id(name) not in known:
                await self._orphaned(f"videos/{name}", _id(name), "of a video that is not there")

    async def _broadcast_folders(self, names: Sequence[str]) -> None:
        async with self._database.acquire() as conn:
            known = await broadcasts.with_files(conn, _ids(names), now() - SETTLED)
        for name in names:
            if _id(name) not in known:
                await self._orphaned(f"live/{name}", _id(name), "of a broadcast that is not there, or has no recording")

    async def _orphaned(self, folder: str, id: UUID | None, what: str) -> None:
        count = size = 0
        async for _, length in self._objects.list(f"{folder}/"):
            count, size = count + 1, size + length
        if not count:
            return  # gone meanwhile
        old = id is not None and now() - _made_at(id) > SETTLED
        self._found(f"{folder}/: {count} objects, {size} bytes, {what}", orphans=count, size=size)
        if self._mend and old:
            self._report.mended += await self._files.delete_prefix(folder)

    # from the rows to the store

    async def _videos(self) -> None:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                rows = await store.all_after(conn, after, STEP)
            for video in rows:
                with contextlib.suppress(BadKey):
                    await self._video(video)
            self._report.videos += len(rows)
            if len(rows) < STEP:
                return
            after = rows[-1].id

    async def _video(self, video: Video) -> None:
        async with self._database.acquire() as conn:
            stretches = await self._sets.stretches(conn, video.id) if video.playable else []
            changed = await store.changed_at(conn, video.id) or video.created_at
        folder = folder_of(video.id)
        wanted = {name for stretch in stretches for made in stretch.renditions for name in made.files}
        if stretches:
            wanted.add(MULTIVARIANT)
        if not video.kept and video.state in (VideoState.PROCESSING, VideoState.READY) and video.source_bytes:
            wanted.add("source")
        pictures = video.pictures
        wanted |= {name for name in (*pictures.thumbnails, pictures.own, pictures.storyboard, pictures.preview) if name}
        there = {key.removeprefix(f"{folder}/"): size async for key, size in self._objects.list(f"{folder}/")}
        async with self._database.acquire() as conn:
            again = await store.get(conn, video.id)
        if again is None or (again.run, again.packaged, again.mark) != (video.run, video.packaged, video.mark):
            return  # it changed while it was looked at: the next check sees it
        for name in sorted(wanted - there.keys()):
            self._found(f"{folder}/{name}: missing", missing=1)
        if video.state is not VideoState.READY:
            return
        letters = {made.letter for stretch in stretches for made in stretch.renditions}
        extra = [name for name in there if name not in wanted and replacing.outdated(name, letters)]
        # what was replaced stays for those who watch it, and goes by a job
        if extra and now() - changed > SETTLED:
            size = sum(there[name] for name in extra)
            self._found(
                f"{folder}/: {len(extra)} objects, {size} bytes, of what was replaced", orphans=len(extra), size=size
            )
            if self._mend:
                await self._objects.delete([f"{folder}/{name}" for name in extra])
                self._report.mended += len(extra)

    async def _recordings(self) -> None:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                rows = await broadcasts.recorded_after(conn, after, now() - SETTLED, STEP)
            for id, size in rows:
                found, playlist = 0, False
                async for key, length in self._objects.list(f"{prefix(id)}/"):
                    found += length if key.endswith(".m4s") else 0
                    playlist = playlist or key.endswith("/recording.m3u8")
                if not playlist:
                    self._found(f"{prefix(id)}/recording.m3u8: missing", missing=1)
                if found < size:
                    self._found(f"{prefix(id)}/: {size - found} bytes of the recording are missing", missing=1)
            self._report.broadcasts += len(rows)
            if len(rows) < STEP:
                return
            after = rows[-1][0]

    def _found(self, words: str, *, orphans: int = 0, size: int = 0, missing: int = 0) -> None:
        report = self._report
        report.orphans += orphans
        report.orphan_bytes += size
        report.missing += missing
        if len(report.examples) < EXAMPLES:
            report.examples.append(words)
        self._tell(words)


def _ids(names: Collection[str]) -> list[UUID]:
    return [id for name in names if (id := _id(name)) is not None]


def _id(name: str) -> UUID | None:
    with contextlib.suppress(ValueError):
        found = UUID(name)
        return found if str(found) == name else None
    return None


def _made_at(id: UUID) -> datetime:
    """Of a UUIDv7 (RFC 9562, section 5.7); of any other the beginning of time."""
    return datetime.fromtimestamp((id.int >> 80) / 1000 if id.version == 7 else 0, UTC)
