"""The media itself: `/live/{id}/{grant}/{name}`.

While a broadcast's live side is in this process its package answers; afterwards (and for what a restart of the process
no longer has in memory) the store does. The live playlists of an ended broadcast lead to its recording.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

from aiohttp import web

from media.package.answer import Answer
from server.streaming.broadcasts.director import Director
from server.streaming.broadcasts.live import Live, prefix
from server.streaming.playback.response import CORS, IMMUTABLE, PREFLIGHT, Head, MediaResponse, cache_control, say
from server.streaming.playback.rights import Refusal, Rights
from server.streaming.playback.subjects import GRANT_CHECK, Kind, Subject
from server.streaming.playback.thumbnails import NAME as THUMBNAIL
from server.streaming.playback.thumbnails import Thumbnails
from server.streaming.playback.viewers import Viewers
from server.streaming.visibility import PUBLIC_GRANT
from storage.objects.spool import Spool
from storage.postgres.database import AWAY

PLAYLIST_AGE = 10
THUMBNAIL_AGE = 10
HEADS_MOST = 1024
STORED_NAME = re.compile(r"[a-z]+[a-z0-9-]*(\.\d+)?\.(m4s|mp4|m3u8|mpd|jpg)")
TYPES = {
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "jpg": "image/jpeg",
}
LIVE_LIST = re.compile(r"index\.(m3u8|mpd)|([va](?:-[a-z0-9]{1,12})?)\.m3u8")
"""The playlists of a live broadcast: multivariant, manifest, and one for each rendition."""
NO_QUERY: Mapping[str, str] = {}


class MediaRoutes:
    """`waiting`: blocked requests at once; one more is told to come back in a second."""

    def __init__(
        self,
        director: Director,
        rights: Rights,
        spool: Spool,
        viewers: Viewers,
        thumbnails: Thumbnails,
        *,
        waiting: int,
    ) -> None:
        self._director = director
        self._rights = rights
        self._spool = spool
        self._viewers = viewers
        self._thumbnails = thumbnails
        self._most_waiting = waiting
        self.waiting = 0
        self.answered = 0
        self.sent_bytes = 0
        self._heads: OrderedDict[tuple[int, str, int, bool, bool, int, bool], Head] = OrderedDict()

    def install(self, app: web.Application) -> None:
        app.router.add_get("/live/{id}/{grant}/{name}", self.serve)
        app.router.add_options("/live/{id}/{grant}/{name}", self.preflight)

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers={**CORS, **PREFLIGHT})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        id, grant, name = match["id"], match["grant"], match["name"]
        try:
            subject = await self._rights.check(Kind.LIVE, id, grant)
        except AWAY:
            return say(503, "Who may watch this cannot be asked right now.", {"Retry-After": "1"})
        if isinstance(subject, Refusal):
            return say(subject.status, subject.words)
        if name == GRANT_CHECK:
            return web.Response(status=204, headers={**CORS, "Cache-Control": "no-store"})
        shared = grant == PUBLIC_GRANT
        live = self._director.get(id)
        if live is None:
            return await self._stored(subject, id, name, shared)
        if name == THUMBNAIL:
            return self._thumbnail(live, shared)
        answer = live.package.answer(name, request.query if request.rel_url.raw_query_string else NO_QUERY)
        if not isinstance(answer, Answer):
            if self.waiting >= self._most_waiting:
                return say(503, "Too many players are waiting for this server.", {"Retry-After": "1"})
            self.waiting += 1
            try:
                answer = await answer
            finally:
                self.waiting -= 1
            lost = await self._rights.check(Kind.LIVE, id, grant)  # it may have waited for long
            if isinstance(lost, Refusal):
                return say(lost.status, lost.words)
        if answer.status == 200:
            self._viewers.touch(id, self._viewers.viewer_of(request))
        return self._respond(request, answer, shared)

    def _respond(self, request: web.Request, answer: Answer, shared: bool) -> web.StreamResponse:
        """Heads are kept by what they say, never with a body: what an answer holds is gone with the answer."""
        body = answer.body
        zipped = answer.gzip is not None and "gzip" in request.headers.get("Accept-Encoding", "")
        if zipped and answer.gzip is not None:
            body = answer.gzip
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        key = (answer.status, answer.content_type, answer.max_age, zipped, answer.gzip is None, length, shared)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = _head(answer, zipped, length, shared)
            if len(self._heads) > HEADS_MOST:
                self._heads.popitem(last=False)
        self.answered += 1
        self.sent_bytes += length
        return MediaResponse(head, body)

    def _thumbnail(self, live: Live, shared: bool) -> web.StreamResponse:
        self._thumbnails.want(live)
        if live.thumbnail is None:
            return say(404, "There is no picture yet.")
        headers = {**CORS, "Cache-Control": cache_control(THUMBNAIL_AGE, shared=shared)}
        return web.Response(body=live.thumbnail, content_type="image/jpeg", headers=headers)

    async def _stored(self, subject: Subject, id: str, name: str, shared: bool) -> web.StreamResponse:
        if not STORED_NAME.fullmatch(name):
            return say(404, "There is no such file.")
        if not subject.ready:
            return say(404, "The broadcast has not started yet.")
        recording = _recorded(name)
        if not subject.ended and recording:
            # it is coming up here after a restart, or it is live on another node
            return say(503, "The broadcast is coming back.", {"Retry-After": "1"})
        if subject.recorded and recording:
            return web.Response(
                status=302, headers={**CORS, "Location": recording, "Cache-Control": cache_control(60, shared=shared)}
            )
        body = await self._spool.shelf(prefix(id)).read(name)
        if body is None:
            return say(404, "There is no such file, or it was not recorded.")
        kind = name.rpartition(".")[2]
        age = THUMBNAIL_AGE if kind == "jpg" else PLAYLIST_AGE if kind in ("m3u8", "mpd") else IMMUTABLE
        response = web.Response(body=body, headers={**CORS, "Cache-Control": cache_control(age, shared=shared)})
        response.content_type = TYPES[kind]
        if kind in ("m3u8", "mpd"):
            response.enable_compression()
        return response


def _recorded(name: str) -> str:
    """What stands for a live playlist in the recording; "" for what is none."""
    match = LIVE_LIST.fullmatch(name)
    if match is None:
        return ""
    return f"recording.{match[1]}" if match[1] else f"recording-{match[2]}.m3u8"


def _head(answer: Answer, zipped: bool, length: int, shared: bool) -> Head:
    fields = {"Content-Type": answer.content_type, "Cache-Control": cache_control(answer.max_age, shared=shared)}
    if answer.gzip is not None:
        fields["Vary"] = "Accept-Encoding"
    if zipped:
        fields["Content-Encoding"] = "gzip"
    return Head(answer.status, fields, length)
