"""Reading many sockets at a steady beat instead of one wake-up for every frame.

An encoder sends each frame by itself, so a loop that wakes for every one of them spends most of its time waking. A
Sweep asks all its sockets at once, every `interval` seconds, and reads those that have something: a frame waits at most
that long, and 40 publishers cost about as many wake-ups as one. It beats only while it has sockets.
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
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        self._poller = _EpollPoller() if hasattr(select, "epoll") else _SelectorPoller()

    def add(self, source: Source) -> None:
        assert self._poller is not None
        fd = source.fileno()
        self._poller.add(fd)
        self._sources[fd] = source
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._beat)

    def remove(self, source: Source) -> None:
        """Before the socket is closed."""
        fd = source.fileno()
        if self._sources.pop(fd, None) is not None and self._poller is not None:
            self._poller.remove(fd)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        self._sources.clear()

    def describe(self) -> dict[str, object]:
        return {"interval": self._interval, "sources": len(self._sources)}

    def _beat(self) -> None:
        self._timer = None
        if self._poller is None or not self._sources:
            return
        self._read(self._poller.ready(), 0)

    def _read(self, ready: Sequence[int], at: int) -> None:
        sources = self._sources
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        stop = now + SLICE
        for index in range(at, len(ready)):
            source = sources.get(ready[index])
            if source is None:
                continue
            try:
                source.on_readable(now)
            except Exception:
                log.exception("a publisher's connection failed and was taken off")
                self.remove(source)
            if time.monotonic() > stop and index + 1 < len(ready):
                self._timer = loop.call_soon(self._read, ready, index + 1)
                return
        self._timer = loop.call_later(self._interval, self._beat) if sources else None


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
