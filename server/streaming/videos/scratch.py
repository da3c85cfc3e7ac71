"""Room on the local disk for the work on videos: sources fetched from the store, and what is made before it is there.

A process has a folder of its own below the root, held by a lock on it, so that what a crash left is known as such
and removed by whoever starts next. Sources are kept while somebody works on them and as long as the room is not needed:
the chunks of one video are mostly taken one after the other. Owns its folder from `start` to `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from server.streaming.videos.models import source_key
from storage.objects import ObjectStore

PIECE = 8 << 20
LOCK = ".lock"


class SourceMissing(Exception):
    """The store has no such file."""


class NoRoom(Exception):
    """The disk, or what of it videos may use, is full. The text is for the operator."""


class _Held:
    """A source on the disk, or on its way there. users: who works on it now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.users = 0
        self.fetching = asyncio.Lock()
        self.whole = False


class Scratch:
    """root: shared with other processes. most: bytes of sources kept here. least_free: so many bytes of the disk are
    left to others."""

    def __init__(self, root: Path, objects: ObjectStore, *, most: int, least_free: int) -> None:
        self._root = root
        self._objects = objects
        self._most = most
        self._least_free = least_free
        self._folder: Path | None = None
        self._lock: int | None = None
        self._sources: dict[UUID, _Held] = {}  # the one used longest ago first

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def describe(self) -> dict[str, object]:
        return {"sources": len(self._sources), "bytes": self._bytes(), "most": self._most}

    @asynccontextmanager
    async def source(self, id: UUID, run: int) -> AsyncIterator[Path]:
        """The uploaded file of a video, on the local disk until the block ends. run: another one may be another file.
        Raises SourceMissing, NoRoom, StoreError."""
        assert self._folder is not None, "not started"
        held = self._sources.pop(id, None)
        path = self._folder / f"source-{id}-{run}"
        if held is None or held.path != path:
            if held is not None:
                await asyncio.to_thread(held.path.unlink, missing_ok=True)
            held = _Held(path)
        self._sources[id] = held  # now the one used last
        held.users += 1
        try:
            async with held.fetching:
                if not held.whole:
                    await self._fetch(id, held)
            yield held.path
        finally:
            held.users -= 1
            if not held.whole and not held.users and self._sources.get(id) is held:
                del self._sources[id]
                await asyncio.to_thread(held.path.unlink, missing_ok=True)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """An empty folder, gone with what is in it when the block ends. Raises NoRoom."""
        assert self._folder is not None, "not started"
        await self._need_disk(0)
        path = self._folder / f"made-{secrets.token_hex(8)}"
        await asyncio.to_thread(path.mkdir)
        try:
            yield path
        finally:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    async def forget(self, id: UUID) -> None:
        """There will be no more work on this one."""
        held = self._sources.get(id)
        if held is not None and not held.users:
            del self._sources[id]
            await asyncio.to_thread(held.path.unlink, missing_ok=True)

    async def _fetch(self, id: UUID, held: _Held) -> None:
        key = source_key(id)
        size = await self._objects.size(key)
        if size is None:
            raise SourceMissing(f"there is no object {key}")
        await self._make_room(held, size)
        held.size = size
        handle = await asyncio.to_thread(open, held.path, "wb")
        try:
            at = 0
            while at < size:
                piece = await self._objects.get(key, at, min(at + PIECE, size))
                if not piece:
                    raise SourceMissing(f"the object {key} ended at {at} of {size} bytes")
                await asyncio.to_thread(handle.write, piece)
                at += len(piece)
        finally:
            await asyncio.to_thread(handle.close)
        held.whole = True

    async def _make_room(self, held: _Held, size: int) -> None:
        if size > self._most:
            raise NoRoom(f"a file of {size} bytes is more than VOD_SCRATCH_BYTES, {self._most}")
        for id, other in list(self._sources.items()):
            if self._bytes() + size <= self._most:
                break
            if other is not held and not other.users:
                del self._sources[id]
                await asyncio.to_thread(other.path.unlink, missing_ok=True)
        if self._bytes() + size > self._most:
            raise NoRoom(f"{self._bytes()} bytes of {self._most} (VOD_SCRATCH_BYTES) are in use, {size} are needed")
        await self._need_disk(size)

    async def _need_disk(self, size: int) -> None:
        free = (await asyncio.to_thread(shutil.disk_usage, self._root)).free
        if free - size < self._least_free:
            raise NoRoom(f"{free >> 20} MiB of the disk are free, {(size + self._least_free) >> 20} MiB are needed")

    def _bytes(self) -> int:
        return sum(held.size for held in self._sources.values())

    def _start(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for left in self._root.iterdir():
            _remove_unheld(left)
        folder = self._root / f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
        self._lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._folder = folder

    def _close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        self._folder = self._lock = None
        self._sources.clear()


def _remove_unheld(folder: Path) -> None:
    """What a process left that is gone. A folder without its lock is just being made, unless it is old: then the crash
    came between."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # its process lives
    finally:
        with contextlib.suppress(OSError):
            os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)
