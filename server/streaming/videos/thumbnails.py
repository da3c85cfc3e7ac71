"""A picture of one's own for a video, made anew by media/transcode/image and stored beside the segments."""

from __future__ import annotations

import secrets
from uuid import UUID

import msgspec

from media.transcode.image import BadImage, Images, ImagesBusy
from server.kit.auth import Caller
from server.kit.http.ifmatch import IfMatch
from server.kit.problems import Unavailable
from server.streaming.videos import store
from server.streaming.videos.errors import BadThumbnail
from server.streaming.videos.models import folder_of
from server.streaming.videos.opening import owned
from storage.objects import ObjectStore
from storage.postgres import Database

SIZE = (1280, 720)


class OwnThumbnails:
    def __init__(self, database: Database, objects: ObjectStore, images: Images) -> None:
        self._database = database
        self._objects = objects
        self._images = images

    async def put(self, id: UUID, caller: Caller, data: bytes, seen: IfMatch) -> None:
        """It is chosen at once. Under a name of its own each time, as addresses are kept by caches. Raises
        BadThumbnail, Unavailable."""
        async with self._database.acquire() as conn:
            owned(await store.get(conn, id), caller)
        try:
            picture = await self._images.cover(data, *SIZE)
        except BadImage as bad:
            raise BadThumbnail(str(bad)) from None
        except ImagesBusy:
            raise Unavailable("Many pictures are being made just now; try again in a moment.", 2.0) from None
        name = f"thumb-own-{secrets.token_hex(8)}.webp"
        await self._objects.put(f"{folder_of(id)}/{name}", picture, "image/webp")
        try:
            async with self._database.transaction() as conn:
                video = owned(await store.lock(conn, id), caller)
                seen.check(video.version)
                old = video.pictures.own
                await store.set_pictures(conn, id, msgspec.structs.replace(video.pictures, own=name), name)
                await store.edited(conn, id)
        except BaseException:
            await self._objects.delete([f"{folder_of(id)}/{name}"])
            raise
        if old:
            await self._objects.delete([f"{folder_of(id)}/{old}"])
