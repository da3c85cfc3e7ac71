"""The media of videos: `/videos/{id}/{grant}/{name}`, playlists, segments, pictures and captions, from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from server.streaming.playback.files import NAME, TYPES, File, Files
from server.streaming.playback.ranges import NotSatisfiable, named, range_of
from server.streaming.playback.response import CORS, IMMUTABLE, PREFLIGHT, cache_control, say
from server.streaming.playback.rights import Refusal, Rights
from server.streaming.playback.subjects import GRANT_CHECK, PUBLIC_GRANT, Kind, Subject
from storage.objects import StoreError
from storage.postgres.database import AWAY

PLAYLIST_AGE = 10
PICTURE_AGE = 300
_PATH = "/videos/{id}/{grant}/{name}"
_CORS = {
    **CORS,
    "Access-Control-Expose-Headers": "Date, Content-Length, Content-Range, Accept-Ranges, ETag",
    "Accept-Ranges": "bytes",
}


class Delivered(Protocol):
    """Is told what was given to whom."""

    def delivered(self, request: web.Request, subject: Subject, name: str) -> None: ...


class VideoRoutes:
    def __init__(self, rights: Rights, files: Files, views: Delivered) -> None:
        self._rights = rights
        self._files = files
        self._views = views
        self.answered = 0
        self.sent_bytes = 0

    def install(self, app: web.Application) -> None:
        app.router.add_get(_PATH, self.serve)
        app.router.add_options(_PATH, self.preflight)

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers={**_CORS, **PREFLIGHT})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        id, grant, name = match["id"], match["grant"], match["name"]
        try:
            subject = await self._rights.check(Kind.VIDEO, id, grant)
        except AWAY:
            return say(503, "Who may watch this cannot be asked right now.", {"Retry-After": "1"})
        if isinstance(subject, Refusal):
            return say(subject.status, subject.words)
        if name == GRANT_CHECK:
            return self._checked(request, subject)
        if NAME.fullmatch(name) is None:
            return say(404, "There is no such file.")
        try:
            file = await self._files.read(f"videos/{id}", name)
        except StoreError:
            return say(503, "The store does not answer.", {"Retry-After": "1"})
        if file is None:
            if not subject.ready:
                return say(404, "The video cannot be played yet.")
            return say(404, "There is no such file.")
        response = _answer(request, file, shared=grant == PUBLIC_GRANT)
        sent = response.content_length or 0
        if request.method == "GET" and response.status in (200, 206) and 2 * sent >= len(file.body):
            self._views.delivered(request, subject, name)
        self.answered += 1
        self.sent_bytes += sent
        return response

    def _checked(self, request: web.Request, subject: Subject) -> web.Response:
        """A cache that keeps one copy for all asks before it hands that out: `?name=` says what, for the counts."""
        name = request.query.get("name", "")
        if NAME.fullmatch(name) is not None:
            self._views.delivered(request, subject, name)
        return web.Response(status=204, headers={**CORS, "Cache-Control": "no-store"})


def _answer(request: web.Request, file: File, *, shared: bool) -> web.Response:
    age = IMMUTABLE if file.final else PLAYLIST_AGE if file.zipped is not None else PICTURE_AGE
    if not shared and not file.final:
        age = 0  # costs an empty answer, and is asked with the grant of now
    body, etag = file.body, file.etag
    headers = {**_CORS, "Cache-Control": cache_control(age, shared=shared), "Content-Type": TYPES[file.kind]}
    if file.zipped is not None:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("Accept-Encoding", "") and "Range" not in request.headers:
            body, etag = file.zipped, file.etag[:-1] + '-g"'
            headers["Content-Encoding"] = "gzip"
    headers["ETag"] = etag
    asked = request.headers
    if "If-Match" in asked and not named(asked["If-Match"], etag, weak=False):
        return say(412, "The file is another one now.")
    if named(asked.get("If-None-Match"), etag, weak=True):
        headers.pop("Content-Type")
        return web.Response(status=304, headers=headers)
    return _part(asked, body, etag, headers)


def _part(asked: Mapping[str, str], body: bytes, etag: str, headers: dict[str, str]) -> web.Response:
    wanted = asked.get("Range")
    if "If-Range" in asked and not named(asked["If-Range"], etag, weak=False):
        wanted = None
    try:
        part = range_of(wanted, len(body))
    except NotSatisfiable:
        return say(416, "There is no such part.", {"Content-Range": f"bytes */{len(body)}"})
    if part is None:
        return web.Response(body=body, headers=headers)
    start, end = part
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:end], headers=headers)
