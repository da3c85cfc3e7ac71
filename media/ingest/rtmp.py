"""The RTMP and RTMPS listeners: accepting, limits, and who is read when.

RtmpServer owns the listening sockets, every link, the tasks that ask the gate or shake hands over TLS, and one buffer
that all links read into. It lives as long as the process; after `stop_accepting` it serves the publishers it has.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from media.households import household
from media.ingest.gate import Gate, PublishRequest, Refused
from media.ingest.rtmp_link import RtmpLink
from media.ingest.sweep import Sweep
from media.protocols.rtmp.connection import RtmpConnection

log = logging.getLogger(__name__)

BUFFER = 64 * 1024
BACKLOG = 256
ACCEPTS = 32
CHECK_SECONDS = 1.0
RETRY_ACCEPT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmpOptions:
    """Named like the settings. A port of 0 takes any free one; rtmps_port counts only with a `tls` context."""

    rtmp_host: str = "0.0.0.0"
    rtmp_port: int = 1935
    rtmps_port: int = 1936
    tls: ssl.SSLContext | None = None
    rtmp_handshake_timeout: float = 10.0
    rtmp_idle_timeout: float = 30.0
    rtmp_max_message: int = 8 * 1024 * 1024
    rtmp_max_buffered: int = 16 * 1024 * 1024
    rtmp_connections_per_address: int = 64
    rtmp_max_connections: int = 2000
    rtmp_read_coalesce_ms: int = 10
    ingest_max_bitrate: float = 60.0
    ingest_max_ahead: float = 30.0


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """For RtmpOptions.tls, from PEM files. Reads them: not for the loop. Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class RtmpServer:
    def __init__(self, gate: Gate, options: RtmpOptions) -> None:
        self.gate = gate
        self.handshake_timeout = options.rtmp_handshake_timeout
        self.idle_timeout = options.rtmp_idle_timeout
        self.max_bitrate = options.ingest_max_bitrate
        self.max_ahead = options.ingest_max_ahead
        self.buffer = memoryview(bytearray(BUFFER))
        self.stopping = False
        self.port = 0
        self.tls_port = 0
        self._options = options
        self._listeners: list[socket.socket] = []
        self._links: set[RtmpLink] = set()
        self._watched: dict[RtmpLink, bool] = {}
        self._addresses: Counter[str] = Counter()
        self._shaking = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep = Sweep(options.rtmp_read_coalesce_ms / 1000)
        self._checks: asyncio.TimerHandle | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Raises OSError when a port cannot be had."""
        self._loop = asyncio.get_running_loop()
        options = self._options
        self._sweep.start()
        try:
            self.port = await self._listen(options.rtmp_port, secure=False)
            if options.tls is not None:
                self._pool = ThreadPoolExecutor(2, thread_name_prefix="rtmps-handshake")
                self.tls_port = await self._listen(options.rtmps_port, secure=True)
        except OSError:
            self.stop_accepting()
            self._sweep.close()
            raise
        self._checks = self._loop.call_later(CHECK_SECONDS, self._check)

    def stop_accepting(self) -> None:
        """No new publishers; those who are here go on until `close`."""
        self.stopping = True
        for listener in self._listeners:
            self._running.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for link in list(self._links):
            if not link.publishing:
                link.abort("the server is stopping")

    async def close(self) -> None:
        """Hang up on everybody, without a word: encoders take that as a reason to come back."""
        self.stop_accepting()
        for link in list(self._links):
            link.abort("the server is stopping")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._links):
            link.abort("the server is stopping")
        self._sweep.close()
        if self._checks is not None:
            self._checks.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> dict[str, object]:
        return {
            "port": self.port,
            "tls_port": self.tls_port,
            "connections": len(self._links),
            "publishers": sum(link.publishing for link in self._links),
            "stopping": self.stopping,
            "links": [link.describe() for link in self._links],
        }

    @property
    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "not started"
        return self._loop

    # accepting

    async def _listen(self, port: int, *, secure: bool) -> int:
        found = await self._running.getaddrinfo(
            self._options.rtmp_host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, where = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listeners.append(listener)
        self._running.add_reader(listener, self._accept, listener, secure)
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, secure: bool) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, where = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                log.error("cannot accept publishers: %s", error.strerror)
                self._running.remove_reader(listener)
                self._running.call_later(RETRY_ACCEPT, self._accept_again, listener, secure)
                return
            self._welcome(sock, str(where[0]), secure)

    def _accept_again(self, listener: socket.socket, secure: bool) -> None:
        if listener in self._listeners:
            self._running.add_reader(listener, self._accept, listener, secure)

    def _welcome(self, sock: socket.socket, address: str, secure: bool) -> None:
        options = self._options
        reason = ""
        if self._shaking + len(self._links) >= options.rtmp_max_connections:
            reason = f"more than {options.rtmp_max_connections} RTMP connections"
        elif self._addresses[household(address)] >= options.rtmp_connections_per_address:
            reason = f"more than {options.rtmp_connections_per_address} RTMP connections from one address"
        if reason:
            sock.close()
            log.warning("rtmp %s: closed: %s", address, reason)
            self.gate.turned_away(None, address, reason)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._addresses[household(address)] += 1
        if secure:
            self._shaking += 1
            self._spawn(self._shake_hands(sock, address))
        else:
            self._open(sock, address)

    def _open(self, sock: socket.socket, address: str) -> None:
        options = self._options
        connection = RtmpConnection(max_message=options.rtmp_max_message, max_buffered=options.rtmp_max_buffered)
        link = RtmpLink(self, sock, address, connection)
        self._links.add(link)
        link.start()

    async def _shake_hands(self, sock: socket.socket, address: str) -> None:
        """TLS: its arithmetic runs in a thread, its waiting here."""
        assert self._options.tls is not None
        wrapped: socket.socket | None = None
        try:
            secured = self._options.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            wrapped = secured
            async with asyncio.timeout(self.handshake_timeout):
                while True:
                    try:
                        await self._running.run_in_executor(self._pool, secured.do_handshake)
                        break
                    except ssl.SSLWantReadError:
                        await self._ready(secured, write=False)
                    except ssl.SSLWantWriteError:
                        await self._ready(secured, write=True)
        except (TimeoutError, OSError, ValueError) as error:
            self._forget(address)
            (wrapped or sock).close()
            why = getattr(error, "reason", None) or ("took too long" if isinstance(error, TimeoutError) else str(error))
            reason = f"the TLS handshake failed: {why}"
            log.warning("rtmps %s: closed: %s", address, reason)
            self.gate.turned_away(None, address, reason)
        except asyncio.CancelledError:
            self._forget(address)
            (wrapped or sock).close()
            raise
        else:
            self._open(secured, address)
        finally:
            self._shaking -= 1

    async def _ready(self, sock: socket.socket, *, write: bool) -> None:
        future: asyncio.Future[None] = self._running.create_future()
        add, remove = (
            (self._running.add_writer, self._running.remove_writer)
            if write
            else (self._running.add_reader, self._running.remove_reader)
        )

        def ready() -> None:
            if not future.done():
                future.set_result(None)

        add(sock, ready)
        try:
            await future
        finally:
            remove(sock)

    # what links ask for

    def watch(self, link: RtmpLink, *, steady: bool) -> None:
        steady = steady and self._options.rtmp_read_coalesce_ms > 0
        if self._watched.get(link) is steady:
            return
        self.unwatch(link)
        self._watched[link] = steady
        if steady:
            self._sweep.add(link)
        else:
            self._running.add_reader(link.fileno(), self._on_readable, link)

    def unwatch(self, link: RtmpLink) -> None:
        steady = self._watched.pop(link, None)
        if steady:
            self._sweep.remove(link)
        elif steady is not None:
            self._running.remove_reader(link.fileno())

    def watch_writable(self, link: RtmpLink, on: bool) -> None:
        if on:
            self._running.add_writer(link.fileno(), link.on_writable)
        elif link.fileno() >= 0:
            self._running.remove_writer(link.fileno())

    def soon(self, link: RtmpLink) -> None:
        self._running.call_soon(link.on_more)

    def admit(self, link: RtmpLink, request: PublishRequest) -> None:
        self._spawn(self._admit(link, request))

    def gone(self, link: RtmpLink) -> None:
        if link in self._links:
            self._links.discard(link)
            self._forget(link.address)

    def _on_readable(self, link: RtmpLink) -> None:
        link.on_readable(time.monotonic())

    async def _admit(self, link: RtmpLink, request: PublishRequest) -> None:
        try:
            publisher = await self.gate.admit(request)
        except Refused as refused:
            link.on_refused(request, refused)
        except Exception:
            log.exception("rtmp %s: the gate failed", request.address)
            link.on_refused(request, Refused("failed", "The server cannot take the stream right now: try again."))
        else:
            link.on_admitted(request, publisher)

    # keeping house

    def _forget(self, address: str) -> None:
        name = household(address)
        self._addresses[name] -= 1
        if self._addresses[name] <= 0:
            del self._addresses[name]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._running.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(_ended, self._tasks))

    def _check(self) -> None:
        now = time.monotonic()
        for link in list(self._links):
            link.check(now)
        self._checks = self._running.call_later(CHECK_SECONDS, self._check)


def _ended(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the RTMP server failed", exc_info=error)
