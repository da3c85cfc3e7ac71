"""Clips and trims as settings want them: what a server and a worker have alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from server.settings import SettingError, Settings
from server.streaming.clips.models import Options
from server.streaming.clips.service import Clips, Door
from server.streaming.clips.work import Cutter, Journals
from server.streaming.videos.finishing import Finishing
from server.streaming.videos.models import SourceKind
from server.streaming.videos.recordings import Recordings
from server.streaming.videos.sets import Sets
from server.wiring.vod import Vod
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.objects.writer import JOURNAL
from storage.postgres.database import Database

if TYPE_CHECKING:
    from server.wiring.process import Wiring


def options_of(settings: Settings) -> Options:
    """Raises SettingError."""
    if settings.clips_per_hour < 1 or settings.clip_children < 1:
        raise SettingError("CLIPS_PER_HOUR and CLIP_CHILDREN take 1 and more.")
    return Options(
        longest=settings.clip_longest,
        per_hour=settings.clips_per_hour,
        wait=settings.clip_wait,
        children=settings.clip_children,
    )


def cutter_of(
    database: Database, objects: ObjectStore, jobs: Jobs, journals: Journals, vod: Vod, settings: Settings
) -> Cutter:
    sets, options = Sets(jobs), vod.options
    looker = Recordings(database, objects, jobs, vod.scratch, options.engine, options.limits)
    return Cutter(
        database,
        objects,
        sets,
        journals,
        vod.scratch,
        Finishing(database, objects, jobs, sets, looker, vod.processing, options.engine),
        options.engine,
        options.limits,
        options_of(settings),
    )


def clips_of(wiring: Wiring, doors: Mapping[SourceKind, Door]) -> Clips:
    return Clips(
        wiring.database,
        Sets(wiring.jobs),
        wiring.vod.videos,
        wiring.video_desk,
        doors,
        wiring.spool,
        wiring.people.follows,
        wiring.limits,
        options_of(wiring.settings),
    )


class StoreJournals:
    """What was broadcast as the store knows it: of what is on air a moment behind the spool of who has it."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def journal(self, prefix: str) -> tuple[bytes, bool]:
        return await self._objects.get(f"{prefix}/{JOURNAL}") or b"", False

    async def read(self, key: str) -> bytes | None:
        return await self._objects.get(key)
