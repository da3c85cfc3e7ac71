"""Reading many sockets at a steady beat instead of one wake-up for every frame.

An encoder sends each frame by itself, so a loop that wakes for every one of them spends most of its time waking. A
Sweep asks all its sockets at once, every `interval` seconds, and reads those that have something: a frame waits at most
that long, and 40 publishers cost about as many wake-ups as two. With fewer than FEW sockets each wakes the loop by
itself, which is cheaper then.
"""

from __future__ import annotations

import asyncio
import logging
import select
import selectors
import time
from collections.abc import Sequence
from typing import Protocol

log = logging.getLogger(__name__)

FEW = 3
SLICE = 0.004
"""Seconds after which a sweep lets the loop do other things before it reads on."""


class Source(Protocol):
    def fileno(self) -> int: ...

    def on_readable(self, now: float) -> None:
        """Read what is there, without blocking. now: time.monotonic()."""
        ...


class Sweep:
    """Owns a poller and one timer; lives as long as its listener."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._poller: _Poller | None = None
        self._sources: dict[int, Source] = {}
        self._beating = False
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        self._poller = _EpollPoller() if hasattr(select, "epoll") else _SelectorPoller()

    def add(self, source: Source) -> None:
        assert self._poller is not None
        fd = source.fileno()
        self._sources[fd] = source
        if self._beating:
            self._poller.add(fd)
        else:
            asyncio.get_running_loop().add_reader(fd, self._wake, source)
            if len(self._sources) >= FEW:
                self._change(beating=True)

    def remove(self, source: Source) -> None:
        """Before the socket is closed."""
        fd = source.fileno()
        if self._sources.pop(fd, None) is None or self._poller is None:
            return
        if not self._beating:
            asyncio.get_running_loop().remove_reader(fd)
            return
        self._poller.remove(fd)
        if len(self._sources) < FEW - 1:
            self._change(beating=False)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        if not self._beating:
            for fd in self._sources:
                asyncio.get_running_loop().remove_reader(fd)
        self._sources.clear()

    def describe(self) -> dict[str, object]:
        return {"interval": self._interval, "sources": len(self._sources)}

    def _change(self, *, beating: bool) -> None:
        """From waking for each to beating for all, or back."""
        loop = asyncio.get_running_loop()
        assert self._poller is not None
        self._beating = beating
        for fd, source in self._sources.items():
            if beating:
                loop.remove_reader(fd)
                self._poller.add(fd)
            else:
                self._poller.remove(fd)
                loop.add_reader(fd, self._wake, source)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._interval, self._beat) if beating else None

    def _wake(self, source: Source) -> None:
        self._give(source, time.monotonic())

    def _give(self, source: Source, now: float) -> None:
        try:
            source.on_readable(now)
        except Exception:
            log.exception("a publisher's connection failed and was taken off")
            self.remove(source)

    def _beat(self) -> None:
        if self._poller is not None and self._beating:
            self._read(self._poller.ready(), 0)

    def _read(self, ready: Sequence[int], at: int) -> None:
        self._timer = None  # we may be the rest of a sweep that gave way: then it is the handle that called us
        sources = self._sources
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        stop = now + SLICE
        for index in range(at, len(ready)):
            source = sources.get(ready[index])
            if source is None:
                continue
            self._give(source, now)
            if not self._beating or self._timer is not None:  # it stopped, or began anew
                return
            if time.monotonic() > stop and index + 1 < len(ready):
                self._timer = loop.call_soon(self._read, ready, index + 1)
                return
        self._timer = loop.call_later(self._interval, self._beat)


class _Poller(Protocol):
    def add(self, fd: int) -> None: ...

    def remove(self, fd: int) -> None: ...

    def ready(self) -> Sequence[int]: ...

    def close(self) -> None: ...


class _EpollPoller:
    def __init__(self) -> None:
        self._epoll = select.epoll()

    def add(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def ready(self) -> Sequence[int]:
        return [fd for fd, _ in self._epoll.poll(0)]

    def close(self) -> None:
        self._epoll.close()


class _SelectorPoller:
    """Where there is no epoll: kqueue, as the platform's default."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, fd: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def remove(self, fd: int) -> None:
        self._selector.unregister(fd)

    def ready(self) -> Sequence[int]:
        return [key.fd for key, _ in self._selector.select(0)]

    def close(self) -> None:
        self._selector.close()
