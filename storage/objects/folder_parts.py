"""What comes in pieces, for a store in a folder: one growing file a place, which becomes the object by renaming.

Owns nothing between calls but the open files of its appenders. All file work is done in threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from storage.objects.behind import Behind
from storage.objects.folder import FolderStore
from storage.objects.parts import Lost, Piece
from storage.objects.store import StoreError, check_key

T = TypeVar("T")

_DATA = "data"
_JOINED = "joined"
FORCE = 16 * 1024 * 1024
"""Bytes that are written before they are forced to the disk beside those that come."""
_MOST_BUFFERS = 512
"""Buffers in one writev call; the system allows 1024."""
_SLICE = 64 * 1024 * 1024
"""Copied in one go by a thread, which nobody can stop meanwhile."""


class FolderParts:
    def __init__(self, store: FolderStore) -> None:
        self._store = store

    async def open(self, place: str, offset: int) -> FolderAppender:
        path = self._store.path_of(check_key(f"{place}/{_DATA}"))
        return FolderAppender(await _in_thread(path, lambda: _open(path, offset)), path, offset)

    async def complete(self, pieces: Sequence[Piece], key: str, content_type: str) -> None:
        del content_type  # told by the name
        check_key(key)
        total = sum(piece.size for piece in pieces)
        files = [self._store.path_of(check_key(f"{piece.place}/{_DATA}")) for piece in pieces]
        first = files[0]
        if len(pieces) > 1:
            joined = self._store.path_of(f"{pieces[0].place}/{_JOINED}")
            before = 0
            for path, piece in zip(files, pieces, strict=True):
                await self._copy(path, piece.size, joined, before)
                before += piece.size
            first = joined
        elif await self._store.size(key) == total and not await _in_thread(first, first.exists):
            return  # by an earlier call
        await _in_thread(first, lambda: _finish(self._store, first, total, key))

    async def abort(self, place: str) -> int:
        return await self._store.delete_prefix(check_key(place) + "/")

    async def _copy(self, path: Path, size: int, target: Path, at: int) -> None:
        for begin in range(0, size, _SLICE):
            await _in_thread(path, lambda b=begin: _slice(path, b, min(_SLICE, size - b), target, at + b, before=at))  # type: ignore[misc]


class FolderAppender:
    """Three things at once: what comes is gathered, what came before is written by a thread, and what was written
    before that is forced to the disk by another."""

    def __init__(self, file: int, path: Path, offset: int) -> None:
        self._file = file
        self._path = path
        self._at = self._written = self._kept = self._forced = offset
        """Handed over; in the file; on the disk; on the disk once the thread that is at it has ended."""
        self._behind = Behind(self._write)
        self._forcing: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    async def write(self, data: bytes) -> None:
        await self._behind.put(data)
        self._at += len(data)
        if self._written - self._forced >= FORCE:
            self._force()
        self._check()

    async def checkpoint(self) -> int:
        return await self.keep()

    async def keep(self) -> int:
        await self._behind.done()
        while self._kept != self._at:
            self._force()
            if self._forcing is not None:
                await asyncio.wait({self._forcing})
            self._check()
        return self._kept

    async def close(self) -> None:
        # threads go on when who waited for them was cancelled; the file is theirs until then
        await self._behind.close()
        if self._forcing is not None:
            await asyncio.wait({self._forcing})
        await asyncio.to_thread(os.close, self._file)

    def _force(self) -> None:
        """Unless a thread is at it: then the next call does it."""
        if self._forcing is None and self._failure is None:
            self._forced = self._written
            self._forcing = asyncio.get_running_loop().run_in_executor(None, self._sync)
            self._forcing.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[None]) -> None:
        self._forcing = None
        self._failure = asyncio.CancelledError() if work.cancelled() else work.exception()
        if self._failure is None:
            self._kept = self._forced

    def _check(self) -> None:
        # a system tells a failure once, and calls what it could not write clean: nothing may follow
        if self._failure is not None:
            raise self._failure

    # in a thread

    def _write(self, blocks: Sequence[bytes]) -> None:
        with _told(self._path):
            for at in range(0, len(blocks), _MOST_BUFFERS):
                self._written += _write_all(self._file, blocks[at : at + _MOST_BUFFERS])

    def _sync(self) -> None:
        with _told(self._path):
            os.fsync(self._file)


def _open(path: Path, offset: int) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        if offset:
            raise Lost(0) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, flags | os.O_CREAT, 0o644)
        _sync_folder(path.parent)
        _sync_folder(path.parent.parent)
    try:
        there = os.fstat(file).st_size
        if there < offset:
            raise Lost(there)
        os.ftruncate(file, offset)
        os.lseek(file, offset, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


def _write_all(file: int, blocks: Sequence[bytes]) -> int:
    """Behind what was written before; how many bytes."""
    wanted = sum(map(len, blocks))
    written = os.writev(file, blocks)
    if written < wanted:
        # a disk that is nearly full takes a part; the next attempt says why
        view = memoryview(b"".join(blocks))[written:]
        while view:
            view = view[os.write(file, view) :]
    return wanted


def _slice(path: Path, begin: int, length: int, target: Path, at: int, *, before: int) -> None:
    """Copy a part of one file into another. before: bytes there that come from earlier files."""
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Lost(before) from None
    try:
        there = os.fstat(source).st_size
        if there < begin + length:
            raise Lost(before + there)
        into = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.lseek(into, at, os.SEEK_SET)
            while length:
                data = os.pread(source, min(length, 1 << 20), begin)
                begin, length = begin + _write_all(into, [data]), length - len(data)
        finally:
            os.close(into)
    finally:
        os.close(source)


def _finish(store: FolderStore, path: Path, size: int, key: str) -> None:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Lost(0) from None
    try:
        there = os.fstat(file).st_size
        if there < size:
            raise Lost(there)
        os.ftruncate(file, size)
        os.fsync(file)
    finally:
        os.close(file)
    store.place(key, path)
    _sync_folder(store.path_of(key).parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _in_thread(path: Path, work: Callable[[], T]) -> T:
    with _told(path):
        return await asyncio.to_thread(work)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses is a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
