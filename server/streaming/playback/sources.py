"""Where subjects are read: broadcasts from their rows, videos from the facade that keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from server.streaming.broadcasts import store as broadcasts
from server.streaming.broadcasts.director import Director
from server.streaming.broadcasts.models import State
from server.streaming.playback.subjects import Kind, Subject
from server.streaming.videos.models import Watchable
from storage.postgres import Database


class Videos(Protocol):
    async def watchables(self, ids: Collection[UUID]) -> Mapping[UUID, Watchable]: ...


class LiveSubjects:
    def __init__(self, database: Database, director: Director) -> None:
        self._database = database
        self._director = director

    async def __call__(self, ids: Collection[UUID]) -> dict[UUID, Subject]:
        async with self._database.acquire() as conn:
            rows = await broadcasts.rights_of(conn, ids)
        return {
            row["id"]: Subject(
                Kind.LIVE,
                row["id"],
                row["owner_id"],
                row["visibility"],
                ready=row["state"] != State.CREATED,
                ended=row["state"] == State.ENDED,
                recorded=row["recorded"],
            )
            for row in rows
        }

    def held(self, kind: Kind, id: str) -> Subject | None:
        """What is on air here is known without the database."""
        live = self._director.get(id) if kind is Kind.LIVE else None
        if live is None:
            return None
        row = live.row
        return Subject(Kind.LIVE, row.id, row.owner_id, row.visibility)


class VideoSubjects:
    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    async def __call__(self, ids: Collection[UUID]) -> dict[UUID, Subject]:
        found = await self._videos.watchables(ids)
        return {
            id: Subject(
                Kind.VIDEO,
                id,
                video.owner_id,
                video.visibility,
                published=video.published,
                ready=video.playable,
                duration=video.duration,
                protection=video.protection,
            )
            for id, video in found.items()
        }
