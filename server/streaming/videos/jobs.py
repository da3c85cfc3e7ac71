"""The jobs of videos by name, and how they are enqueued."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from server.streaming.videos.work_store import FIRST, SOUND, STILLS, Piece, Task
from storage.jobs import Jobs
from storage.postgres import Connection

PROBE_JOB = "videos.probe"
RECORDING_JOB = "videos.recording"
PIECE_JOB = "videos.piece"
ASSEMBLE_JOB = "videos.assemble"
REPLACE_JOB = "videos.replace"
CUT_JOB = "videos.cut"
OUTDATED_JOB = "videos.outdated"
DELETED_JOB = "videos.deleted"
PUBLISH_JOB = "videos.publish"
PUBLISH_CRON = "* * * * *"

SOON, NEXT, LATER = 2, 1, 0
"""Priorities: what makes a video playable goes before the other pieces of those that came earlier."""


async def enqueue_probe(jobs: Jobs, conn: Connection, id: UUID, run: int) -> None:
    await jobs.enqueue(conn, PROBE_JOB, Task(id, run), priority=SOON)


async def enqueue_recording(
    jobs: Jobs, conn: Connection, id: UUID, run: int, *, after: timedelta | None = None
) -> None:
    await jobs.enqueue(conn, RECORDING_JOB, Task(id, run), priority=SOON, after=after)


async def enqueue_assembly(jobs: Jobs, conn: Connection, id: UUID, run: int) -> None:
    await jobs.enqueue(conn, ASSEMBLE_JOB, Task(id, run), priority=SOON)


async def enqueue_pieces(jobs: Jobs, conn: Connection, id: UUID, run: int, pieces: Collection[Piece]) -> None:
    """Those that are not done, each as a job."""
    for piece in pieces:
        if piece.result is None:
            soon = piece.name in (FIRST, SOUND)
            priority = SOON if soon else NEXT if piece.kind == STILLS else LATER
            await jobs.enqueue(conn, PIECE_JOB, Task(id, run, piece.name), priority=priority)


async def enqueue_cut(jobs: Jobs, conn: Connection, id: UUID, run: int) -> None:
    """Of what the row says."""
    await jobs.enqueue(conn, CUT_JOB, Task(id, run), priority=SOON)
