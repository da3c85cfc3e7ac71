"""How an application is served: time-outs, and bytes that are no HTTP answered as a problem.

aiohttp answers those itself, before any handler, in plain text and with a logged traceback for each: whoever can
connect could fill the log.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.kit.http.headers import api_headers
from server.kit.http.requestid import HEADER, RequestIds
from server.kit.problems import CONTENT_TYPE, BadRequest, render

KEEPALIVE_TIMEOUT = 75.0  # s; aiohttp also closes with it a connection whose first request's head does not come

_log = logging.getLogger("http")
_headers = api_headers(CONTENT_TYPE)
_ids = RequestIds()


class _Connection(web.RequestHandler):
    __slots__ = ()

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


class _Server(web.Server):
    def __init__(self, plain: web.Server, options: dict[str, Any]) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """An AppRunner without aiohttp's access log; the kit has its own."""

    __slots__ = ("_options",)

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        self._options: dict[str, Any] = {"access_log": None, "keepalive_timeout": KEEPALIVE_TIMEOUT}
        super().__init__(app, handle_signals=False, shutdown_timeout=shutdown_timeout, **self._options)

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._options)


def runner(app: web.Application, *, shutdown_timeout: float = 60.0) -> web.AppRunner:
    """What serves an application: `await setup()`, then sites as with aiohttp's own.

    shutdown_timeout: the longest that `cleanup` waits for requests under way, s.
    """
    return Runner(app, shutdown_timeout=shutdown_timeout)
