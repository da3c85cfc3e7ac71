"""The HTTP connections of one process: how many there may be, and an end for those whose client has stopped reading,
or does not come to the end of a request's head.

Connections belong to the aiohttp server that owns this; each is here from its first byte to the socket's end. The watch
is one task: it lives from `start` to `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import resource
import socket
import struct
import sys
import termios
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

LOOKS = 4  # times within the limit that a connection is looked at
AT_ONCE = 500  # connections looked at without letting the loop go
_SO_NWRITE = 0x1024  # macOS: bytes that wait in the socket

_log = logging.getLogger("http")


@dataclass(slots=True)
class _Stall:
    unread: int
    since: float


class Connection(Hashable, Protocol):
    head_since: float
    """When the request's head began that is not complete, by the loop's clock; 0: none is awaited."""


class Connections:
    """`most`: at once. `write_timeout`: a client that takes nothing of what waits for it this long is closed, s.
    `header_timeout`: so is one whose request's head takes longer than this, s."""

    def __init__(self, *, most: int, write_timeout: float, header_timeout: float) -> None:
        self.most = most
        self._timeout = write_timeout
        self._header_timeout = header_timeout
        self._open: dict[Connection, asyncio.Transport] = {}
        self._stalls: dict[Connection, _Stall] = {}
        self._watch: asyncio.Task[None] | None = None
        self.refused = 0
        self.stalled = 0
        self.headless = 0

    def start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    def __len__(self) -> int:
        return len(self._open)

    def describe(self) -> dict[str, object]:
        return {"open": len(self._open), "refused": self.refused, "stalled": self.stalled, "headless": self.headless}

    def add(self, connection: Connection, transport: asyncio.Transport) -> bool:
        """False when there are too many already; it is kept all the same, until its socket has closed."""
        self._open[connection] = transport
        if len(self._open) <= self.most:
            return True
        self.refused += 1
        return False

    def remove(self, connection: Connection) -> None:
        self._open.pop(connection, None)
        self._stalls.pop(connection, None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._timeout, self._header_timeout) / LOOKS)
            for number, (connection, transport) in enumerate(list(self._open.items()), 1):
                self._look(connection, transport, loop.time)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look(self, connection: Connection, transport: asyncio.Transport, clock: Callable[[], float]) -> None:
        if connection.head_since and clock() - connection.head_since >= self._header_timeout:
            self.headless += 1
            self._stalls.pop(connection, None)
            transport.abort()
            return
        if not transport.get_write_buffer_size():
            # nothing, or so little that the system has taken it: that goes with the connection when it is idle
            self._stalls.pop(connection, None)
            return
        unread, stall = _unread(transport), self._stalls.get(connection)
        if stall is None or stall.unread != unread:
            self._stalls[connection] = _Stall(unread, clock())
        elif clock() - stall.since >= self._timeout:
            self.stalled += 1
            self._stalls.pop(connection)
            _log.info("a client that reads nothing is closed; %d bytes waited for it", unread)
            transport.abort()


def _unread(transport: asyncio.Transport) -> int:
    """Bytes on their way that the client's side has not taken. Ours alone would not do: the system asks for more only
    when a good part of what it holds has gone, and a slow reader would look like none."""
    return transport.get_write_buffer_size() + _held_by_system(transport.get_extra_info("socket"))


def _held_by_system(sock: socket.socket | None) -> int:
    if sock is None:
        return 0
    try:
        if sys.platform == "darwin":
            return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:  # it is just being closed
        return 0
    return int(struct.unpack("i", held)[0])


def room_for(wanted: int, others: int) -> int:
    """How many connections there may be when the process needs `others` file descriptors besides: `wanted`, or what
    the system grants, of which half is kept for the others at most. The grant is raised as far as it may be."""
    granted, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if granted == resource.RLIM_INFINITY:
        return wanted
    if granted < wanted + others:
        asked = wanted + others if most == resource.RLIM_INFINITY else min(wanted + others, most)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(asked, granted), most))
            granted = max(asked, granted)
    room = min(wanted, max(granted - others, granted // 2))
    if room < wanted:
        _log.warning("%d HTTP connections at once instead of %d: the system grants %d files", room, wanted, granted)
    return room
