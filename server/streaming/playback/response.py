"""Media answers written straight to the connection.

A part or a playlist is a few ready bytes that thousands of players ask for: building an aiohttp Response for each costs
more than sending it. A MediaResponse has its head rendered once, is written with its body in one call, and waits for a
slow client like any other response. Everything around it (parsing, keep-alive, time-outs) stays aiohttp's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

IMMUTABLE = 31_536_000
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Date, Content-Length",
    "Timing-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
NOTHING: Mapping[str, str] = {}


def cache_control(age: int, *, shared: bool = True) -> str:
    """For an age in s: immutable from a year up, 0 asks again each time. shared: caches that serve many may keep it."""
    whose = "public" if shared else "private"
    if age >= IMMUTABLE:
        return f"{whose}, max-age={IMMUTABLE}, immutable"
    if age:
        return f"{whose}, max-age={age}"
    return "no-cache" if shared else "private, no-cache"


def say(status: int, words: str, headers: Mapping[str, str] = NOTHING) -> web.Response:
    """An answer that is no media: a sentence."""
    return web.Response(status=status, text=words + "\n", headers={**CORS, "Cache-Control": "no-store", **headers})


class Head:
    """The head of one answer, rendered once; only its Date changes, once a second."""

    __slots__ = ("_dated", "_fixed", "_second", "fields", "length", "status")

    def __init__(self, status: int, fields: Mapping[str, str], length: int) -> None:
        self.status = status
        self.fields = {**CORS, **fields}
        self.length = length
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        lines.append(f"Content-Length: {length}")
        self._fixed = ("\r\n".join(lines) + "\r\nDate: ").encode()
        self._second = 0
        self._dated = b""

    def render(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._dated = self._fixed + formatdate(second, usegmt=True).encode() + b"\r\n\r\n"
        return self._dated


class MediaResponse(web.StreamResponse):
    """Sends a Head and its body, as they are."""

    def __init__(self, head: Head, body: bytes | tuple[bytes, ...]) -> None:
        super().__init__(status=head.status)
        self._media_head = head
        self._media_body = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if request.version != HttpVersion11 or transport is None:
            return await self._plainly(request)
        self._keep_alive = request.keep_alive
        head, body = self._media_head.render(), self._media_body
        if not self._keep_alive:
            head = head[:-2] + b"Connection: close\r\n\r\n"
        if request.method == "HEAD":
            transport.write(head)
        elif isinstance(body, bytes):
            transport.writelines((head, body))
        else:
            transport.writelines((head, *body))
        self._eof_sent = True
        writer: AbstractStreamWriter = request._payload_writer
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._eof_sent:
            await super().write_eof(data)

    @property
    def prepared(self) -> bool:
        return self._eof_sent or super().prepared

    async def _plainly(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """For HTTP/1.0, the long way."""
        self._headers: CIMultiDict[str] = CIMultiDict(self._media_head.fields)
        self.content_length = self._media_head.length
        writer = await super().prepare(request)
        if writer is not None and request.method != "HEAD":
            body = self._media_body
            for chunk in (body,) if isinstance(body, bytes) else body:
                await self.write(chunk)
        return writer
