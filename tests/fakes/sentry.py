"""A server that takes what Sentry's clients send: envelopes of JSON lines."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer


class Sentry:
    """events: as they came. raw: every byte of every envelope."""

    def __init__(self) -> None:
        self.dsn = ""
        self.events: list[dict[str, Any]] = []
        self.raw = b""

    async def _envelope(self, request: web.Request) -> web.Response:
        assert "sentry_key=key" in request.headers["X-Sentry-Auth"]
        data = await request.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        self.raw += data
        _, *rest = data.split(b"\n")
        for header, body in zip(rest[::2], rest[1::2], strict=False):
            if header and msgspec.json.decode(header)["type"] == "event":
                self.events.append(msgspec.json.decode(body))
        return web.json_response({"id": "1"})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Sentry]:
        app = web.Application()
        app.router.add_post("/api/7/envelope/", self._envelope)
        async with TestServer(app) as server:
            self.dsn = f"http://key@{server.host}:{server.port}/7"
            yield self
