"""The media of videos: `/videos/{id}/{grant}/{name}`, playlists, segments, pictures and captions, from the store.

Of a video that is protected, names of what is encrypted begin with the key's tag, and below the same grant are its key
(`{tag}.key`, for AES-128) and its license (`license`, for Clear Key): who may not watch gets neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from media.package.protect import LICENSE, Key, split_name
from server.kit.http.read import BytesReader
from server.streaming.playback.files import NAME, TYPES, File
from server.streaming.playback.ranges import NotSatisfiable, named, range_of
from server.streaming.playback.response import CORS, IMMUTABLE, PREFLIGHT, cache_control, say
from server.streaming.playback.rights import Refusal, Rights
from server.streaming.playback.subjects import GRANT_CHECK, Kind, Subject
from server.streaming.protection import licenses
from server.streaming.protection.models import Scheme
from server.streaming.visibility import PUBLIC_GRANT
from storage.objects import StoreError
from storage.postgres.database import AWAY

PLAYLIST_AGE = 10
PICTURE_AGE = 300
_PATH = "/videos/{id}/{grant}/{name}"
_LICENSE = f"/videos/{{id}}/{{grant}}/{LICENSE}"
_KEY = re.compile(r"([0-9a-f]{16})\.key", re.ASCII)
_SECRET = {**CORS, "Cache-Control": "no-store"}
"""No cache between us and who may watch keeps a key."""
_CORS = {
    **CORS,
    "Access-Control-Expose-Headers": "Date, Content-Length, Content-Range, Accept-Ranges, ETag",
    "Accept-Ranges": "bytes",
}


class Shelf(Protocol):
    """Files as they are handed out."""

    async def read(self, subject: Subject, tag: str, name: str) -> File | Refusal | None:
        """tag: of the key that it is encrypted with, "" for none. None: there is no such file. Raises StoreError."""
        ...

    def key(self, subject: Subject, scheme: Scheme) -> Key | Refusal: ...


class Delivered(Protocol):
    """Is told what was given to whom."""

    def delivered(self, request: web.Request, subject: Subject, name: str) -> None: ...


class VideoRoutes:
    """timeout: the longest that the body of a license request may take, s."""

    def __init__(self, rights: Rights, files: Shelf, views: Delivered, timeout: float) -> None:
        self._rights = rights
        self._files = files
        self._views = views
        self._body = BytesReader(licenses.MOST_BYTES, timeout)
        self.answered = 0
        self.sent_bytes = 0

    def install(self, app: web.Application) -> None:
        app.router.add_get(_PATH, self.serve)
        app.router.add_options(_PATH, self.preflight)
        app.router.add_post(_LICENSE, self.license)

    async def preflight(self, request: web.Request) -> web.Response:
        headers = {**_CORS, **PREFLIGHT}
        if request.match_info["name"] == LICENSE:
            headers["Access-Control-Allow-Methods"] = "POST, OPTIONS"
        return web.Response(status=204, headers=headers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        grant = request.match_info["grant"]
        subject = await self._subject(request)
        if isinstance(subject, web.Response):
            return subject
        tag, name = split_name(request.match_info["name"])
        if name == GRANT_CHECK:
            return self._checked(request, subject)
        if (found := _KEY.fullmatch(name)) is not None:
            return self._key(subject, found[1])
        if NAME.fullmatch(name) is None:
            return say(404, "There is no such file.")
        try:
            file = await self._files.read(subject, tag, name)
        except StoreError:
            return say(503, "The store does not answer.", {"Retry-After": "1"})
        if isinstance(file, Refusal):
            return say(file.status, file.words)
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

    async def license(self, request: web.Request) -> web.StreamResponse:
        """As EME's Clear Key asks for it, by POST."""
        subject = await self._subject(request)
        if isinstance(subject, web.Response):
            return subject
        key = self._files.key(subject, Scheme.CLEARKEY)
        if isinstance(key, Refusal):
            return say(key.status, key.words)
        try:
            kids = licenses.asked(await self._body.read(request))
        except licenses.BadRequest as error:
            return say(400, str(error))
        if key.id not in kids:
            return say(404, "There is no such key: load the playlist again.")
        return web.Response(body=licenses.license_of(key), content_type="application/json", headers=_SECRET)

    def _key(self, subject: Subject, tag: str) -> web.Response:
        """Of whole segments; that of Clear Key is told by its license."""
        key = self._files.key(subject, Scheme.AES_128)
        if isinstance(key, Refusal):
            return say(key.status, key.words)
        if key.tag != tag:
            return say(410, "There is another key now: load the playlist again.")
        return web.Response(body=key.secret, content_type="application/octet-stream", headers=_SECRET)

    async def _subject(self, request: web.Request) -> Subject | web.Response:
        """What the path's grant opens, or the answer to who has no right to it."""
        match = request.match_info
        try:
            subject = await self._rights.check(Kind.VIDEO, match["id"], match["grant"])
        except AWAY:
            return say(503, "Who may watch this cannot be asked right now.", {"Retry-After": "1"})
        return say(subject.status, subject.words) if isinstance(subject, Refusal) else subject

    def _checked(self, request: web.Request, subject: Subject) -> web.Response:
        """A cache that keeps one copy for all asks before it hands that out: `?name=` says what, for the counts."""
        _, name = split_name(request.query.get("name", ""))
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
