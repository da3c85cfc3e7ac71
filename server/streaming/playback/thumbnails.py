"""The picture of each live broadcast: made when somebody asks for it and the last one is old, in a child process."""

from __future__ import annotations

import asyncio
import logging
import time

from media.transcode.child import ChildFailed
from media.transcode.thumbnail import Thumbnailer
from server.streaming.broadcasts import store
from server.streaming.broadcasts.live import Live, prefix
from storage.objects.spool import Spool
from storage.postgres.database import Database

log = logging.getLogger(__name__)

NAME = "thumb.jpg"
FIRST_KEY_SECONDS = 5.0


class Thumbnails:
    """`seconds`: the age at which a picture is renewed, and the least time between two tries for one broadcast."""

    def __init__(self, thumbnailer: Thumbnailer, spool: Spool, database: Database, seconds: float) -> None:
        self._thumbnailer = thumbnailer
        self._spool = spool
        self._database = database
        self._seconds = seconds
        self._making: dict[str, asyncio.Task[None]] = {}

    def want(self, live: Live) -> None:
        """Somebody is about to look. Costs nothing while the picture is fresh or being made."""
        if live.id in self._making or (live.thumbnail_at and time.monotonic() - live.thumbnail_at < self._seconds):
            return
        task = asyncio.get_running_loop().create_task(self._make(live))
        self._making[live.id] = task
        task.add_done_callback(lambda done: self._made(live.id, done))

    async def close(self) -> None:
        for task in list(self._making.values()):
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        await self._thumbnailer.close()

    async def _make(self, live: Live) -> None:
        deadline = time.monotonic() + FIRST_KEY_SECONDS
        while (key := live.media.last_key) is None:
            # it just went live, and the first key frame is on its way
            if not live.on_air or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)
        live.thumbnail_at = time.monotonic()
        try:
            jpeg = await self._thumbnailer.jpeg(*key)
        except ChildFailed as error:
            log.info("no thumbnail of broadcast %s: %s", live.id, error)
            return
        first = live.thumbnail is None
        live.thumbnail = jpeg
        await self._spool.put(f"{prefix(live.id)}/{NAME}", jpeg)
        if first:
            async with self._database.acquire() as conn:
                await store.set_thumbnail(conn, live.row.id)

    def _made(self, id: str, task: asyncio.Task[None]) -> None:
        self._making.pop(id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("the thumbnail of broadcast %s could not be kept", id, exc_info=task.exception())
