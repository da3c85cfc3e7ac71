"""What comes in pieces, for a store in a folder: one growing file a place, which becomes the object by renaming.

Owns nothing between calls but the open files of its appenders. All file work is done in threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from storage.objects.folder import FolderStore
from storage.objects.parts import Lost, Piece
from storage.objects.store import StoreError, check_key

T = TypeVar("T")

_DATA = "data"
_JOINED = "joined"
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
    def __init__(self, file: int, path: Path, offset: int) -> None:
        self._file = file
        self._path = path
        self._at = offset
        self._kept = offset
        self._work: asyncio.Future[object] | None = None

    async def write(self, data: bytes) -> None:
        await self._do(lambda: _write(self._file, data, self._at))
        self._at += len(data)

    async def checkpoint(self) -> int:
        return await self.keep()

    async def keep(self) -> int:
        if self._kept != self._at:
            await self._do(lambda: os.fsync(self._file))
            self._kept = self._at
        return self._kept

    async def close(self) -> None:
        if self._work is not None and not self._work.done():
            # a thread goes on when who waited for it was cancelled; the file is its own until then
            await asyncio.wait({self._work})
        await asyncio.to_thread(os.close, self._file)

    async def _do(self, work: Callable[[], object]) -> None:
        self._work = asyncio.ensure_future(_in_thread(self._path, work))
        await asyncio.shield(self._work)


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
    except BaseException:
        os.close(file)
        raise
    return file


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


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
            while length:
                data = os.pread(source, min(length, 1 << 20), begin)
                _write(into, data, at)
                begin, at, length = begin + len(data), at + len(data), length - len(data)
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
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
