"""/openapi.json and /problems/{code}: the API described to programs. The page for people, /docs, is server/web's."""

from __future__ import annotations

import gzip
import hashlib
import html
import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from server.kit.http.openapi import problems_of
from server.kit.http.routes import Routes
from server.kit.problems import BadCursor, MethodNotAllowed, NotFound, Problem, RequestTimeout, TooManyRequests


class Documents:
    """Owns the rendered document for as long as the application lives."""

    def __init__(self, openapi: dict[str, Any], routes: Sequence[Routes]) -> None:
        self._json = msgspec.json.encode(openapi)
        self._zipped = gzip.compress(self._json, mtime=0)
        self._etag = f'"{hashlib.blake2b(self._json, digest_size=12).hexdigest()}"'
        known: list[type[Problem]] = [BadCursor, MethodNotAllowed, RequestTimeout, TooManyRequests]
        declared = [problem for group in routes for route in group.routes for problem in problems_of(route)]
        self._problems: dict[str, type[Problem]] = {problem.code: problem for problem in [*known, *declared]}

    async def openapi(self, request: web.Request) -> web.Response:
        zipped = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-cache",
            "ETag": self._etag,
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",
        }
        if self._etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=self._zipped if zipped else self._json, headers=headers)

    async def problem(self, request: web.Request) -> web.Response:
        """What the `type` of a problem leads to (RFC 9457, section 3.1.1)."""
        problem = self._problems.get(request.match_info["code"])
        if problem is None:
            raise NotFound("No problem has this code.")
        about = html.escape(inspect.getdoc(problem) or "") if problem.__doc__ != Problem.__doc__ else ""
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{html.escape(problem.code)}</title>'
            f"<h1>{html.escape(problem.title)}</h1>"
            f"<p>Status {problem.status}, code <code>{html.escape(problem.code)}</code></p>"
            f'<p>{about}</p><p><a href="/docs">All routes</a></p></html>'
        )
        return web.Response(text=page, content_type="text/html")
