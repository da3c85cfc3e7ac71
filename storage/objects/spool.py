"""The spool: what is written here is safe from a kill -9 at once and reaches the store when the store can.

Owns a folder on this machine's disk, the thread that writes to it, the uploads from it, and a bounded cache of objects
read back. Ends with `close`; what the store has not got then, or after a crash, waits in the folder for the next
`start`. With a store on the same filesystem a file is renamed straight into it.

A file is looked for in this order: on its way to the disk, in the spool, in the store; it only ever moves that way, so
a reader never falls between.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from storage.objects.cache import ByteCache
from storage.objects.deletions import Deletions
from storage.objects.shelf import SpoolShelf
from storage.objects.store import LocalStore, ObjectStore, StoreError, check_key
from storage.objects.uploader import Uploader
from storage.objects.waiting import JOURNAL_SECONDS, REMOVE_SECONDS, GivenUp, Prefix, Waiting, Writing
from storage.objects.writer import JOURNAL, Left, SpoolFiles, WriterThread, Written

__all__ = ["Spool", "SpoolShelf"]

_log = logging.getLogger(__name__)

_MOST_WRITING = 256 * 1024 * 1024
"""Bytes in memory for a disk that is slow; beyond it files are given up."""
_KEEP_JOURNAL_SECONDS = 3600.0
"""A journal that nobody closed stays this long after its last line, so that its broadcast can go on here."""
_SAY_SECONDS = 10.0


class Spool:
    """max_bytes: most the spool may hold for a store that is away; cache_bytes: memory for objects read back.
    journal_seconds: a journal that grows goes to the store at most this often."""

    def __init__(
        self,
        folder: Path,
        store: ObjectStore,
        *,
        max_bytes: int,
        cache_bytes: int,
        journal_seconds: float = JOURNAL_SECONDS,
    ) -> None:
        self._folder = folder
        self._store = store
        self._max_bytes = max_bytes
        self._journal_seconds = journal_seconds
        self._cache = ByteCache(cache_bytes)
        self._files = SpoolFiles(folder, store if isinstance(store, LocalStore) else None)
        self._writer = WriterThread()
        self._prefixes: dict[str, Prefix] = {}
        self._deletions = Deletions(store)
        self._uploader = Uploader(
            store,
            self._deletions,
            self._writer,
            self._files,
            self._prefixes,
            self._stored,
            self._settled,
            self._deleted_elsewhere,
        )
        self._reads: dict[str, asyncio.Task[bytes | None]] = {}
        self._version = 0
        self._writing_bytes = 0
        self._waiting_bytes = 0
        self._lost = 0
        self._disk_error = ""
        self._said_at = 0.0
        self._started = False

    async def start(self, given_up: Callable[[Collection[str]], Awaitable[Collection[str]]] | None = None) -> None:
        """Take over what an earlier process left and go on bringing it to the store. Raises OSError.

        given_up: says which of the prefixes left here another node has written to since; the store's files and journal
        are newer there, so what is left here is dropped.
        """
        self._writer.start()
        self._started = True
        found = await self._writer.ask(self._files.prepare)
        foreign = set(await given_up([left.prefix for left in found])) if given_up is not None and found else set()
        for left in found:
            if left.prefix in foreign:
                _log.warning("%s is written elsewhere now: %d files here are dropped", left.prefix, len(left.files))
                await self._writer.ask(partial(self._files.discard, left.prefix))
            else:
                self._take_over(left)
        if self._waiting_bytes:
            _log.info("%d bytes from before wait in the spool", self._waiting_bytes)
        self._uploader.start()

    async def close(self, within: float = 5.0) -> None:
        """Write everything to the spool, try for `within` s to bring it to the store, and stop."""
        if not self._started:
            return
        await self.flush()
        await self._uploader.close(within)
        self._started = False
        await self._writer.close()
        for task in self._reads.values():
            task.cancel()
        await asyncio.gather(*self._reads.values(), return_exceptions=True)
        if self.pending_bytes:
            _log.warning("%d bytes wait in the spool for the next start", self.pending_bytes)

    def describe(self) -> dict[str, object]:
        """pending_bytes: not in the store yet; lost: files given up; error: what the disk or the store said last."""
        return {
            "store": self._store.describe(),
            "pending_bytes": self.pending_bytes,
            "max_bytes": self._max_bytes,
            "files": sum(len(prefix.files) for prefix in self._prefixes.values()),
            "cache_bytes": self._cache.bytes,
            "lost": self._lost,
            "failing": self._uploader.failing,
            "error": self._disk_error or self._uploader.error,
        }

    @property
    def pending_bytes(self) -> int:
        """Bytes that the store has not got yet."""
        return self._writing_bytes + self._waiting_bytes

    @property
    def failing(self) -> bool:
        """The store refused or did not answer the last time it was given something."""
        return self._uploader.failing

    @property
    def lost(self) -> int:
        """Files given up since the start, because the spool or the disk was full."""
        return self._lost

    def disk_free(self) -> int:
        """Bytes free where the spool lies."""
        folder = self._folder
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def shelf(self, prefix: str) -> SpoolShelf:
        """The files under `prefix` (without a slash at its end). Cheap; several for one prefix are the same shelf."""
        return SpoolShelf(self, check_key(prefix))

    async def put(self, key: str, data: bytes) -> None:
        """Store one object, over whatever the key had; returns when it is in the spool. Raises StoreError when it is
        full."""
        prefix, _, name = check_key(key).rpartition("/")
        before = self.lost_of(prefix)
        self.add(prefix, {name: (data,)}, b"", b"")
        await self.flush()
        if self.lost_of(prefix) > before:
            raise StoreError(f"{key} was not stored: {self._disk_error or 'the spool is full'}")

    async def flush(self) -> None:
        """Wait until everything handed over so far is on disk."""
        await self._writer.ask(lambda: None)

    async def settled(self) -> None:
        """Wait until the store has everything that was handed over so far, journals too."""
        await self.flush()
        while not self._uploader.idle:
            for prefix in self._prefixes.values():
                prefix.journal_at = prefix.remove_at = 0.0
                prefix.check_at = 0.0 if prefix.sent_all else prefix.check_at
            self._uploader.wake()
            await asyncio.sleep(0.01)

    async def read(self, key: str) -> bytes | None:
        """An object's bytes; None when there is none. Raises StoreError when only the store knows and is away."""
        prefix, _, name = key.rpartition("/")
        held = self._prefixes.get(prefix)
        if held is not None:
            writing = held.writing.get(name)
            if writing is not None:
                return b"".join(writing.chunks)
            if name in held.removing:
                return None
        data = self._cache.get(key)
        if data is not None:
            return data
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(self._read(key, prefix, name))
            task.add_done_callback(partial(self._read_done, key))
        # One reader that leaves does not take the others' read away.
        return await asyncio.shield(task)

    async def stored(self, prefix: str, within: float) -> bool:
        """Wait until the store has all of this prefix, its journal too; False when that takes longer than `within` s
        or the store is away."""
        await self.flush()
        deadline = time.monotonic() + within
        while (held := self._prefixes.get(prefix)) is not None and not held.idle:
            if self._uploader.failing or time.monotonic() > deadline:
                return False
            held.journal_at = 0.0
            held.check_at = 0.0 if held.sent_all else held.check_at
            self._uploader.wake()
            await asyncio.sleep(0.01)
        return True

    async def delete_prefix(self, prefix: str) -> int:
        """Everything under the prefix goes for good, here, in the store and in the spools of other nodes; how many
        objects the store had. Raises StoreError, after which it can be called again."""
        await self.abandon(prefix)
        return await self._deletions.delete_prefix(prefix)

    async def abandon(self, prefix: str) -> None:
        """Forget what is here of the prefix, without a word to the store: another node writes it from now on."""
        await self._let_go(check_key(prefix))
        await self._discard(prefix)

    async def _let_go(self, prefix: str) -> None:
        held = self._prefixes.pop(prefix, None)
        if held is not None:
            for waiting in held.files.values():
                self._waiting_bytes -= waiting.size
            held.files.clear()
            held.removing.clear()
            held.has_journal = False
            # What is being written or sent just now would come after the deletion.
            await self.flush()
            while held.busy:
                await asyncio.sleep(0.01)

    async def _discard(self, prefix: str) -> None:
        await self._writer.ask(lambda: self._files.discard(prefix))
        self._cache.drop_prefix(prefix + "/")

    # what a shelf does

    def add(self, prefix: str, files: Mapping[str, Sequence[bytes]], entry: bytes, base: bytes) -> None:
        """Hand files and a line of the journal to the writing thread. Never waits, never raises."""
        held = self._held(prefix)
        sizes = {name: sum(map(len, chunks)) for name, chunks in files.items()}
        total = sum(sizes.values())
        if (
            not self._started
            or self.pending_bytes + total > self._max_bytes
            or self._writing_bytes + total > _MOST_WRITING
        ):
            self._give_up(held, files, entry, "the spool is full" if self._started else "the spool is closed")
            return
        self._version += 1
        version = self._version
        for name, chunks in files.items():
            held.writing[name] = Writing(version, chunks, sizes[name])
            self._changed(f"{prefix}/{name}")
            if held.removing.pop(name, 0) is None:
                remaining = list(held.removing)
                self._writer.tell(partial(self._files.note_removed, prefix, remaining), lambda _: None)
        self._writing_bytes += total
        self._writer.tell(
            partial(self._files.write, prefix, list(files.items()), entry, base),
            partial(self._written, held, version, sizes, entry),
        )

    def remove(self, prefix: str, names: Sequence[str]) -> None:
        if not self._started or not names:
            return
        held = self._held(prefix)
        for name in names:
            waiting = held.drop(name)
            if waiting is not None:
                self._waiting_bytes -= waiting.size
            self._changed(f"{prefix}/{name}")
            if not held.removing:
                held.remove_at = time.monotonic() + REMOVE_SECONDS
            held.removing[name] = None
        self._writer.tell(partial(self._files.remove, prefix, list(names)), partial(self._removed, held, names))

    async def journal(self, prefix: str) -> tuple[bytes, bool]:
        """All lines so far, and whether they are here (else they came from the store)."""
        here = await self._writer.ask(lambda: self._files.read_journal(prefix))
        if here is not None:
            return here, True
        return await self._store.get(f"{prefix}/{JOURNAL}") or b"", False

    def lost_of(self, prefix: str) -> int:
        held = self._prefixes.get(prefix)
        return held.lost if held is not None else 0

    def given_up(self, prefix: str) -> list[GivenUp]:
        """What was lost of the prefix since this was last asked."""
        held = self._prefixes.get(prefix)
        if held is None or not held.given_up:
            return []
        given_up = list(held.given_up)
        held.given_up.clear()
        return given_up

    def send_journal(self, prefix: str, *, closing: bool) -> None:
        """Send the journal without waiting for its time; closing: then it is not kept here any longer."""
        held = self._prefixes.get(prefix)
        if held is not None:
            held.journal_at = 0.0
            held.closing = held.closing or closing
            self._settled(held)
            self._uploader.wake()

    # what the thread and the uploader report

    def _written(self, held: Prefix, version: int, sizes: Mapping[str, int], entry: bytes, written: Written) -> None:
        self._writing_bytes -= sum(sizes.values())
        for name in sizes:
            if (writing := held.writing.get(name)) is not None and writing.version == version:
                del held.writing[name]
        if written.error is not None:
            self._disk_error = f"{self._folder}: {written.error.strerror or written.error}"
            self._give_up(held, sizes, entry, self._disk_error)
            return
        self._disk_error = ""
        line = None
        if written.journal_end is not None:
            held.has_journal = True
            line = held.add_line(written.journal_end, len(written.spooled))
        for name in written.spooled:
            # One of this name that waited is no more: the newer one goes to the end of the row.
            older = held.drop(name)
            if older is not None:
                self._waiting_bytes -= older.size
            if self._prefixes.get(held.name) is held:
                held.files[name] = Waiting(sizes[name], version, line)
                self._waiting_bytes += sizes[name]
        for name in written.stored:
            older = held.drop(name)
            if older is not None:
                self._waiting_bytes -= older.size
        if written.spooled or written.stored:
            held.want_check(time.monotonic())
        self._settled(held)
        self._uploader.notice(held)

    def _removed(self, held: Prefix, names: Sequence[str], store_too: bool) -> None:
        if not store_too:
            for name in names:
                held.removing.pop(name, None)
        for name in names:
            # Removed while it was on its way to the disk: the thread wrote it before it removed it.
            waiting = held.drop(name)
            if waiting is not None:
                self._waiting_bytes -= waiting.size
            self._changed(f"{held.name}/{name}")
        self._settled(held)
        self._uploader.notice(held)

    def _stored(self, waiting: Waiting) -> None:
        self._waiting_bytes -= waiting.size

    async def _deleted_elsewhere(self, prefix: str) -> None:
        """Another process deleted it: what is here goes, and what was sent after that. Raises StoreError."""
        _log.info("%s was deleted elsewhere: what is here of it is dropped", prefix)
        await self._let_go(prefix)
        try:
            await self._store.delete_prefix(prefix + "/")
        except StoreError:
            self._held(prefix).want_check(time.monotonic())
            raise
        await self._discard(prefix)  # last: after a kill in between the next start finds it and asks again

    def _settled(self, held: Prefix) -> None:
        """Let go of a prefix that has nothing left to do."""
        if held.idle and (held.closing or not held.has_journal) and self._prefixes.get(held.name) is held:
            if not held.closing and held.lost:
                return  # somebody will ask for that number
            del self._prefixes[held.name]
            if held.has_journal and self._started:
                self._writer.tell(partial(self._files.forget, held.name), lambda _: None)

    # inside

    def _held(self, prefix: str) -> Prefix:
        held = self._prefixes.get(prefix)
        if held is None:
            held = self._prefixes[prefix] = Prefix(prefix, journal_seconds=self._journal_seconds)
        return held

    def _take_over(self, left: Left) -> None:
        held = self._held(left.prefix)
        for name, size in left.files:
            self._version += 1
            held.files[name] = Waiting(size, self._version)
            self._waiting_bytes += size
        held.removing = dict.fromkeys(left.removed)
        if left.journal is not None:
            held.has_journal = True
            # Which of its files the store has is not known: they count as one line with all of them.
            line = held.add_line(left.journal, len(held.files))
            for waiting in held.files.values():
                waiting.line = line
            held.closing = left.journal_age > _KEEP_JOURNAL_SECONDS
        held.check_wanted = True  # now: all of it may have been deleted meanwhile

    def _give_up(self, held: Prefix, names: Iterable[str], entry: bytes, why: str) -> None:
        self._lost += held.give_up(names, entry)
        if time.monotonic() > self._said_at + _SAY_SECONDS:
            self._said_at = time.monotonic()
            _log.error("%d files given up so far, the latest under %s: %s", self._lost, held.name, why)

    def _changed(self, key: str) -> None:
        """What was read of this key before is not what it has now."""
        self._cache.drop(key)
        self._reads.pop(key, None)

    async def _read(self, key: str, prefix: str, name: str) -> bytes | None:
        held = self._prefixes.get(prefix)
        data = None
        if held is not None and name in held.files:
            data = await asyncio.to_thread(self._files.read, prefix, name)
        if data is None:
            data = await self._store.get(key)
        return data

    def _read_done(self, key: str, task: asyncio.Task[bytes | None]) -> None:
        current = self._reads.get(key) is task
        if current:
            del self._reads[key]
        if task.cancelled() or task.exception() is not None:
            return
        data = task.result()
        if current and data is not None:
            self._cache.put(key, data)
