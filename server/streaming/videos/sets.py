"""Sets of segments that others make, as videos: what clips and trims ask of videos. Owns nothing between calls.

A video that is made so has a run as one that was uploaded has, and whoever works on it says so with its Task: what an
older run says is not heard. A trim is a draft (see `replacing`) that is cut of the video it replaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from media.vod.packaging import stretches_of
from media.vod.plan import plan_from_json
from media.vod.recorded import opus_alone
from media.vod.results import AudioResult, ChunkResult
from media.vod.stretches import Stretch, stretches_from_json, stretches_to_json
from server.streaming.videos import replacing, store, work_store
from server.streaming.videos.jobs import enqueue_cut
from server.streaming.videos.models import Cut, Failure, Kept, Video, Visibility
from server.streaming.videos.work_store import PICTURE, SOUND, STILLS, Piece, Task
from storage.jobs import Jobs
from storage.postgres import Connection


class Sets:
    def __init__(self, jobs: Jobs | None = None) -> None:
        self._jobs = jobs or Jobs()

    # what there is

    async def get(self, conn: Connection, id: UUID) -> Video | None:
        return await store.get(conn, id)

    async def lock(self, conn: Connection, id: UUID) -> Video | None:
        return await store.lock(conn, id)

    async def stretches(self, conn: Connection, id: UUID) -> list[Stretch]:
        """What can be played of a video; nothing while there is none."""
        planned, kept = await work_store.plan(conn, id), await work_store.stretches(conn, id)
        pieces = await work_store.pieces(conn, id)
        return await asyncio.to_thread(_stretches, planned, kept, pieces)

    async def cut(self, conn: Connection, id: UUID) -> Cut | None:
        """What it is cut of; None: of nothing."""
        return await work_store.cut(conn, id)

    # a new one

    async def begin(
        self, conn: Connection, owner_id: UUID, cut: Cut, *, title: str, description: str, visibility: Visibility
    ) -> UUID:
        """A video that a job cuts."""
        id = await store.add(
            conn, owner_id, title=title, description=description, visibility=visibility, publish_at=None, longest=0
        )
        await self._begun(conn, id, cut)
        return id

    async def begin_trim(self, conn: Connection, video: Video, cut: Cut) -> UUID:
        """A draft that takes the place of what it is cut of. The row is locked by the caller. Raises NoSuchVideo,
        NotReady, AlreadyReplacing."""
        id = await replacing.begin(conn, self._jobs, video.owner_id, video.id)
        await self._begun(conn, id, cut)
        return id

    async def _begun(self, conn: Connection, id: UUID, cut: Cut) -> None:
        await work_store.set_cut(conn, id, cut)
        await enqueue_cut(self._jobs, conn, id, await work_store.begin(conn, id))

    # the work

    async def current(self, conn: Connection, task: Task) -> bool:
        return await work_store.current(conn, task)

    async def lock_current(self, conn: Connection, task: Task) -> bool:
        return await work_store.lock_current(conn, task)

    async def reach(self, conn: Connection, task: Task, share: float) -> bool:
        """How far it is, 0 to 1. False: it is not wanted any more."""
        return await work_store.copied(conn, task, share)

    async def put(
        self, conn: Connection, task: Task, stretches: Sequence[Stretch], keep: Sequence[Kept], *, stored: int
    ) -> None:
        """Its segments are in its folder; stored: bytes of them. keep: what came of what was to be kept. What is still
        to be made beside them is found out by `finishing`. The row is locked by the caller."""
        cut = await work_store.cut(conn, task.id)
        assert cut is not None
        await work_store.set_cut(conn, task.id, msgspec.structs.replace(cut, keep=list(keep)))
        seconds = sum(stretch.length for stretch in stretches)
        encoded = (await asyncio.to_thread(stretches_to_json, stretches)).decode()
        await work_store.set_stretches(conn, task.id, encoded, duration=seconds)
        await work_store.set_work(conn, task.id, "[]")
        await work_store.add_pieces(conn, task.id, pieces_lacking(stretches))
        await work_store.set_bytes(conn, task.id, source=0, stored=stored)

    async def fail(self, conn: Connection, task: Task, failure: Failure) -> None:
        """Nothing will come of it."""
        await work_store.fail(conn, task.id, failure)
        await store.add_event(conn, task.id, "failed", failure.message)

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


def pieces_lacking(stretches: Sequence[Stretch]) -> list[Piece]:
    """Pictures to choose from, and AAC beside Opus; numbered as media.vod.recorded.beside has them."""
    names = [STILLS, *(SOUND for _ in opus_alone(stretches))]
    return [Piece(f"{kind}-{number}", kind, number, [], 1.0) for number, kind in enumerate(names)]
