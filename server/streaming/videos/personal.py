"""What videos keep of a person: his videos with their captions and files, and what he likes.

Implements server.kit.personal.PersonalData; owns nothing between calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from server.kit.personal import Item, rows
from server.streaming.videos import captions_store, store
from server.streaming.videos.jobs import DELETED_JOB
from server.streaming.videos.models import Video, source_key
from server.streaming.videos.replacing import is_media_of
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.postgres import Connection, Database

BATCH = 200
PIECE = 8 << 20


class VideosData:
    def __init__(self, database: Database, objects: ObjectStore, jobs: Jobs, base_url: str) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._base_url = base_url

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        """The uploaded files are what the person gave; what was made of them can be made again."""
        yield Item("videos/videos.json", rows(self._views(user_id)))
        yield Item("videos/likes.json", rows(self._likes(user_id)))
        if not media:
            return
        async for videos in self._videos(user_id):
            for video in videos:
                size = await self._objects.size(source_key(video.id))
                if size is not None:
                    yield Item(f"media/{video.id}/source", self._object(source_key(video.id), size), packed=True)
                async for item in self._recorded(video):
                    yield item
                if video.pictures.own:
                    key = f"{video.folder}/{video.pictures.own}"
                    yield Item(f"media/{video.id}/thumbnail.webp", self._object(key, PIECE), packed=True)

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        await store.set_suspended(connection, user_id, True)

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        await store.set_suspended(connection, user_id, False)

    async def erase(self, user_id: UUID) -> None:
        """The job of each video deletes its objects. What he likes counts no more."""
        while True:
            async with self._database.transaction() as conn:
                gone = await store.delete_some(conn, user_id, BATCH)
                for id in gone:
                    await self._jobs.enqueue(conn, DELETED_JOB, str(id).encode())
            if not gone:
                break
        while True:
            async with self._database.transaction() as conn:
                liked = [row["video_id"] for row in await store.likes_of(conn, user_id, None, BATCH)]
                for id in liked:  # in the order of their ids, as whoever locks several does
                    await store.unlike(conn, id, user_id)
            if not liked:
                return

    async def _videos(self, user_id: UUID) -> AsyncIterator[list[Video]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                found = await store.all_of_owner(conn, user_id, after, BATCH)
            if not found:
                return
            yield found
            after = found[-1].id

    async def _views(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        async for videos in self._videos(user_id):
            async with self._database.acquire() as conn:
                captions = {video.id: await captions_store.all_of(conn, video.id) for video in videos}
            yield [
                {
                    **msgspec.structs.asdict(video),
                    "captions": captions[video.id],
                    "url": f"{self._base_url}/api/v1/videos/{video.id}",
                    "source": source_key(video.id),
                }
                for video in videos
            ]

    async def _likes(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                found = await store.likes_of(conn, user_id, after, BATCH)
            if not found:
                return
            yield [dict(row) for row in found]
            after = found[-1]["video_id"]

    async def _recorded(self, video: Video) -> AsyncIterator[Item]:
        """Of a recording, which has no file: the largest picture and the sound, with their playlists."""
        if not video.kept:
            return
        letters = {"a", *(f"v-{rendition.name}" for rendition in video.renditions[-1:])}
        async for key, size in self._objects.list(f"{video.folder}/"):
            name = key.removeprefix(f"{video.folder}/")
            if any(is_media_of(name, letter) for letter in letters):
                yield Item(f"media/{video.id}/{name}", self._object(key, size), packed=True)

    async def _object(self, key: str, size: int) -> AsyncIterator[bytes]:
        for at in range(0, size, PIECE):
            piece = await self._objects.get(key, at, at + PIECE)
            if not piece:
                return
            yield piece
