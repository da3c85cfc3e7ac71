"""Videos on demand as settings want them: what a server and a worker have alike."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

from media.transcode.hardware import Hardware
from media.vod.options import Limits, Options
from server.kit.http.classes import parse_numbers
from server.settings import SettingError, Settings
from server.streaming.videos.invariant import CHECK_CRON, CHECK_JOB, Invariant
from server.streaming.videos.jobs import DELETED_JOB, OUTDATED_JOB, PUBLISH_CRON, PUBLISH_JOB
from server.streaming.videos.models import folder_of
from server.streaming.videos.processing import Files, Processing, ProcessingOptions
from server.streaming.videos.scratch import Scratch
from server.streaming.videos.service import Allowances, Videos
from storage.jobs import Jobs, Worker
from storage.objects import ObjectStore
from storage.postgres.database import Database

CHECK_SECONDS = 6 * 3600.0
"""A comparison of a large store with the database may take so long."""
SLACK_SECONDS = 3600.0
"""Beside the work itself: fetching the source, storing what was made."""


def by_tier(settings: Settings, name: str) -> Mapping[str, int]:
    """Raises SettingError."""
    try:
        return parse_numbers(getattr(Settings(), name)) | parse_numbers(getattr(settings, name))
    except ValueError as error:
        raise SettingError(f"{name.upper()}: {error}") from None


def engine_of(settings: Settings) -> Options:
    """Raises SettingError."""
    options = Options(
        codec=settings.vod_codec,
        highest=settings.vod_highest,
        segment_seconds=settings.vod_segment_seconds,
        chunk_seconds=settings.vod_chunk_seconds,
        preset=settings.vod_preset,
        quality=settings.vod_quality,
        pass_through=settings.vod_pass_through,
        mixed=settings.video_encoder != "software",
    )
    if options.codec not in ("h264", "hevc", "av1"):
        raise SettingError(f"VOD_CODEC is {options.codec!r}; it takes h264, hevc or av1.")
    names = [rung.name for rung in options.ladder]
    if options.highest and options.highest not in names:
        raise SettingError(f"VOD_HIGHEST is {options.highest!r}; it takes one of {', '.join(names)}, or nothing.")
    if not 0 < options.segment_seconds <= 10:
        raise SettingError(f"VOD_SEGMENT_SECONDS is {options.segment_seconds:g}; it takes up to 10.")
    if options.chunk_seconds < options.segment_seconds:
        raise SettingError("VOD_CHUNK_SECONDS is shorter than VOD_SEGMENT_SECONDS.")
    if not 0 <= settings.vod_niceness <= 19:
        raise SettingError(f"VOD_NICENESS is {settings.vod_niceness}; it takes 0 to 19.")
    return options


def videos_of(database: Database, jobs: Jobs, settings: Settings) -> Videos:
    """The facade. Raises SettingError."""
    allowances = Allowances(
        bytes=by_tier(settings, "video_quota_bytes"),
        videos=by_tier(settings, "video_quota_count"),
        seconds=by_tier(settings, "video_longest"),
    )
    return Videos(database, jobs, allowances)


class Vod:
    """The facade of videos, and a worker of its own for the work on them: it takes no more pieces than it has children
    for, so that what waits is there for other processes."""

    def __init__(
        self, dsn: str, database: Database, objects: ObjectStore, files: Files, jobs: Jobs, settings: Settings
    ) -> None:
        self.videos = videos_of(database, jobs, settings)
        self._files = files
        self.invariant = Invariant(database, objects, files)
        self._scratch = Scratch(
            settings.data_path / "scratch",
            objects,
            most=settings.vod_scratch_bytes,
            least_free=settings.disk_min_free,
        )
        limits = Limits(
            longest=max(by_tier(settings, "video_longest").values()),
            memory=settings.vod_memory,
            probe_seconds=settings.vod_probe_seconds,
            work_seconds=settings.vod_work_seconds,
            niceness=settings.vod_niceness,
        )
        try:
            self._hardware = Hardware(settings.video_encoder, settings.vod_codec)
        except ValueError as error:
            raise SettingError(f"VIDEO_ENCODER is {settings.video_encoder!r}; {error}.") from None
        options = ProcessingOptions(
            hardware=self._hardware,
            engine=engine_of(settings),
            limits=limits,
            children=settings.vod_children,
            seconds=settings.vod_work_seconds + SLACK_SECONDS,
            # an address that was given out just before is good for all of its time
            outdated=timedelta(seconds=max(settings.video_outdated_seconds, settings.grant_seconds)),
        )
        self.options, self.scratch = options, self._scratch
        self.processing = Processing(database, objects, files, jobs, self._scratch, options)
        self._worker: Worker | None = None
        if settings.vod_children > 0:
            heartbeat = timedelta(seconds=settings.job_heartbeat)
            self._worker = Worker(dsn, at_once=settings.vod_children, heartbeat=heartbeat)
            self.processing.register(self._worker)
        self._closing = AsyncExitStack()

    def register(self, worker: Worker) -> None:
        """The jobs that need no child."""
        worker.register(DELETED_JOB, self._deleted)
        worker.register(OUTDATED_JOB, self.processing.remove_outdated)
        worker.register(CHECK_JOB, self.invariant.job, seconds=CHECK_SECONDS)
        worker.every(CHECK_JOB, CHECK_CRON)
        worker.register(PUBLISH_JOB, self._publish)
        worker.every(PUBLISH_JOB, PUBLISH_CRON)

    async def start(self) -> None:
        await self._scratch.start()
        self._closing.push_async_callback(self._scratch.close)
        if self._worker is not None:
            self._hardware.start()
            self._closing.push_async_callback(self._hardware.close)
            await self._worker.start()
            self._closing.push_async_callback(self._worker.close)

    async def close(self) -> None:
        await self._closing.aclose()

    def describe(self) -> dict[str, object]:
        worker = self._worker.describe() if self._worker is not None else {}
        return {**self.processing.describe(), "connected": worker.get("connected", False)}

    async def _deleted(self, payload: bytes) -> None:
        await self._files.delete_prefix(folder_of(UUID(payload.decode())))

    async def _publish(self, payload: bytes) -> None:
        await self.videos.publish_due()
