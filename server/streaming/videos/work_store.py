"""All SQL of the work on a video: its run, its pieces, what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from server.streaming.videos.models import Chapter, Cut, Failure, Pictures, Rendition, VideoState
from storage.postgres import Connection

PICTURE, SOUND, STILLS = "picture", "sound", "stills"
FIRST = "first"
"""The name of the piece that makes a video playable: the first chunk in the lowest rung."""


class Task(msgspec.Struct, frozen=True):
    """The payload of a job. run: as in the row when it was enqueued; a job of an older run does nothing. name: of the
    piece of work, empty for what is done once."""

    id: UUID
    run: int
    name: str = ""


class Piece(msgspec.Struct, frozen=True):
    """A row of video_chunks. kind: picture, sound or stills; number: of the plan's chunk. result: JSON of the engine's,
    None until it is done."""

    name: str
    kind: str
    number: int
    rungs: list[str]
    weight: float
    result: str | None = None


async def expect(conn: Connection, id: UUID, size: int) -> None:
    await conn.execute("update videos set source_bytes = $2 where id = $1 and state = 'uploading'", id, size)


async def arriving(conn: Connection, id: UUID, share: float) -> None:
    await conn.execute(
        "update videos set progress = greatest(progress, least($2::real, 1)) where id = $1 and state = 'uploading'",
        id,
        share,
    )


async def begin(conn: Connection, id: UUID, size: int | None = None) -> int:
    """A new run; the number of it. size: of a file that is new. What was playable before stays so."""
    return int(
        await conn.fetchval(
            """update videos set progress = 0, error_code = null, error = null, run = run + 1,
                   state = case when packaged > 0 then 'playable' else 'processing' end,
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


async def current(conn: Connection, task: Task) -> bool:
    """Whether the work is still wanted: the video is there, and has neither failed nor been begun anew."""
    return bool(
        await conn.fetchval(
            "select exists (select from videos where id = $1 and run = $2 and state in ('processing', 'playable'))",
            task.id,
            task.run,
        )
    )


async def lock_current(conn: Connection, task: Task) -> bool:
    """The same, and the row is locked until the transaction ends."""
    return (
        await conn.fetchval(
            "select 1 from videos where id = $1 and run = $2 and state in ('processing', 'playable') for update",
            task.id,
            task.run,
        )
        is not None
    )


async def longest(conn: Connection, id: UUID) -> float:
    """Seconds that the video may last by its owner's tier; 0: as long as any."""
    return float(await conn.fetchval("select longest from videos where id = $1", id) or 0)


async def set_plan(conn: Connection, id: UUID, *, facts: str, plan: str, duration: float) -> None:
    await conn.execute(
        "update videos set facts = $2, plan = $3, duration = $4 where id = $1", id, facts, plan, duration
    )


async def plan(conn: Connection, id: UUID) -> str | None:
    found: str | None = await conn.fetchval("select plan from videos where id = $1", id)
    return found


async def set_stretches(conn: Connection, id: UUID, stretches: str, *, duration: float) -> None:
    """JSON of media.vod.stretches: the video is made of segments that are in its folder already."""
    await conn.execute("update videos set stretches = $2, duration = $3 where id = $1", id, stretches, duration)


async def mark(conn: Connection, id: UUID) -> str:
    """In the names of its segments."""
    return str(await conn.fetchval("select mark from videos where id = $1", id) or "")


async def stretches(conn: Connection, id: UUID) -> str | None:
    found: str | None = await conn.fetchval("select stretches from videos where id = $1", id)
    return found


async def set_work(conn: Connection, id: UUID, work: str) -> None:
    """JSON of media.vod.recorded: what lacks of a set whose segments were there already; a piece's number is a place in
    it."""
    await conn.execute("update videos set plan = $2 where id = $1", id, work)


async def set_bytes(conn: Connection, id: UUID, *, source: int, stored: int) -> None:
    """Of a set whose segments were there already: those that its owner brought, and the others."""
    await conn.execute("update videos set source_bytes = $2, stored_bytes = $3 where id = $1", id, source, stored)


async def copied(conn: Connection, task: Task, share: float) -> bool:
    """How much of the progress the copying is; False: it is not wanted any more."""
    return (
        await conn.fetchval(
            """update videos set progress = greatest(progress, $3::real) where id = $1 and run = $2
               and state in ('processing', 'playable') returning 1""",
            task.id,
            task.run,
            share,
        )
        is not None
    )


async def add_pieces(conn: Connection, id: UUID, pieces: Sequence[Piece]) -> None:
    """In the order in which they are to be done. Those of a plan before it are gone."""
    await conn.execute("delete from video_chunks where video_id = $1", id)
    await conn.execute("update videos set stored_bytes = 0 where id = $1", id)
    await conn.executemany(
        """insert into video_chunks (video_id, name, kind, number, rungs, weight, place)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        [(id, p.name, p.kind, p.number, p.rungs, p.weight, place) for place, p in enumerate(pieces)],
    )


def _piece(row: Any) -> Piece:
    return Piece(*row)


_PIECE = "select name, kind, number, rungs, weight, result from video_chunks"


async def piece(conn: Connection, task: Task) -> Piece | None:
    row = await conn.fetchrow(_PIECE + " where video_id = $1 and name = $2", task.id, task.name)
    return _piece(row) if row else None


async def set_cut(conn: Connection, id: UUID, cut: Cut) -> None:
    await conn.execute("update videos set cut = $2 where id = $1", id, msgspec.json.encode(cut).decode())


async def cut(conn: Connection, id: UUID) -> Cut | None:
    """What it is to be cut of, or was."""
    found: str | None = await conn.fetchval("select cut from videos where id = $1", id)
    return msgspec.json.decode(found, type=Cut) if found is not None else None


async def set_chapters(conn: Connection, id: UUID, chapters: Sequence[Chapter]) -> None:
    """They have moved with what they belong to."""
    encoded = msgspec.json.encode(chapters).decode()
    await conn.execute("update videos set chapters = $2, version = version + 1 where id = $1", id, encoded)


async def pieces(conn: Connection, id: UUID) -> list[Piece]:
    """All, in the order in which they are to be done."""
    return [_piece(row) for row in await conn.fetch(_PIECE + " where video_id = $1 order by place", id)]


async def done(conn: Connection, id: UUID) -> list[str]:
    """Names of the pieces that are."""
    rows = await conn.fetch("select name from video_chunks where video_id = $1 and result is not null", id)
    return [row["name"] for row in rows]


async def step(conn: Connection, task: Task, done: float) -> bool:
    """How far a piece is; the whole of the video never goes back. False: the work is not wanted any more."""
    await conn.execute(
        "update video_chunks set progress = greatest(progress, $3::real) where video_id = $1 and name = $2 and $3 < 1",
        task.id,
        task.name,
        done,
    )
    row = await conn.fetchval(
        """update videos set progress = greatest(progress, least(0.99, (
               select sum(weight * progress) / nullif(sum(weight), 0) from video_chunks where video_id = $1)))
           where id = $1 and run = $2 and state in ('processing', 'playable') returning 1""",
        task.id,
        task.run,
    )
    return row is not None


async def finish(conn: Connection, task: Task, result: str, stored: int) -> None:
    """A piece is done. The row of the video is locked by the caller. stored: bytes in the store."""
    added = await conn.fetchval(
        """update video_chunks set result = $3, progress = 1 where video_id = $1 and name = $2 and result is null
           returning 1""",
        task.id,
        task.name,
        result,
    )
    if added is not None:
        await conn.execute("update videos set stored_bytes = stored_bytes + $2 where id = $1", task.id, stored)
    await step(conn, task, 1)


async def set_pictures(conn: Connection, id: UUID, pictures: Pictures) -> None:
    """What was uploaded by hand stays what it is, and so does a choice."""
    await conn.execute(
        """update videos set pictures = $2::jsonb || case when pictures ? 'own'
               then jsonb_build_object('own', pictures -> 'own') else '{}'::jsonb end
           where id = $1""",
        id,
        msgspec.json.encode(pictures).decode(),
    )


async def set_packaged(
    conn: Connection, id: UUID, *, state: VideoState, renditions: Sequence[Rendition], pieces: int
) -> bool:
    """The playlists are in the store. True when it can be seen by others from now on, and could not before."""
    row = await conn.fetchrow(
        """update videos set state = $2, renditions = $3, packaged = $4,
               progress = case when $2 = 'ready' then 1 else progress end,
               published_at = coalesce(published_at, case
                   when replaces is null and (publish_at is null or publish_at <= now()) then now() end)
           where id = $1 returning published_at = now() as published""",
        id,
        state,
        msgspec.json.encode(renditions).decode(),
        pieces,
    )
    return row is not None and bool(row["published"])
