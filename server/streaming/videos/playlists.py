"""Playlists, manifest and subtitles of a video as far as it is, written to the store. Keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import msgspec

from media.vod.packaging import MANIFEST, MULTIVARIANT, check_loss, package
from media.vod.plan import Plan, plan_from_json
from media.vod.results import AudioResult, ChunkResult
from media.vod.subtitles import Track, subtitled
from server.streaming.videos import captions_store, work_store
from server.streaming.videos.captions_store import Captions
from server.streaming.videos.models import Rendition, VideoState, folder_of
from server.streaming.videos.work_store import PICTURE, SOUND, Piece
from storage.objects import ObjectStore
from storage.objects.store import content_type_of
from storage.postgres import Connection
from storage.postgres.database import Database

Signature: TypeAlias = tuple[frozenset[str], tuple[tuple[str, str, int], ...]]
"""Of which pieces and captions playlists were written."""


@dataclass(frozen=True, slots=True)
class Written:
    """complete: there is nothing more to come."""

    signature: Signature
    renditions: list[Rendition]
    pieces: int
    complete: bool

    @property
    def state(self) -> VideoState:
        return VideoState.READY if self.complete else VideoState.PLAYABLE


class Assembly:
    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def signature(self, conn: Connection, id: UUID) -> Signature:
        """What there is now."""
        done = await work_store.done(conn, id)
        captions = await captions_store.versions(conn, id)
        return frozenset(done), tuple(captions)

    async def write(self, id: UUID) -> Written | None:
        """None: there is nothing to play yet, or no such video. Raises BadSource when too much of it is lost."""
        async with self._database.transaction() as conn:
            planned = await work_store.plan(conn, id)
            pieces = await work_store.pieces(conn, id)
            captions = await captions_store.all_of(conn, id)
        if planned is None:
            return None
        files, renditions = await asyncio.to_thread(_files, planned, pieces, captions)
        if not files:
            return None
        folder = folder_of(id)
        # what is referred to comes before what refers to it
        for name in sorted(files, key=lambda name: (name in (MANIFEST, MULTIVARIANT), name.endswith(".m3u8"))):
            await self._objects.put(f"{folder}/{name}", files[name], content_type_of(name))
        await self._drop_old(folder, files)
        done = [piece for piece in pieces if piece.result is not None]
        return Written(
            signature=(
                frozenset(piece.name for piece in done),
                tuple((one.language, one.label, one.version) for one in captions),
            ),
            renditions=renditions,
            pieces=len(done),
            complete=len(done) == len(pieces),
        )

    async def _drop_old(self, folder: str, files: dict[str, bytes]) -> None:
        """Captions that are there no more."""
        old = [
            key async for key, _ in self._objects.list(f"{folder}/text-") if key.removeprefix(f"{folder}/") not in files
        ]
        if old:
            await self._objects.delete(old)


def _files(
    planned: str, pieces: Sequence[Piece], captions: Sequence[Captions]
) -> tuple[dict[str, bytes], list[Rendition]]:
    """In a thread: a long video has thousands of segments."""
    plan = plan_from_json(planned)
    chunks = [
        msgspec.json.decode(piece.result, type=ChunkResult)
        for piece in pieces
        if piece.kind == PICTURE and piece.result is not None
    ]
    sounds = [piece.result for piece in pieces if piece.kind == SOUND and piece.result is not None]
    sound = msgspec.json.decode(sounds[0], type=AudioResult) if sounds else None
    if all(piece.result is not None for piece in pieces if piece.kind == PICTURE):
        check_loss(_once_each(plan, chunks))
    files = package(plan, chunks, sound)
    renditions = [
        Rendition(rung.name, rung.width, rung.height, rung.bit_rate)
        for rung in plan.rungs
        if f"v-{rung.name}.m3u8" in files
    ]
    if files and captions:
        tracks = [Track(one.language, one.label, one.body.encode()) for one in captions]
        files = subtitled(files, tracks, plan.seconds)
    return files, renditions


def _once_each(plan: Plan, chunks: Sequence[ChunkResult]) -> list[ChunkResult]:
    """Each chunk once: the first is in two pieces."""
    return [chunk for chunk in chunks if any(made.letter == f"v-{plan.lowest}" for made in chunk.renditions)]
