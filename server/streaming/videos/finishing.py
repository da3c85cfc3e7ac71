"""Sets whose segments others have put there: playlists over them at once, then what lacks beside them. Keeps nothing.

To do it again, after a crash at any place, is harmless.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from media.package.journal import Init
from media.vod.options import Options
from media.vod.recorded import Looked, beside, source_of
from media.vod.results import Pictures
from media.vod.stretches import Stretch
from server.streaming.videos import work_store
from server.streaming.videos.jobs import enqueue_assembly, enqueue_pieces
from server.streaming.videos.models import folder_of
from server.streaming.videos.sets import Sets
from server.streaming.videos.work_store import Task
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.postgres import Database


class Looker(Protocol):
    def look(
        self, id: UUID, stretches: Sequence[Stretch], looks: Sequence[Init | None], /
    ) -> Awaitable[list[Looked | None]]:
        """What the pictures of each stretch are like."""
        ...


class Assembler(Protocol):
    async def assemble_job(self, payload: bytes, /) -> None: ...


class Finishing:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        jobs: Jobs,
        sets: Sets,
        looker: Looker,
        assembler: Assembler,
        options: Options,
    ) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._sets = sets
        self._looker = looker
        self._assembler = assembler
        self._options = options

    async def made(self, task: Task) -> None:
        """The row says which segments there are. When this returns it can be played, and what lacks is on its way."""
        await self._assembler.assemble_job(msgspec.json.encode(task))
        async with self._database.acquire() as conn:
            stretches = await self._sets.stretches(conn, task.id)
            pieces = await work_store.pieces(conn, task.id)
        if all(piece.result is not None for piece in pieces):
            return
        looks = [await self._look_of(task.id, stretch) for stretch in stretches]
        found = await self._looker.look(task.id, stretches, looks)
        work = await asyncio.to_thread(beside, stretches, looks, found, self._options)
        encoded = (await asyncio.to_thread(msgspec.json.encode, work)).decode()
        async with self._database.transaction() as conn:
            if not await work_store.lock_current(conn, task):
                return
            await work_store.set_work(conn, task.id, encoded)
            some = [piece for piece in pieces if work[piece.number] is not None]
            await enqueue_pieces(self._jobs, conn, task.id, task.run, some)
            if len(some) < len(pieces):  # nothing that could be decoded here
                nothing = msgspec.json.encode(Pictures((), "", "", (), "")).decode()
                await work_store.finish(conn, Task(task.id, task.run, pieces[0].name), nothing, 0)
                await enqueue_assembly(self._jobs, conn, task.id, task.run)

    async def _look_of(self, id: UUID, stretch: Stretch) -> Init | None:
        """What one decoder takes has the same init segment, whatever that is called."""
        top = source_of(stretch)
        body = await self._objects.get(f"{folder_of(id)}/{top.init}") if top is not None else None
        if top is None or body is None:
            return None
        digest = hashlib.sha256(body).hexdigest()
        return Init(top.init, 0, "v", top.codec, top.scale, digest, top.width, top.height, top.frame_rate)
