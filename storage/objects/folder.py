"""Objects in a folder: the default store. Owns everything under its root; lasts as long as the disk.

An object appears by renaming, so it is whole or not there, also after a kill -9. Against a power cut: with `fsync`
every object and its folder is forced to disk before a put returns; without (the default, right for media, which comes
many times a second) the system writes it out within seconds, and what it had not may be missing afterwards.
All file work is done in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import heapq
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from storage.objects.store import StoreError, check_key, check_prefix

T = TypeVar("T")
Found: TypeAlias = "list[tuple[str, int]]"
"""Keys and sizes; named here because the class has a method called list."""


_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
"""Another filesystem, one without hard links, a system that forbids them, or a file that has as many as it may."""


class FolderStore:
    def __init__(self, root: Path, *, fsync: bool = False) -> None:
        self._root = root
        # Keys never begin with a dot, so nobody can name a file in here.
        self._unfinished = root / ".unfinished"
        self._fsync = fsync
        self._numbers = itertools.count()

    async def start(self) -> None:
        def prepare() -> None:
            self._unfinished.mkdir(parents=True, exist_ok=True)
            for path in self._unfinished.iterdir():
                # what a crash cut short; what another process is writing just now stays
                if not _at_work(path.name.partition("-")[0]):
                    path.unlink(missing_ok=True)

        await self._in_thread(prepare)

    async def close(self) -> None:
        pass

    def describe(self) -> dict[str, object]:
        return {"kind": "folder", "root": str(self._root)}

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        del content_type  # told by the name
        check_key(key)
        await self._in_thread(lambda: self._put(key, data))

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        del content_type
        check_key(key)
        await self._in_thread(lambda: self._put_file(key, path))

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        check_key(key)
        return await self._in_thread(lambda: self._get(key, start, end))

    async def size(self, key: str) -> int | None:
        check_key(key)
        return await self._in_thread(lambda: self._size(key))

    async def copy(self, source: str, destination: str) -> bool:
        check_key(source)
        check_key(destination)
        return await self._in_thread(lambda: self._copy(source, destination))

    async def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            check_key(key)

        def delete_all() -> None:
            for key in keys:
                self.drop(key)

        await self._in_thread(delete_all)

    async def delete_prefix(self, prefix: str) -> int:
        if not check_prefix(prefix):
            raise ValueError("an empty prefix would delete everything")

        def delete_all() -> int:
            keys = [key for key, _ in self._find(prefix)]
            for key in keys:
                self.drop(key)
            return len(keys)

        return await self._in_thread(delete_all)

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        check_prefix(prefix)
        found = await self._in_thread(lambda: sorted(self._find(prefix)))
        for item in found:
            yield item

    async def folders(self, prefix: str, after: str, most: int) -> Sequence[str]:
        check_prefix(prefix)
        return await self._in_thread(lambda: self._folders(prefix, after, most))

    def path_of(self, key: str) -> Path:
        """Where an object is. `key` is checked by the caller."""
        return self._root / key

    # for a thread: LocalStore

    def place(self, key: str, path: Path) -> None:
        """Rename a file of the same filesystem into the store. `key` is checked by the caller."""
        target = self._root / key
        if self._fsync:
            _sync(path)
        try:
            path.replace(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        if self._fsync:
            _sync(target.parent)

    def drop(self, key: str) -> None:
        path = self._root / key
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        # Folders come and go with their objects; one that is not empty stays.
        with contextlib.suppress(OSError):
            for folder in path.parents:
                if folder == self._root:
                    break
                folder.rmdir()

    # the work, in a thread

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StoreError(f"folder {self._root}: {error.strerror or error}") from error

    def _put(self, key: str, data: bytes) -> None:
        path = self._unfinished / f"{os.getpid()}-{next(self._numbers)}"
        try:
            path.write_bytes(data)
            self.place(key, path)
        finally:
            path.unlink(missing_ok=True)

    def _put_file(self, key: str, path: Path) -> None:
        try:
            self.place(key, path)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        copy = self._unfinished / f"{os.getpid()}-{next(self._numbers)}"
        try:
            shutil.copyfile(path, copy)
            self.place(key, copy)
        finally:
            copy.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _copy(self, source: str, destination: str) -> bool:
        """Objects are replaced and never written into, so two names may be of one file."""
        path = self._unfinished / f"{os.getpid()}-{next(self._numbers)}"
        try:
            if not (self._root / source).is_file():
                return False
            try:
                os.link(self._root / source, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                shutil.copyfile(self._root / source, path)
            self.place(destination, path)
            return True
        except (FileNotFoundError, NotADirectoryError):
            if (self._root / source).is_file():
                raise
            return False  # deleted meanwhile
        finally:
            path.unlink(missing_ok=True)  # also when both were one file: a rename leaves it then

    def _get(self, key: str, start: int | None, end: int | None) -> bytes | None:
        try:
            with open(self._root / key, "rb") as file:
                begin = start or 0
                file.seek(begin)
                return file.read() if end is None else file.read(max(0, end - begin))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _size(self, key: str) -> int | None:
        path = self._root / key
        try:
            return path.stat().st_size if path.is_file() else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _folders(self, prefix: str, after: str, most: int) -> Sequence[str]:
        try:
            with os.scandir(self._root / prefix) as found:
                names = (one.name for one in found if not one.name.startswith(".") and one.is_dir())
                return heapq.nsmallest(most, (name for name in names if name > after))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _find(self, prefix: str) -> Found:
        """Every key that begins with the prefix, by walking only the folder that it lies in."""
        below = prefix.rpartition("/")[0]
        found: Found = []
        for folder, folders, names in os.walk(self._root / below):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and not name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((key, path.stat().st_size))
        return found


def _at_work(pid: str) -> bool:
    """Whether it is of a process that lives. Our own number is of an earlier one: we have written nothing yet."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
