"""All SQL of clips."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from server.streaming.clips.models import Clip, Who
from server.streaming.videos.models import SourceKind, Visibility
from storage.postgres import Connection

_CLIP = """select video_id, maker_id, kind, source_id, source_owner_id, widest, start_seconds, end_seconds, created_at
           from clips"""


def _clip(row: Any) -> Clip:
    return Clip(row[0], row[1], SourceKind(row[2]), row[3], row[4], Visibility(row[5]), *row[6:])


async def add(
    conn: Connection,
    id: UUID,
    maker_id: UUID,
    *,
    kind: SourceKind,
    source_id: UUID,
    source_owner_id: UUID,
    widest: str,
    start: float,
    end: float,
) -> None:
    await conn.execute(
        """insert into clips (video_id, maker_id, kind, source_id, source_owner_id, widest, start_seconds, end_seconds)
           values ($1, $2, $3, $4, $5, $6, $7, $8)""",
        id,
        maker_id,
        kind,
        source_id,
        source_owner_id,
        widest,
        start,
        end,
    )


async def get(conn: Connection, id: UUID) -> Clip | None:
    row = await conn.fetchrow(_CLIP + " where video_id = $1", id)
    return _clip(row) if row else None


async def among(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Clip]:
    rows = await conn.fetch(_CLIP + " where video_id = any($1::uuid[])", list(ids))
    return {row["video_id"]: _clip(row) for row in rows}


async def of_source(conn: Connection, source_id: UUID, limit: int, before: UUID | None) -> list[Clip]:
    """The newest first."""
    rows = await conn.fetch(
        _CLIP + " where source_id = $1 and ($3::uuid is null or video_id < $3) order by video_id desc limit $2",
        source_id,
        limit,
        before,
    )
    return [_clip(row) for row in rows]


async def of_maker(conn: Connection, maker_id: UUID, limit: int, before: UUID | None) -> list[Clip]:
    rows = await conn.fetch(
        _CLIP + " where maker_id = $1 and ($3::uuid is null or video_id < $3) order by video_id desc limit $2",
        maker_id,
        limit,
        before,
    )
    return [_clip(row) for row in rows]


# who may make clips


async def rule(conn: Connection, owner_id: UUID, kind: SourceKind | None, id: UUID | None) -> Who | None:
    """Of one source, or (no kind) of all that somebody has."""
    if kind is None:
        found = await conn.fetchval(
            "select who from clip_rules where owner_id = $1 and broadcast_id is null and video_id is null", owner_id
        )
    else:
        found = await conn.fetchval(f"select who from clip_rules where {kind.value}_id = $1", id)
    return Who(found) if found is not None else None


async def set_rule(conn: Connection, owner_id: UUID, kind: SourceKind | None, id: UUID | None, who: Who | None) -> None:
    broadcast_id = id if kind is SourceKind.BROADCAST else None
    video_id = id if kind is SourceKind.VIDEO else None
    await conn.execute(
        """delete from clip_rules where owner_id = $1 and broadcast_id is not distinct from $2
           and video_id is not distinct from $3""",
        owner_id,
        broadcast_id,
        video_id,
    )
    if who is not None:
        await conn.execute(
            """insert into clip_rules (owner_id, broadcast_id, video_id, who) values ($1, $2, $3, $4)
               on conflict do nothing""",
            owner_id,
            broadcast_id,
            video_id,
            who,
        )


# a person


async def all_of_maker(conn: Connection, maker_id: UUID, after: UUID | None, limit: int) -> list[Clip]:
    rows = await conn.fetch(
        _CLIP + " where maker_id = $1 and ($2::uuid is null or video_id > $2) order by video_id limit $3",
        maker_id,
        after,
        limit,
    )
    return [_clip(row) for row in rows]


async def rules_of(conn: Connection, owner_id: UUID) -> list[dict[str, object]]:
    rows = await conn.fetch("select broadcast_id, video_id, who from clip_rules where owner_id = $1", owner_id)
    return [dict(row) for row in rows]


async def erase(conn: Connection, user_id: UUID) -> None:
    """His rules go; of clips that others made of what was his, nothing leads to him any more. Those that he made are
    videos of his, and go with them."""
    await conn.execute("delete from clip_rules where owner_id = $1", user_id)
    await conn.execute("update clips set source_owner_id = null where source_owner_id = $1", user_id)
