"""Uploads as settings want them: what a server and a worker have alike."""

from __future__ import annotations

from server.settings import Settings
from server.streaming.uploads.jobs import Finishing
from server.streaming.uploads.models import Options
from server.streaming.videos.service import Videos
from storage.jobs import Jobs
from storage.objects import ObjectStore, Parts
from storage.objects.folder import FolderStore
from storage.objects.folder_parts import FolderParts
from storage.objects.s3 import S3Store
from storage.objects.s3_parts import S3Parts
from storage.postgres.database import Database


def parts_of(objects: ObjectStore, settings: Settings) -> Parts:
    """What comes in pieces, into the same store."""
    if isinstance(objects, S3Store):
        return S3Parts(objects, settings.data_path / "uploads")
    if isinstance(objects, FolderStore):
        return FolderParts(objects)
    raise TypeError(f"{type(objects).__name__} takes no parts")


def options_of(settings: Settings) -> Options:
    return Options(
        most_bytes=settings.upload_max_bytes,
        open_per_account=settings.uploads_unfinished,
        writing_per_account=settings.uploads_per_account,
        writing=settings.uploads_at_once,
        hours=settings.upload_hours,
        least_rate=settings.upload_least_rate,
        window=settings.upload_window,
        checkpoint=settings.upload_checkpoint,
    )


def finishing_of(database: Database, objects: ObjectStore, videos: Videos, jobs: Jobs, settings: Settings) -> Finishing:
    """idempotency: a form's key is its upload's row."""
    hours = max(settings.upload_hours, settings.idempotency_hours)
    return Finishing(database, objects, parts_of(objects, settings), videos, jobs, hours=hours)
