"""Files of videos as they are handed out: read from the store once for all who ask, kept in bounded memory.

Segments have final names and stay until others need the room. Playlists, captions and pictures may be written anew by
a worker: they are read again when somebody asks and what is kept is older than MUTABLE_SECONDS. That something is not
there is remembered for a moment too. Dies with its owner.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

from storage.objects import ObjectStore

NAME = re.compile(
    r"index\.(?:m3u8|mpd)"
    r"|[va](?:-[a-z0-9]{1,16})?(?:-init(?:-[0-9]{1,7})?\.mp4|-[0-9]{1,7}\.m4s|\.m3u8)"
    r"|thumb-[0-9]{1,3}\.jpg|thumb-own-[0-9a-f]{8,32}\.webp"
    r"|story\.vtt|story-[0-9]{1,3}\.jpg|preview\.(?:webp|avif)"
    r"|text-[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}\.(?:vtt|m3u8)",
    re.ASCII,
)
"""All that is handed out: not the uploaded file."""
FINAL = ("m4s", "mp4")
TYPES = {
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "vtt": "text/vtt; charset=utf-8",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
}
TEXTS = ("m3u8", "mpd", "vtt")
MUTABLE_SECONDS = 2.0
ABSENT_SECONDS = 1.0
ABSENT_MOST = 4096
READS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class File:
    """etag: strong, quoted. zipped: the same by gzip, for texts."""

    kind: str
    body: bytes
    etag: str
    zipped: bytes | None
    read_at: float

    @property
    def size(self) -> int:
        return len(self.body) + len(self.zipped or b"")

    @property
    def final(self) -> bool:
        return self.kind in FINAL


class Files:
    """most: bytes kept in memory."""

    def __init__(self, objects: ObjectStore, most: int) -> None:
        self._objects = objects
        self._most = most
        self._kept: OrderedDict[str, File] = OrderedDict()
        self._bytes = 0
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, asyncio.Task[File | None]] = {}
        self._room = asyncio.Semaphore(READS_AT_ONCE)
        self.reads = 0

    async def close(self) -> None:
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        return {"files": len(self._kept), "bytes": self._bytes, "reads": self.reads}

    async def read(self, folder: str, name: str) -> File | None:
        """None: there is no such file. Raises StoreError."""
        key = f"{folder}/{name}"
        now = time.monotonic()
        file = self._kept.get(key)
        if file is not None and (file.final or now - file.read_at < MUTABLE_SECONDS):
            self._kept.move_to_end(key)
            return file
        if self._absent.get(key, 0.0) > now:
            return None
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.get_running_loop().create_task(self._read(key))
            task.add_done_callback(lambda done: self._done(key, done))
        # one reader that leaves does not take the others' read away
        return await asyncio.shield(task)

    async def _read(self, key: str) -> File | None:
        async with self._room:
            self.reads += 1
            body = await self._objects.get(key)
        if body is None:
            return None
        kind = key.rpartition(".")[2]
        return await asyncio.to_thread(made, kind, body)

    def _done(self, key: str, task: asyncio.Task[File | None]) -> None:
        del self._reading[key]
        if task.cancelled() or task.exception() is not None:
            return
        file = task.result()
        self._drop(key)
        if file is None:
            self._absent[key] = time.monotonic() + ABSENT_SECONDS
            self._absent.move_to_end(key)
            if len(self._absent) > ABSENT_MOST:
                self._absent.popitem(last=False)
        elif file.size <= self._most // 4:  # one never takes the place of most others
            self._absent.pop(key, None)
            self._kept[key] = file
            self._bytes += file.size
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1].size

    def _drop(self, key: str) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= old.size


def made(kind: str, body: bytes) -> File:
    """In a thread: a digest of all of it, and texts zipped."""
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    zipped = gzip.compress(body, 6, mtime=0) if kind in TEXTS else None
    return File(kind, body, etag, zipped, time.monotonic())
