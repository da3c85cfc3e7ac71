"""Avatars: taken, made anew by media/transcode/image, stored under random names, shown to everybody.

What an address shows never changes, so it may be kept for ever by whoever has fetched it; a new picture has a new name.
The files of the old one are deleted by a job that commits with the change.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from aiohttp import web

from media.transcode.image import BadImage, Images, ImagesBusy
from server.identity.profile import store
from server.identity.profile.errors import BadPicture, NotAPicture, TooManyPictures
from server.identity.profile.models import SIZES
from server.kit.audit import Audit
from server.kit.auth import Origin
from server.kit.problems import BodyTooLarge, MalformedBody, RequestTimeout
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.postgres import Database

FILES_JOB = "identity.delete_files"
CHECK_JOB = "identity.check_avatar"
PREFIX = "avatars"

_CHECK_AFTER = timedelta(hours=1)
_NAME = re.compile(r"[a-z2-7]{32}")
_FILE = re.compile(r"(64|256|512)\.webp")
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Files(Protocol):
    """The spool in a server, the bare store in a worker."""

    async def delete_prefix(self, prefix: str) -> int: ...


class Avatars:
    """max_bytes: the largest file that is taken."""

    def __init__(
        self, database: Database, objects: ObjectStore, images: Images, jobs: Jobs, *, audit: Audit, max_bytes: int
    ) -> None:
        self._database = database
        self._objects = objects
        self._images = images
        self._jobs = jobs
        self._audit = audit
        self._max_bytes = max_bytes

    def install(self, app: web.Application) -> None:
        app.router.add_get("/avatars/{name}/{file}", self.serve)

    async def put(self, user_id: UUID, data: bytes, origin: Origin | None = None) -> None:
        """Make it the account's picture. Raises NotAPicture, BadPicture, TooManyPictures."""
        try:
            pictures = await self._images.squares(data, SIZES)
        except BadImage as bad:
            raise (NotAPicture(str(bad)) if bad.kind == "type" else BadPicture(str(bad))) from None
        except ImagesBusy:
            raise TooManyPictures("Many pictures are being made just now; try again in a moment.", 2.0) from None
        name = new_name()
        async with self._database.acquire() as connection:
            # whatever happens from here on, files that nothing refers to are deleted
            await self._jobs.enqueue(connection, CHECK_JOB, name.encode(), after=_CHECK_AFTER)
        for size, picture in zip(SIZES, pictures, strict=True):
            await self._objects.put(f"{PREFIX}/{name}/{size}.webp", picture, "image/webp")
        await self._set(user_id, name, origin)

    async def remove(self, user_id: UUID, origin: Origin | None = None) -> None:
        """No picture any more; none before is no error."""
        await self._set(user_id, None, origin)

    async def _set(self, user_id: UUID, name: str | None, origin: Origin | None) -> None:
        async with self._database.transaction() as connection:
            old = (await store.lock(connection, user_id)).avatar
            if old is None and name is None:
                return
            await store.set_avatar(connection, user_id, name)
            if old is not None:
                await self._jobs.enqueue(connection, FILES_JOB, f"{PREFIX}/{old}".encode())
            await self._audit.record(connection, user_id, "profile.changed", origin, fields=["avatar"])

    async def serve(self, request: web.Request) -> web.StreamResponse:
        name, file = request.match_info["name"], request.match_info["file"]
        if not (_NAME.fullmatch(name) and _FILE.fullmatch(file)):
            return _missing()
        tag = f'"{name}-{file.partition(".")[0]}"'
        headers = {**_HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        data = await self._objects.get(f"{PREFIX}/{name}/{file}")
        if data is None:
            return _missing()
        return web.Response(body=data, content_type="image/webp", headers=headers)

    async def read(self, request: web.Request, *, within: float) -> bytes:
        """The file in a request's body, whatever type it claims. within: s. Raises BodyTooLarge, RequestTimeout,
        MalformedBody."""
        most = f"{self._max_bytes / 2**20:.3g} MB" if self._max_bytes >= 2**20 else f"{self._max_bytes} bytes"
        too_large = BodyTooLarge(f"A picture may have {most} at most.", limit=self._max_bytes)
        if (request.content_length or 0) > self._max_bytes:
            raise too_large
        data = bytearray()
        try:
            async with asyncio.timeout(within):
                while chunk := await request.content.readany():
                    data += chunk
                    if len(data) > self._max_bytes:
                        raise too_large
        except TimeoutError:
            raise RequestTimeout(f"The picture has to arrive within {within:g} s.") from None
        except (BodyTooLarge, asyncio.CancelledError):
            raise
        except Exception as error:  # aiohttp has many for chunks and connections that break off
            raise MalformedBody(f"The body could not be read: {type(error).__name__}") from error
        if not data:
            raise MalformedBody("Send the picture's file as the body.")
        return bytes(data)


async def check_avatar(database: Database, files: Files, name: str) -> None:
    """The job CHECK_JOB: delete the files of a picture that nobody has."""
    async with database.acquire() as connection:
        used = await store.avatar_in_use(connection, name)
    if not used:
        await files.delete_prefix(f"{PREFIX}/{name}")


def new_name() -> str:
    """160 random bits, as a segment of a key and of an address."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(32))


def _missing() -> web.Response:
    return web.Response(status=404, text="There is no such picture.\n", headers={"Cache-Control": "no-store"})
