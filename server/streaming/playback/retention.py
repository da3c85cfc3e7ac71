"""How far a video was watched, for its owner."""

from __future__ import annotations

import math
from typing import Protocol
from uuid import UUID

import msgspec

from server.kit.http import Access, Call, Routes
from server.kit.ownership import own
from server.streaming.playback import views_store
from server.streaming.playback.watches import bucket_width
from server.streaming.videos.errors import NoSuchVideo, NotYourVideo
from server.streaming.videos.models import Watchable
from server.streaming.visibility import Visibility
from storage.postgres import Database


class Videos(Protocol):
    async def watchable(self, id: UUID) -> Watchable | None: ...


class RetentionView(msgspec.Struct, frozen=True):
    """watched_seconds: by all viewers. viewers: of each piece of bucket_seconds, how many were shown something of it,
    each counted once a day."""

    watched_seconds: float
    bucket_seconds: float
    viewers: list[int]


def routes(database: Database, videos: Videos) -> Routes:
    api = Routes(tag="videos")

    @api.get(
        "/api/v1/videos/{id}/retention",
        access=Access.USER,
        errors=(NoSuchVideo, NotYourVideo),
        summary="How far your video was watched",
    )
    async def retention(call: Call, id: UUID) -> RetentionView:
        """Some seconds old at most."""
        found = await videos.watchable(id)
        listed = found is not None and found.published and found.visibility is Visibility.PUBLIC
        video = own(
            found,
            call.user,
            missing=lambda: NoSuchVideo("It was deleted, is not yours, or the address is wrong."),
            foreign=(lambda: NotYourVideo("Only its owner may see that.")) if listed else None,
        )
        async with database.acquire() as conn:
            seconds, width, rows = await views_store.retention(conn, id)
        width = width or bucket_width(video.duration)
        viewers = [0] * max(math.ceil(video.duration / width), max((row["bucket"] + 1 for row in rows), default=0))
        for row in rows:
            viewers[row["bucket"]] = row["viewers"]
        return RetentionView(watched_seconds=round(seconds, 1), bucket_seconds=width, viewers=viewers)

    return api
