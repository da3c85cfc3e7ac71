"""All SQL of the work on a video: its run, its pieces, what came of them."""

from __future__ import annotations

from uuid import UUID

import msgspec

from server.streaming.videos.models import Failure
from storage.postgres import Connection


class Task(msgspec.Struct, frozen=True):
    """The payload of a job. run: as in the row when it was enqueued; a job of an older run does nothing. name: of the
    piece of work, empty for what is done once."""

    id: UUID
    run: int
    name: str = ""


async def expect(conn: Connection, id: UUID, size: int) -> None:
    await conn.execute("update videos set source_bytes = $2 where id = $1 and state = 'uploading'", id, size)


async def arriving(conn: Connection, id: UUID, share: float) -> None:
    await conn.execute(
        "update videos set progress = greatest(progress, least($2::real, 1)) where id = $1 and state = 'uploading'",
        id,
        share,
    )


async def begin(conn: Connection, id: UUID, size: int | None) -> int:
    """A new run; the number of it. size: of a file that is new."""
    return int(
        await conn.fetchval(
            """update videos set state = 'processing', progress = 0, error_code = null, error = null, run = run + 1,
                   source_bytes = coalesce($2, source_bytes)
               where id = $1 returning run""",
            id,
            size,
        )
    )


async def fail(conn: Connection, id: UUID, error: Failure) -> None:
    await conn.execute(
        "update videos set state = 'failed', error_code = $2, error = $3 where id = $1", id, error.code, error.message
    )
