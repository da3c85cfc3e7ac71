"""Sets of segments that others make, as videos: what clips and trims ask of videos. Owns nothing between calls.

A video that is made so has a run as one that was uploaded has, and whoever works on it says so with its Task: what an
older run says is not heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from media.vod import subtitles
from media.vod.packaging import stretches_of
from media.vod.plan import plan_from_json
from media.vod.results import AudioResult, ChunkResult
from media.vod.stretches import Stretch, stretches_from_json, stretches_to_json
from server.streaming.videos import captions_store, chapters, store, work_store
from server.streaming.videos.errors import NotReady
from server.streaming.videos.models import Chapter, Failure, Video, VideoState, Visibility
from server.streaming.videos.work_store import PICTURE, SOUND, Piece, Task
from storage.postgres import Connection

Kept = tuple[float, float]
"""A stretch of a video that is kept, s: from, to."""


class Sets:
    # what there is

    async def get(self, conn: Connection, id: UUID) -> Video | None:
        return await store.get(conn, id)

    async def stretches(self, conn: Connection, id: UUID) -> list[Stretch]:
        """What can be played of a video; nothing while there is none."""
        planned, kept = await work_store.plan(conn, id), await work_store.stretches(conn, id)
        pieces = await work_store.pieces(conn, id)
        return await asyncio.to_thread(_stretches, planned, kept, pieces)

    # a new one

    async def begin(
        self, conn: Connection, owner_id: UUID, *, title: str, description: str, visibility: Visibility
    ) -> Task:
        id = await store.add(
            conn, owner_id, title=title, description=description, visibility=visibility, publish_at=None, longest=0
        )
        return Task(id, await work_store.begin(conn, id))

    async def begin_again(self, conn: Connection, video: Video) -> Task:
        """Its media is to be replaced; what is there is played meanwhile. The row is locked by the caller. Raises
        NotReady."""
        if video.state is not VideoState.READY:
            raise NotReady(f"It is {video.state}: wait until all that is made of it is there.")
        return Task(video.id, await work_store.begin(conn, video.id))

    # the work

    async def current(self, conn: Connection, task: Task) -> bool:
        return await work_store.current(conn, task)

    async def lock_current(self, conn: Connection, task: Task) -> bool:
        return await work_store.lock_current(conn, task)

    async def reach(self, conn: Connection, task: Task, share: float) -> bool:
        """How far it is, 0 to 1. False: it is not wanted any more."""
        return await work_store.copied(conn, task, share)

    async def put(
        self,
        conn: Connection,
        task: Task,
        stretches: Sequence[Stretch],
        pieces: Sequence[Piece],
        *,
        stored: int,
        mark: str = "",
    ) -> None:
        """Its segments are in its folder; stored: bytes of them. The row is locked by the caller."""
        seconds = sum(stretch.length for stretch in stretches)
        encoded = (await asyncio.to_thread(stretches_to_json, stretches)).decode()
        await work_store.set_stretches(conn, task.id, encoded, duration=seconds)
        await work_store.add_pieces(conn, task.id, pieces)
        await work_store.set_bytes(conn, task.id, source=0, stored=stored)
        await work_store.set_mark(conn, task.id, mark)

    async def move(self, conn: Connection, video: Video, keep: Sequence[Kept]) -> None:
        """Captions and chapters go where what they belong to has gone. Chapters of the description are kept by hand
        from then on, as its text does not change. keep: in the order of time."""
        for captions in await captions_store.all_of(conn, video.id):
            cues = await asyncio.to_thread(_moved_cues, captions.body, keep)
            if cues:
                await captions_store.put(
                    conn,
                    video.id,
                    captions.language,
                    label=captions.label,
                    body=await asyncio.to_thread(subtitles.write, cues),
                    cues=len(cues),
                )
            else:
                await captions_store.delete(conn, video.id, captions.language)
        before = video.chapters
        if before is None:
            before = chapters.of_description(video.description, video.duration)
        if before:
            await work_store.set_chapters(conn, video.id, _moved_chapters(before, keep, video.duration))

    async def fail(self, conn: Connection, task: Task, failure: Failure) -> None:
        """Nothing will come of it."""
        await work_store.fail(conn, task.id, failure)
        await store.add_event(conn, task.id, "failed", failure.message)

    async def keep(self, conn: Connection, task: Task, failure: Failure) -> None:
        """What was to replace it did not come about: it is as it was, and its owner is told why."""
        await work_store.keep(conn, task.id, failure)
        await store.add_event(conn, task.id, "not_trimmed", failure.message)

    async def happened(self, conn: Connection, id: UUID, kind: str, detail: str) -> None:
        await store.add_event(conn, id, kind, detail)


def _stretches(planned: str | None, kept: str | None, pieces: Sequence[Piece]) -> list[Stretch]:
    """In a thread: a long video has thousands of segments."""
    done = [(piece.kind, piece.result) for piece in pieces if piece.result is not None]
    chunks = [msgspec.json.decode(result, type=ChunkResult) for kind, result in done if kind == PICTURE]
    sounds = [msgspec.json.decode(result, type=AudioResult) for kind, result in done if kind == SOUND]
    if kept is not None:
        made = [one for chunk in chunks for one in chunk.renditions] + [sound.rendition for sound in sounds]
        return [stretch.joined(made) for stretch in stretches_from_json(kept)]
    if planned is None:
        return []
    return stretches_of(plan_from_json(planned), chunks, sounds[0] if sounds else None)


def _moved_cues(body: str, keep: Sequence[Kept]) -> list[subtitles.Cue]:
    cues = [
        subtitles.Cue(start, end, cue.text, cue.settings)
        for cue in subtitles.read(body)
        for start, end in _moved(cue.start, cue.end, keep)[:1]
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _moved_chapters(before: Sequence[Chapter], keep: Sequence[Kept], duration: float) -> list[Chapter]:
    """Those of which something is left. What is shown first belongs to a chapter too."""
    ends = [*(chapter.start for chapter in before[1:]), duration]
    left = [
        Chapter(round(start, 3), chapter.title)
        for chapter, until in zip(before, ends, strict=True)
        for start, _ in _moved(chapter.start, until, keep)[:1]
    ]
    return [Chapter(0.0, left[0].title), *left[1:]] if left else []


def _moved(start: float, end: float, keep: Sequence[Kept]) -> list[tuple[float, float]]:
    """Where what was shown from start to end is shown now."""
    spans, before = [], 0.0
    for first, last in keep:
        begin, until = max(start, first), min(end, last)
        if until > begin:
            spans.append((round(before + begin - first, 3), round(before + until - first, 3)))
        before += last - first
    return spans
