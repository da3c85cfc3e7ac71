"""Playlists, manifest and subtitles of a video as far as it is, written to the store. Keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import msgspec

from media.vod.packaging import MANIFEST, MULTIVARIANT, check_loss, described, package, package_stretches
from media.vod.plan import Plan, plan_from_json
from media.vod.results import AudioResult, ChunkResult, Made
from media.vod.stretches import Stretch, stretches_from_json
from media.vod.subtitles import Track, subtitled
from server.streaming.videos import captions_store, work_store
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
            kept = await work_store.stretches(conn, id)
            mark = await work_store.mark(conn, id)
            pieces = await work_store.pieces(conn, id)
            captions = await captions_store.all_of(conn, id)
        if planned is None and kept is None:
            return None
        files, renditions, seconds = await asyncio.to_thread(_made, planned, kept, pieces, mark)
        if not files:
            return None
        if captions:
            tracks = [Track(one.language, one.label, one.body.encode()) for one in captions]
            files = subtitled(files, tracks, seconds)
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
            pieces=len(done) + (kept is not None),
            complete=len(done) == len(pieces),
        )

    async def _drop_old(self, folder: str, files: dict[str, bytes]) -> None:
        """Captions that are there no more."""
        old = [
            key async for key, _ in self._objects.list(f"{folder}/text-") if key.removeprefix(f"{folder}/") not in files
        ]
        if old:
            await self._objects.delete(old)


Packaged: TypeAlias = tuple[dict[str, bytes], list[Rendition], float]
"""Files, what can be played, seconds."""


def _made(planned: str | None, kept: str | None, pieces: Sequence[Piece], mark: str) -> Packaged:
    """In a thread: a long video has thousands of segments."""
    if kept is not None:
        return _of_stretches(stretches_from_json(kept), pieces, mark)
    assert planned is not None
    return _of_plan(plan_from_json(planned), pieces)


def _of_stretches(kept: Sequence[Stretch], pieces: Sequence[Piece], mark: str) -> Packaged:
    """Of a set whose segments were there already, with what was made beside them."""
    made: list[Made] = []
    for piece in pieces:
        if piece.result is not None and piece.kind == PICTURE:
            made += msgspec.json.decode(piece.result, type=ChunkResult).renditions
        elif piece.result is not None and piece.kind == SOUND:
            made.append(msgspec.json.decode(piece.result, type=AudioResult).rendition)
    stretches = [stretch.joined(made) for stretch in kept]
    renditions = [
        Rendition(rung.name.removesuffix(mark), rung.width, rung.height, rung.bit_rate) for rung in described(stretches)
    ]
    return package_stretches(stretches), renditions, sum(stretch.length for stretch in stretches)


def _of_plan(plan: Plan, pieces: Sequence[Piece]) -> Packaged:
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
        if f"{plan.letter(rung.name)}.m3u8" in files
    ]
    return files, renditions, plan.seconds


def _once_each(plan: Plan, chunks: Sequence[ChunkResult]) -> list[ChunkResult]:
    """Each chunk once: the first is in two pieces."""
    return [chunk for chunk in chunks if any(made.letter == plan.letter(plan.lowest) for made in chunk.renditions)]
