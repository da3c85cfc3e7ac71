"""The spool's files and the one thread that writes them, so that what was handed over first is on disk first.

    FOLDER/.tmp/                 files being written; emptied at start
    FOLDER/{prefix}/{name}       files the store has not got yet
    FOLDER/{prefix}/journal.jsonl
    FOLDER/{prefix}/.removed     names the store has yet to remove, one a line

Nothing is forced to disk: what the thread has written survives a kill -9, as the kernel has it; a power cut may take
the last seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from storage.objects.store import LocalStore

T = TypeVar("T")

JOURNAL = "journal.jsonl"
REMOVED = ".removed"
_MOST_BUFFERS = 512
"""Buffers in one writev call; the system allows 1024."""


class WriterThread:
    """Runs jobs one after the other, off the loop. Ends when closed, after the jobs it has."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="spool-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def tell(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `job` in the thread, then `done` with its result on the loop. `job` must not raise."""
        loop = self._loop
        assert loop is not None

        def run() -> None:
            result = job()
            # A loop that is gone has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done, result)

        self._jobs.put(run)

    async def ask(self, job: Callable[[], T]) -> T:
        """Run `job` in the thread, after all that were handed over before, and give its result or exception."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def guarded() -> tuple[T | None, BaseException | None]:
            try:
                return job(), None
            except BaseException as error:
                return None, error

        def done(outcome: tuple[T | None, BaseException | None]) -> None:
            result, error = outcome
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only when T is

        self.tell(guarded, done)
        return await future

    async def close(self) -> None:
        self._jobs.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


@dataclass(slots=True)
class Written:
    """What became of one add. stored: in the store already; spooled: in the spool; an error: neither, nothing kept."""

    stored: list[str] = field(default_factory=list)
    spooled: list[str] = field(default_factory=list)
    journal_end: int | None = None
    error: OSError | None = None


@dataclass(slots=True)
class Left:
    """What an earlier process left of one prefix: names with sizes in the order they were written."""

    prefix: str
    files: list[tuple[str, int]] = field(default_factory=list)
    journal: int | None = None
    journal_age: float = 0.0
    removed: list[str] = field(default_factory=list)


class SpoolFiles:
    """File work; every method blocks and belongs to the writer thread."""

    def __init__(self, folder: Path, local: LocalStore | None) -> None:
        self._folder = folder
        self._tmp = folder / ".tmp"
        self._local = local
        self._made: set[str] = set()
        self._checked: set[str] = set()
        self._number = 0

    def path(self, prefix: str, name: str) -> Path:
        return self._folder / prefix / name

    def prepare(self) -> list[Left]:
        """Make the folders and find what is left from before. Raises OSError."""
        shutil.rmtree(self._tmp, ignore_errors=True)
        self._tmp.mkdir(parents=True, exist_ok=True)
        return [left for folder, _, names in os.walk(self._folder) if (left := self._left(Path(folder), names))]

    def write(self, prefix: str, files: Sequence[tuple[str, Sequence[bytes]]], entry: bytes, base: bytes) -> Written:
        """All files, then the journal's line: a line never speaks of a file that is not there."""
        result = Written()
        written: list[tuple[str, str]] = []
        try:
            for name, chunks in files:
                self._number += 1
                tmp = f"{self._tmp}/{self._number}"
                written.append((name, tmp))
                _write_file(tmp, chunks)
        except OSError as error:
            for _, tmp in written:
                _unlink(tmp)
            return Written(error=error)
        try:
            for name, tmp in written:
                if self._move_to_store(prefix, name, tmp):
                    result.stored.append(name)
                else:
                    self._make(prefix)
                    os.replace(tmp, f"{self._folder}/{prefix}/{name}")
                    result.spooled.append(name)
            if entry:
                self._make(prefix)
                result.journal_end = self._append(prefix, entry, base)
        except OSError as error:
            # A file without its line is of no use to anybody.
            for name, tmp in written:
                _unlink(tmp)
                if name in result.stored:
                    self._drop_from_store(prefix, name)
                elif name in result.spooled:
                    self.unlink(prefix, name)
            return Written(error=error)
        return result

    def read(self, prefix: str, name: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self.path(prefix, name).read_bytes()
        return None

    def read_journal(self, prefix: str, end: int | None = None) -> bytes | None:
        """The lines up to byte `end`; None when there is no journal here."""
        try:
            with open(self.path(prefix, JOURNAL), "rb") as file:
                return file.read() if end is None else file.read(end)
        except FileNotFoundError:
            return None

    def remove(self, prefix: str, names: Sequence[str]) -> bool:
        """Remove here, and in a local store at once; True when the store has yet to be told (it is noted on disk)."""
        for name in names:
            with contextlib.suppress(OSError):
                self.path(prefix, name).unlink()
        if all([self._drop_from_store(prefix, name) for name in names]):
            return False
        with contextlib.suppress(OSError):
            self._make(prefix)
            with open(self.path(prefix, REMOVED), "a", encoding="ascii") as file:
                file.write("".join(f"{name}\n" for name in names))
        return True

    def note_removed(self, prefix: str, names: Sequence[str]) -> None:
        """What is still to be removed from the store, instead of what was noted."""
        path = self.path(prefix, REMOVED)
        with contextlib.suppress(OSError):
            if names:
                tmp = self._tmp / f"removed-{prefix.replace('/', '-')}"
                tmp.write_text("".join(f"{name}\n" for name in names), encoding="ascii")
                tmp.replace(path)
            else:
                path.unlink(missing_ok=True)

    def unlink(self, prefix: str, name: str) -> None:
        with contextlib.suppress(OSError):
            self.path(prefix, name).unlink(missing_ok=True)

    def forget(self, prefix: str) -> None:
        """The journal has no further use here; nor have empty folders."""
        self.unlink(prefix, JOURNAL)
        self._made.discard(prefix)
        self._checked.discard(prefix)
        with contextlib.suppress(OSError):
            for folder in (Path(prefix), *Path(prefix).parents):
                if folder != Path():
                    (self._folder / folder).rmdir()

    def discard(self, prefix: str) -> None:
        shutil.rmtree(self._folder / prefix, ignore_errors=True)
        self.forget(prefix)

    def _move_to_store(self, prefix: str, name: str, tmp: str) -> bool:
        if self._local is None:
            return False
        try:
            self._local.place(f"{prefix}/{name}", Path(tmp))
        except OSError:
            return False
        # An older one of the same name may still wait here; it must not follow the newer one.
        if prefix in self._made:
            self.unlink(prefix, name)
        return True

    def _drop_from_store(self, prefix: str, name: str) -> bool:
        if self._local is None:
            return False
        try:
            self._local.drop(f"{prefix}/{name}")
        except OSError:
            return False
        return True

    def _make(self, prefix: str) -> None:
        if prefix not in self._made:
            (self._folder / prefix).mkdir(parents=True, exist_ok=True)
            self._made.add(prefix)

    def _append(self, prefix: str, entry: bytes, base: bytes) -> int:
        """Add a line; returns where it ends. `base` is what a journal begun on another node already says."""
        path = f"{self._folder}/{prefix}/{JOURNAL}"
        if prefix not in self._checked:
            self._repair(path, base)
            self._checked.add(prefix)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            start = os.lseek(handle, 0, os.SEEK_END)
            try:
                _write_all(handle, entry + b"\n")
            except OSError:
                os.ftruncate(handle, start)
                raise
            return start + len(entry) + 1
        finally:
            os.close(handle)

    def _repair(self, path: str, base: bytes) -> None:
        """Before the first line of this process: a line cut short by a full disk goes; a missing file begins anew."""
        if not os.path.exists(path):
            if base:
                tmp = f"{self._tmp}/journal"
                _write_file(tmp, [base])
                os.replace(tmp, path)
            return
        with open(path, "r+b") as file:
            whole = _whole_lines(file.read())
            file.truncate(whole)

    def _left(self, folder: Path, names: list[str]) -> Left | None:
        if folder in (self._folder, self._tmp) or not names:
            return None
        left = Left(folder.relative_to(self._folder).as_posix())
        found = []
        for name in names:
            try:
                status = (folder / name).stat()
                if name == JOURNAL:
                    self._repair(str(folder / name), b"")
                    left.journal = (folder / name).stat().st_size
                    left.journal_age = _age(status)
                elif name == REMOVED:
                    left.removed = (folder / name).read_text(encoding="ascii", errors="replace").splitlines()
                else:
                    found.append((status.st_mtime_ns, name, status.st_size))
            except OSError:
                continue
        left.files = [(name, size) for _, name, size in sorted(found)]
        self._made.add(left.prefix)
        return left


def _age(status: os.stat_result) -> float:
    return time.time() - status.st_mtime


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _whole_lines(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _write_file(path: str, chunks: Sequence[bytes]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        for at in range(0, len(chunks), _MOST_BUFFERS):
            group = chunks[at : at + _MOST_BUFFERS]
            wanted = sum(map(len, group))
            written = os.writev(handle, group)
            if written < wanted:
                # A disk that is nearly full takes a part; the next attempt says why.
                _write_all(handle, memoryview(b"".join(group))[written:])
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
