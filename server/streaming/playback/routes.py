"""The media itself: `/live/{id}/{grant}/{name}`.

While a broadcast's live side is in this process its package answers; afterwards (and for what a restart of the process
no longer has in memory) the store does. The live playlists of an ended broadcast lead to its recording.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from media.package.answer import Answer
from server.streaming.broadcasts import store
from server.streaming.broadcasts.director import Director
from server.streaming.broadcasts.live import Live, prefix
from server.streaming.broadcasts.models import State
from server.streaming.playback.response import CORS, IMMUTABLE, Head, MediaResponse, cache_control
from server.streaming.playback.thumbnails import NAME as THUMBNAIL
from server.streaming.playback.thumbnails import Thumbnails
from server.streaming.playback.viewers import Viewers
from storage.objects.spool import Spool
from storage.postgres.database import Database

PUBLIC_GRANT = "p"
PLAYLIST_AGE = 10
THUMBNAIL_AGE = 10
KNOWN_SECONDS = 2.0
KNOWN_MOST = 4096
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
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}


class MediaRoutes:
    """`waiting`: blocked requests at once; one more is told to come back in a second."""

    def __init__(
        self,
        director: Director,
        database: Database,
        spool: Spool,
        viewers: Viewers,
        thumbnails: Thumbnails,
        *,
        waiting: int,
    ) -> None:
        self._director = director
        self._database = database
        self._spool = spool
        self._viewers = viewers
        self._thumbnails = thumbnails
        self._most_waiting = waiting
        self.waiting = 0
        self.answered = 0
        self.sent_bytes = 0
        self._heads: OrderedDict[tuple[int, str, int, bool, bool, int], Head] = OrderedDict()
        self._known: OrderedDict[str, tuple[float, State | None, bool]] = OrderedDict()

    def install(self, app: web.Application) -> None:
        app.router.add_get("/live/{id}/{grant}/{name}", self.serve)
        app.router.add_options("/live/{id}/{grant}/{name}", self.preflight)

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers={**CORS, **PREFLIGHT})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        id, name = match["id"], match["name"]
        if match["grant"] != PUBLIC_GRANT:
            return _say(404, "There is no such grant.")
        live = self._director.get(id)
        if live is None:
            return await self._stored(request, id, name)
        if name == THUMBNAIL:
            return self._thumbnail(live)
        answer = live.package.answer(name, request.query if request.rel_url.raw_query_string else NO_QUERY)
        if not isinstance(answer, Answer):
            if self.waiting >= self._most_waiting:
                return _say(503, "Too many players are waiting for this server.", {"Retry-After": "1"})
            self.waiting += 1
            try:
                answer = await answer
            finally:
                self.waiting -= 1
        if answer.status == 200:
            self._viewers.touch(id, self._viewers.viewer_of(request))
        return self._respond(request, answer)

    def _respond(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        """Heads are kept by what they say, never with a body: what an answer holds is gone with the answer."""
        body = answer.body
        zipped = answer.gzip is not None and "gzip" in request.headers.get("Accept-Encoding", "")
        if zipped and answer.gzip is not None:
            body = answer.gzip
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        key = (answer.status, answer.content_type, answer.max_age, zipped, answer.gzip is None, length)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = _head(answer, zipped, length)
            if len(self._heads) > HEADS_MOST:
                self._heads.popitem(last=False)
        self.answered += 1
        self.sent_bytes += length
        return MediaResponse(head, body)

    def _thumbnail(self, live: Live) -> web.StreamResponse:
        self._thumbnails.want(live)
        if live.thumbnail is None:
            return _say(404, "There is no picture yet.")
        headers = {**CORS, "Cache-Control": f"public, max-age={THUMBNAIL_AGE}"}
        return web.Response(body=live.thumbnail, content_type="image/jpeg", headers=headers)

    async def _stored(self, request: web.Request, id: str, name: str) -> web.StreamResponse:
        state, recorded = await self._state(id)
        if state is None or not STORED_NAME.fullmatch(name):
            return _say(404, "There is no such file.")
        if state is State.CREATED:
            return _say(404, "The broadcast has not started yet.")
        recording = _recorded(name)
        if state is not State.ENDED and recording:
            # it is coming up here after a restart, or it is live on another node
            return _say(503, "The broadcast is coming back.", {"Retry-After": "1"})
        if recorded and recording:
            return web.Response(status=302, headers={**CORS, "Location": recording, "Cache-Control": "max-age=60"})
        body = await self._spool.shelf(prefix(id)).read(name)
        if body is None:
            return _say(404, "There is no such file, or it was not recorded.")
        kind = name.rpartition(".")[2]
        age = THUMBNAIL_AGE if kind == "jpg" else PLAYLIST_AGE if kind in ("m3u8", "mpd") else IMMUTABLE
        response = web.Response(body=body, headers={**CORS, "Cache-Control": cache_control(age)})
        response.content_type = TYPES[kind]
        if kind in ("m3u8", "mpd"):
            response.enable_compression()
        return response

    async def _state(self, id: str) -> tuple[State | None, bool]:
        """(state, recorded); remembered for a moment, because a player asks for many files of one broadcast."""
        known = self._known.get(id)
        at = time.monotonic()
        if known is not None and at - known[0] < KNOWN_SECONDS:
            return known[1], known[2]
        try:
            key = UUID(id)
        except ValueError:
            return None, False
        if str(key) != id:
            return None, False  # one spelling: the live side and the files know no other
        async with self._database.acquire() as conn:
            row = await store.get(conn, key)
        state, recorded = (row.state, row.recording is not None) if row else (None, False)
        self._known[id] = (at, state, recorded)
        self._known.move_to_end(id)
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
        return state, recorded


def _recorded(name: str) -> str:
    """What stands for a live playlist in the recording; "" for what is none."""
    match = LIVE_LIST.fullmatch(name)
    if match is None:
        return ""
    return f"recording.{match[1]}" if match[1] else f"recording-{match[2]}.m3u8"


def _head(answer: Answer, zipped: bool, length: int) -> Head:
    fields = {"Content-Type": answer.content_type, "Cache-Control": cache_control(answer.max_age)}
    if answer.gzip is not None:
        fields["Vary"] = "Accept-Encoding"
    if zipped:
        fields["Content-Encoding"] = "gzip"
    return Head(answer.status, fields, length)


def _say(status: int, words: str, headers: Mapping[str, str] = NO_QUERY) -> web.Response:
    return web.Response(status=status, text=words + "\n", headers={**CORS, "Cache-Control": "no-store", **headers})
