"""What all addresses of one application share: request ids, problems, log lines, counting.

One Edge belongs to one aiohttp application. Declared routes call it from their own wrapper; everything else passes
through its middleware, which does nothing for media but turn an error into a problem.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from server.kit import logs
from server.kit.audit import Audit
from server.kit.auth import Authenticator
from server.kit.http.address import ClientAddress
from server.kit.http.crosssite import CrossSiteGuard
from server.kit.http.cursors import CursorSigner
from server.kit.http.headers import Cors, api_headers, secure_page
from server.kit.http.idempotency import Idempotency
from server.kit.http.requestid import HEADER, RequestIds
from server.kit.problems import (
    CONTENT_TYPE,
    BodyTooLarge,
    Internal,
    MethodNotAllowed,
    NotFound,
    Problem,
    RequestTimeout,
    Unavailable,
    render,
)
from storage.postgres import Database

AnyHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PROBLEM_HEADERS = api_headers(CONTENT_TYPE)
_access = logging.getLogger("http")


class Observer(Protocol):
    """Counts requests. Called once for each, on the loop."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None: ...


class Span(Protocol):
    def end(self, status: int) -> None: ...


class Tracer(Protocol):
    """Follows requests through the process, and on from whoever sent them."""

    def begin(self, request: web.Request, route: str, request_id: str) -> Span:
        """What the task does until `end` belongs to the request. route: the template, as declared."""
        ...


class Edge:
    def __init__(
        self,
        *,
        authenticator: Authenticator,
        addresses: ClientAddress,
        cors: Cors,
        observer: Observer | None,
        media_prefixes: Sequence[str],
        quiet: Collection[str],
        unavailable: tuple[type[Exception], ...],
        not_found_page: AnyHandler | None,
        cross_site: CrossSiteGuard,
        hsts: str,
        step_up_seconds: float,
        cursors: CursorSigner | None,
        database: Database | None,
        audit: Audit | None,
        idempotency: Idempotency | None,
        tracer: Tracer | None,
    ) -> None:
        """quiet: routes that get no log line. unavailable: exceptions that mean a part such as the database is down.
        hsts: value of Strict-Transport-Security; empty: not sent. cursors to idempotency are there when a route needs
        them, tracer when somebody takes traces.
        """
        self.authenticator = authenticator
        self.addresses = addresses
        self.cors = cors
        self.request_ids = RequestIds()
        self.declared: set[object] = set()
        self.cross_site = cross_site
        self.hsts = hsts
        self.step_up_seconds = step_up_seconds
        self.cursors = cursors
        self.database = database
        self.audit = audit
        self.idempotency = idempotency
        self.tracer = tracer
        self._observer = observer
        self._media_prefixes = tuple(media_prefixes)
        self._quiet = frozenset(quiet)
        self._unavailable = unavailable
        self._not_found_page = not_found_page

    def problem(self, error: Exception, request: web.Request, request_id: str) -> web.Response:
        """The answer for whatever a handler raised; what nobody foresaw is logged with its traceback."""
        problem = self._as_problem(error, request)
        headers = _PROBLEM_HEADERS.copy()
        headers[HEADER] = request_id
        if self.hsts:
            headers["Strict-Transport-Security"] = self.hsts
        if self.cors.enabled:
            self.cors.allow(request, headers)
        headers.update(problem.headers)
        response = web.Response(body=render(problem, request_id), status=problem.status, headers=headers)
        if isinstance(problem, BodyTooLarge | RequestTimeout):
            response.force_close()  # the rest of the body is not worth reading
        return response

    def _as_problem(self, error: Exception, request: web.Request) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, web.HTTPException):
            return from_aiohttp(error)
        if isinstance(error, self._unavailable):
            logging.getLogger("http").warning(
                "%s %s: a part is down: %s: %s", request.method, request.path, type(error).__name__, error
            )
            return Unavailable("The database or another part cannot be reached; try again in a moment.")
        resource = request.match_info.route.resource
        logging.getLogger("http").error(
            "%s %s failed",
            request.method,
            request.path,
            exc_info=error,
            extra={"fields": {"method": request.method, "route": resource.canonical if resource else "unknown"}},
        )
        return Internal("The failure is logged under the request_id of this answer.")

    def finished(self, request: web.Request, route: str, status: int, started: float) -> None:
        """Count the answer and write its log line."""
        seconds = perf_counter() - started
        if self._observer is not None:
            self._observer.request(request.method, route, status, seconds)
        if route not in self._quiet and _access.isEnabledFor(logging.INFO):
            _access.info(
                "%s %s %d %.1f ms",
                request.method,
                request.path,
                status,
                seconds * 1000,
                extra={
                    "fields": {
                        "method": request.method,
                        "route": route,
                        "status": status,
                        "ms": round(seconds * 1000, 2),
                        "address": self.addresses.of(request),
                    }
                },
            )

    @web.middleware
    async def middleware(self, request: web.Request, handler: AnyHandler) -> web.StreamResponse:
        """Around everything. Declared routes do their own work, media wants none."""
        if request.match_info.handler in self.declared:
            return await handler(request)
        if request.path.startswith(self._media_prefixes):
            try:
                return await handler(request)
            except (Problem, web.HTTPException) as error:
                if isinstance(error, web.HTTPException) and error.status < 400:
                    raise
                preflight = self.cors.preflight(request, media=True)
                return preflight or self.problem(error, request, self.request_ids.of(request))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                return self.problem(error, request, self.request_ids.of(request))
        return await self._page(request, handler)

    async def _page(self, request: web.Request, handler: AnyHandler) -> web.StreamResponse:
        started = perf_counter()
        request_id = self.request_ids.of(request)
        logs.request_id.set(request_id)
        response: web.StreamResponse
        try:
            response = await self._answer(request, handler)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(error, web.HTTPException) and error.status < 400:
                response = web.Response(status=error.status, headers=_without_body(error.headers))
            else:
                response = self.problem(error, request, request_id)
        if not response.prepared:
            response.headers.setdefault(HEADER, request_id)
            secure_page(response)
            if self.hsts:
                response.headers.setdefault("Strict-Transport-Security", self.hsts)
        resource = request.match_info.route.resource
        if response.status != 101:  # a socket's life is no request duration
            self.finished(request, resource.canonical if resource else "unknown", response.status, started)
        return response

    async def _answer(self, request: web.Request, handler: AnyHandler) -> web.StreamResponse:
        if request.match_info.http_exception is not None:
            if (preflight := self.cors.preflight(request, media=False)) is not None:
                return preflight
            if (
                self._not_found_page is not None
                and request.match_info.http_exception.status == 404
                and "text/html" in request.headers.get("Accept", "")
                and not request.path.startswith("/api/")
            ):
                return await self._not_found_page(request)
        self.cross_site.check(request)
        return await handler(request)


def from_aiohttp(error: web.HTTPException) -> Problem:
    """An exception of aiohttp as one of our problems."""
    problem: Problem
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        problem = MethodNotAllowed(f"Use {allowed}.", allow=sorted(error.allowed_methods))
        problem.headers["Allow"] = allowed
        return problem
    if isinstance(error, web.HTTPNotFound):
        return NotFound("No route has this address.")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return BodyTooLarge("The body is too large.")
    reason = error.reason or "The request failed"
    kind = type(
        "AiohttpProblem",
        (Problem,),
        {"status": error.status, "code": reason.lower().replace(" ", "_").replace("-", "_"), "title": reason},
    )
    problem = kind(error.text or reason)
    return problem


def _without_body(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    kept.pop("Content-Type", None)
    kept.pop("Content-Length", None)
    return kept
