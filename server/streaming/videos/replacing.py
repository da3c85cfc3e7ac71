"""A new file in the place of a video's: a draft with the file is worked on as any video is, and takes the place of the
old one once all of it is there. Keeps nothing between calls.

A draft is a row of its own that names what it replaces. Nobody but its owner sees it, and it is in no list. The video
keeps its id, and with it likes, comments, views and captions; whoever watches the old file goes on with it: the new
segments have other names (`mark`), and the old ones stay as long as a grant is good. A draft that fails leaves the old
file as it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import msgspec

from server.streaming.videos import store, work_store
from server.streaming.videos.errors import AlreadyReplacing, NotReady
from server.streaming.videos.jobs import DELETED_JOB, OUTDATED_JOB, enqueue_assembly
from server.streaming.videos.models import Failure, Video, VideoState, folder_of
from server.streaming.videos.moving import move
from server.streaming.videos.opening import missing
from server.streaming.videos.work_store import Task
from storage.jobs import Jobs
from storage.objects import ObjectStore, StoreError
from storage.postgres import Connection, Database

COPIES_AT_ONCE = 16
_MEDIA = re.compile(r"([va](?:-[a-z0-9]{1,16})?)(?:-init(?:-[0-9]{1,7})?\.mp4|-[0-9]{1,7}\.m4s|\.m3u8)")
_PICTURES = re.compile(r"thumb-[0-9]{1,3}\.jpg|story\.vtt|story-[0-9]{1,3}\.jpg|preview\.webp|source")


class Outdated(msgspec.Struct, frozen=True):
    """The payload of a job: renditions of a video that nobody can be watching any more."""

    id: UUID
    letters: list[str]


def mark_of(id: UUID) -> str:
    """In the names of a draft's segments."""
    return f"r{id.hex[-6:]}"


async def begin(conn: Connection, jobs: Jobs, owner_id: UUID, target: UUID) -> UUID:
    """The draft, whose file is on its way. One that failed before it goes. Raises NoSuchVideo, NotReady,
    AlreadyReplacing."""
    video = await store.lock(conn, target)
    if video is None or video.owner_id != owner_id:
        raise missing()
    before = await store.replacement_of(conn, target)
    check_replaceable(video, before)
    if before is not None:
        await forget(conn, jobs, before.id)
    id = await store.add(
        conn,
        owner_id,
        title=video.title,
        description="",
        visibility=video.visibility,
        publish_at=None,
        longest=0,
    )
    await store.set_replaces(conn, id, target, mark_of(id))
    return id


def check_replaceable(video: Video, before: Video | None) -> None:
    """before: a draft that there is already. Raises NoSuchVideo, NotReady, AlreadyReplacing."""
    if video.replaces is not None:
        raise missing()
    if video.state is not VideoState.READY:
        raise NotReady(f"It is {video.state}: its file can be replaced once all is made of it.")
    if before is not None and before.state is not VideoState.FAILED:
        raise AlreadyReplacing(f"Another file is on its way: DELETE /api/v1/videos/{before.id} takes it back.")


async def forget(conn: Connection, jobs: Jobs, id: UUID) -> None:
    """The row of a video goes, with that of a file that was to replace it; their objects by jobs."""
    for gone in await store.delete(conn, id):
        await jobs.enqueue(conn, DELETED_JOB, str(gone).encode())


class Replacing:
    """outdated: how long the old segments stay, the lifetime of a grant with some slack."""

    def __init__(self, database: Database, objects: ObjectStore, jobs: Jobs, *, outdated: timedelta) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._outdated = outdated

    async def take_place(self, task: Task) -> UUID | None:
        """The job, once the draft is ready; in whose folder it has put something. To do it again is harmless. Raises
        StoreError."""
        async with self._database.acquire() as conn:
            draft = await store.get(conn, task.id)
        if draft is None or draft.replaces is None or draft.run != task.run or draft.state is not VideoState.READY:
            return None
        target_id = draft.replaces
        source, target = draft.folder, folder_of(target_id)
        names = [key.removeprefix(f"{source}/") async for key, _ in self._objects.list(f"{source}/")]
        media = [name for name in names if _MEDIA.fullmatch(name) and not name.endswith(".m3u8")]
        await self._copy(source, target, media)
        new = _letters(media)
        there = [key.removeprefix(f"{target}/") async for key, _ in self._objects.list(f"{target}/")]
        old = sorted(_letters(there) - new)
        # what has the same name in both comes last; nobody can take the draft back meanwhile
        await self._copy(source, target, [name for name in names if _PICTURES.fullmatch(name)])
        async with self._database.transaction() as conn:
            video = await store.lock(conn, target_id)
            draft = await store.lock(conn, task.id)
            if video is None or draft is None:
                return target_id  # deleted meanwhile
            cut = await work_store.cut(conn, draft.id)
            run = await store.take_file(conn, draft, video)
            if cut is not None:
                await move(conn, video, cut.keep)
            await self._jobs.enqueue(conn, OUTDATED_JOB, Outdated(video.id, old), after=self._outdated)
            await self._jobs.enqueue(conn, DELETED_JOB, str(draft.id).encode())
            await enqueue_assembly(self._jobs, conn, video.id, run)
            done = (
                ("trimmed", f"{draft.duration:.2f} s are kept") if cut is not None else ("replaced", "by another file")
            )
            await store.add_event(conn, video.id, *done)
        lost = {name for name in there if _PICTURES.fullmatch(name)} - set(names)
        await self._objects.delete([f"{target}/{name}" for name in sorted(lost)])
        return target_id

    async def given_up(self, payload: bytes, error: BaseException) -> None:
        """It could not be brought to where the old file is: that one stays, and it can be tried again."""
        task = msgspec.json.decode(payload, type=Task)
        failure = Failure("store_away", "The new file could not be put in the place of the old one. Try again later.")
        async with self._database.transaction() as conn:
            draft = await store.lock(conn, task.id)
            if draft is not None and draft.run == task.run and draft.state is VideoState.READY:
                await work_store.fail(conn, task.id, failure)
                await store.add_event(conn, task.id, "failed", failure.message)

    async def remove_outdated(self, payload: bytes) -> None:
        """The job. Raises StoreError."""
        task = msgspec.json.decode(payload, type=Outdated)
        folder = folder_of(task.id)
        gone = []
        async for key, _ in self._objects.list(f"{folder}/"):
            found = _MEDIA.fullmatch(key.removeprefix(f"{folder}/"))
            if found is not None and found[1] in task.letters:
                gone.append(key)
        await self._objects.delete(gone)

    async def _copy(self, source: str, target: str, names: Collection[str]) -> None:
        at_once = asyncio.Semaphore(COPIES_AT_ONCE)

        async def copy(name: str) -> None:
            async with at_once:
                if not await self._objects.copy(f"{source}/{name}", f"{target}/{name}"):
                    raise StoreError(f"{source}/{name} is not in the store any more")

        tasks = [asyncio.ensure_future(copy(name)) for name in names]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _letters(names: Collection[str]) -> set[str]:
    return {found[1] for name in names if (found := _MEDIA.fullmatch(name)) is not None}


def outdated(name: str, letters: Collection[str]) -> bool:
    """Whether it is of a rendition that the video has not (any more)."""
    found = _MEDIA.fullmatch(name)
    return found is not None and found[1] not in letters


def is_media_of(name: str, letter: str) -> bool:
    """Whether a file is a segment, an init segment or the playlist of this rendition."""
    found = _MEDIA.fullmatch(name)
    return found is not None and found[1] == letter


def deletable(video: Video) -> None:
    """Raises NotReady."""
    if video.replaces is not None and video.state is VideoState.READY:
        raise NotReady("It is just taking the place of the old file.")
