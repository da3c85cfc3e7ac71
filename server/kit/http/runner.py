"""How an application is served: time-outs, limits, and bytes that are no HTTP answered as a problem.

aiohttp answers those itself, before any handler, in plain text and with a logged traceback for each: whoever can
connect could fill the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.kit.http.connections import Connections
from server.kit.http.headers import api_headers
from server.kit.http.requestid import HEADER, RequestIds
from server.kit.problems import CONTENT_TYPE, BadRequest, Unavailable, render

KEEPALIVE_TIMEOUT = 75.0  # s; between two requests
WRITE_TIMEOUT = 30.0
HEADER_TIMEOUT = 20.0
MOST_CONNECTIONS = 45_000

_log = logging.getLogger("http")
_headers = api_headers(CONTENT_TYPE)
_ids = RequestIds()


class _Connection(web.RequestHandler):
    __slots__ = ("_connections", "head_since")

    def __init__(self, manager: web.Server, connections: Connections, **options: Any) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self.head_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.head_since = self._loop.time()  # who connects has something to ask
        wire = cast(asyncio.Transport, transport)
        if not self._connections.add(self, wire):
            wire.write(_full())
            self.force_close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if self._request_count and (waiter is None or waiter.done()):
            self.head_since = 0.0  # a request is being answered; what comes is its body or the next one's head
        elif not self.head_since:
            self.head_since = self._loop.time()  # the start of a head: a whole one would have woken the handler

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != 400 or not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        _log.debug("%s sent what is no HTTP: %s", request.remote, type(exc).__name__)
        request_id = _ids.of(request)
        problem = BadRequest(f"This is not HTTP as of RFC 9112 ({type(exc).__name__}).")
        response = web.Response(body=render(problem, request_id), status=400, headers=_headers.copy())
        response.headers[HEADER] = request_id
        response.force_close()
        return response


def _full() -> bytes:
    request_id = _ids.new()
    body = render(Unavailable("This server has as many connections as it may have; try again."), request_id)
    head = [
        "HTTP/1.1 503 Service Unavailable",
        *(f"{name}: {value}" for name, value in _headers.items()),
        f"{HEADER}: {request_id}",
        "Retry-After: 1",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class _Server(web.Server):
    def __init__(self, plain: web.Server, connections: Connections, options: dict[str, Any]) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory, **options)
        self._options = options
        self._connections_of_runner = connections

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._connections_of_runner, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """An AppRunner without aiohttp's access log; the kit has its own. `connections`: those that it serves."""

    __slots__ = ("_options", "connections")

    def __init__(self, app: web.Application, connections: Connections, *, shutdown_timeout: float) -> None:
        self.connections = connections
        self._options: dict[str, Any] = {"access_log": None, "keepalive_timeout": KEEPALIVE_TIMEOUT}
        super().__init__(app, handle_signals=False, shutdown_timeout=shutdown_timeout, **self._options)

    async def _make_server(self) -> web.Server:
        self.connections.start()
        return _Server(await super()._make_server(), self.connections, self._options)

    async def cleanup(self) -> None:
        await super().cleanup()
        await self.connections.close()


def runner(
    app: web.Application,
    *,
    shutdown_timeout: float = 60.0,
    write_timeout: float = WRITE_TIMEOUT,
    header_timeout: float = HEADER_TIMEOUT,
    max_connections: int = MOST_CONNECTIONS,
) -> Runner:
    """What serves an application: `await setup()`, then sites as with aiohttp's own.

    shutdown_timeout: the longest that `cleanup` waits for requests under way, s. write_timeout: a client that takes
    nothing of its answer this long is closed, s. header_timeout: so is one whose request's head is not complete this
    long after it connected or began it, s. max_connections: at once; one more is answered 503 and closed.
    """
    connections = Connections(most=max_connections, write_timeout=write_timeout, header_timeout=header_timeout)
    return Runner(app, connections, shutdown_timeout=shutdown_timeout)
