"""Brings what waits in the spool to the store: a bounded number at once, every prefix in turn, for ever.

A store that fails is asked again after a pause that doubles up to 30 s, by one request at a time, until it answers.
Nothing is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from storage.objects.deletions import Deletions
from storage.objects.store import ObjectStore, StoreError, content_type_of
from storage.objects.waiting import Prefix, Waiting
from storage.objects.writer import JOURNAL, SpoolFiles, WriterThread

_log = logging.getLogger(__name__)

_AT_ONCE = 12
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0


class Uploader:
    def __init__(
        self,
        store: ObjectStore,
        deletions: Deletions,
        writer: WriterThread,
        files: SpoolFiles,
        prefixes: dict[str, Prefix],
        stored: Callable[[Waiting], None],
        settled: Callable[[Prefix], None],
        deleted: Callable[[str], Awaitable[None]],
    ) -> None:
        """stored: called for every file that left the spool; settled: when a prefix may have nothing left; deleted:
        when another process deleted a prefix, to do the same here."""
        self._store = store
        self._deletions = deletions
        self._writer = writer
        self._files = files
        self._prefixes = prefixes
        self._stored = stored
        self._settled = settled
        self._deleted = deleted
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._pause_until = 0.0
        self._until = 0.0
        self.error = ""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="spool-uploader")

    async def close(self, within: float) -> None:
        """Try for up to `within` s to bring everything home; what remains is the next start's. Stops at a failure."""
        deadline = time.monotonic() + within
        for prefix in self._prefixes.values():
            prefix.closing = True
        self._pause_until = 0.0
        failures = self._failures
        self.wake()
        while not self.idle:
            left = deadline - time.monotonic()
            if left <= 0 or self._failures > failures:
                break
            await asyncio.sleep(min(0.01, left))
        tasks = [*self._under_way, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    def wake(self) -> None:
        self._wake.set()

    def notice(self, prefix: Prefix) -> None:
        """Something was added to this prefix. Cheap: most adds give nothing to do before the next moment planned."""
        if prefix.files or ((at := prefix.due_at()) is not None and at < self._until):
            self._wake.set()

    @property
    def idle(self) -> bool:
        return not self._under_way and all(prefix.idle for prefix in self._prefixes.values())

    @property
    def failing(self) -> bool:
        return self._failures > 0

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = self._dispatch()
            self._until = math.inf if pause is None else time.monotonic() + pause
            # Not wait_for, which on Python 3.11 can swallow a cancellation that comes with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _dispatch(self) -> float | None:
        """Start what may start; returns how long until the clock alone gives more to do (None: it will not)."""
        now = time.monotonic()
        if now < self._pause_until:
            return self._pause_until - now
        most = 1 if self._failures else _AT_ONCE
        started = True
        while started and len(self._under_way) < most:
            started = False
            # One file of each in turn, so that a long backlog of one does not hold up the others.
            for prefix in list(self._prefixes.values()):
                if len(self._under_way) >= most:
                    break
                name = prefix.next_file()
                if prefix.check_due(now):
                    prefix.check_active, prefix.check_wanted = True, False  # what is sent from now on asks again
                    self._begin(self._check(prefix))
                    started = True
                elif name is not None:
                    prefix.active.add(name)
                    self._begin(self._send(prefix, name, prefix.files[name].version))
                    started = True
                elif prefix.journal_due(now):
                    prefix.journal_active = True
                    self._begin(self._send_journal(prefix, prefix.journal_safe))
                    started = True
                elif prefix.removal_due(now):
                    prefix.remove_active = True
                    self._begin(self._remove(prefix, list(prefix.removing)))
                    started = True
        times = [at for prefix in self._prefixes.values() if (at := prefix.due_at()) is not None]
        return max(0.01, min(times) - now) if times and len(self._under_way) < most else None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Not the store's answer but a mistake of ours: said in full, and not repeated at once.
            _log.error("the spool's uploader failed", exc_info=error)
            self._failed(str(error))
        self.wake()

    async def _send(self, prefix: Prefix, name: str, version: int) -> None:
        try:
            path = self._files.path(prefix.name, name)
            if not await asyncio.to_thread(path.exists):
                current = prefix.files.get(name)
                if current is not None and current.version == version:
                    _log.error("%s/%s was in the spool and is gone: somebody removed the file", prefix.name, name)
                    prefix.give_up([name], b"")
                    prefix.drop(name)
                    self._stored(current)
                return
            try:
                await self._store.put_file(f"{prefix.name}/{name}", path, content_type_of(name))
            except StoreError as error:
                self._failed(str(error))
                return
            self._worked()
            prefix.want_check(time.monotonic())
            settled = prefix.sent(name, version)
            if settled is not None:
                self._stored(settled)
                self._writer.tell(lambda: self._files.unlink(prefix.name, name), lambda _: None)
            elif name in prefix.removing:
                prefix.remove_at = 0.0
        finally:
            prefix.active.discard(name)
            self._settled(prefix)

    async def _send_journal(self, prefix: Prefix, end: int) -> None:
        try:
            lines = await self._writer.ask(lambda: self._files.read_journal(prefix.name, end))
            try:
                if lines:
                    await self._store.put(f"{prefix.name}/{JOURNAL}", lines, content_type_of(JOURNAL))
            except StoreError as error:
                self._failed(str(error))
                return
            self._worked()
            prefix.want_check(time.monotonic())
            prefix.journal_went(end, time.monotonic())
        finally:
            prefix.journal_active = False
            self._settled(prefix)

    async def _remove(self, prefix: Prefix, names: list[str]) -> None:
        # One that is just being sent, or came again, is left for the next time.
        names = [name for name in names if name not in prefix.active and name not in prefix.files]
        try:
            try:
                await self._store.delete([f"{prefix.name}/{name}" for name in names])
            except StoreError as error:
                self._failed(str(error))
                return
            self._worked()
            for name in names:
                prefix.removing.pop(name, None)
            remaining = list(prefix.removing)
            self._writer.tell(lambda: self._files.note_removed(prefix.name, remaining), lambda _: None)
        finally:
            prefix.remove_active = False
            prefix.remove_at = time.monotonic() + 1.0
            self._settled(prefix)

    async def _check(self, prefix: Prefix) -> None:
        try:
            if await self._deletions.has(prefix.name):
                await self._deleted(prefix.name)
            self._worked()
        except StoreError as error:
            prefix.want_check(time.monotonic())
            self._failed(str(error))
        finally:
            prefix.check_active = False
            self._settled(prefix)

    def _failed(self, error: str) -> None:
        if time.monotonic() < self._pause_until:
            return  # one of several that were under way when the first failed
        self._failures += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._pause_until = time.monotonic() + pause
        if not self.error:
            _log.warning("the store fails, the spool keeps what is written: %s", error)
        self.error = error

    def _worked(self) -> None:
        if self._failures:
            _log.info("the store answers again")
        self._failures = 0
        self._pause_until = 0.0
        self.error = ""
