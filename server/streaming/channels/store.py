"""All SQL of channels and of what happened to their pushes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from server.kit.ids import uuid7
from server.streaming.channels.models import Channel

_COLUMNS = "id, user_id, key_hint, key_created_at"
EVENTS_KEPT = 200


async def of_user(conn: Any, user_id: UUID) -> Channel | None:
    row = await conn.fetchrow(f"select {_COLUMNS} from channels where user_id = $1", user_id)
    return Channel(**row) if row else None


async def ensure(conn: Any, user_id: UUID) -> Channel:
    """The user's channel, made when there is none; two at once get the same."""
    row = await conn.fetchrow(
        f"""insert into channels (id, user_id) values ($1, $2)
            on conflict (user_id) do update set user_id = excluded.user_id returning {_COLUMNS}""",
        uuid7(),
        user_id,
    )
    return Channel(**row)


async def by_key(conn: Any, key_hash: bytes) -> Channel | None:
    """None also while its owner is leaving."""
    row = await conn.fetchrow(f"select {_COLUMNS} from channels where key_hash = $1 and not suspended", key_hash)
    return Channel(**row) if row else None


async def to_push(conn: Any, user_id: UUID) -> Channel | None:
    """The user's channel, made when there is none; None while its owner is leaving."""
    channel = await ensure(conn, user_id)
    suspended = await conn.fetchval("select suspended from channels where id = $1", channel.id)
    return None if suspended else channel


async def set_key(conn: Any, channel_id: UUID, key_hash: bytes, hint: str, at: datetime) -> Channel:
    row = await conn.fetchrow(
        f"""update channels set key_hash = $2, key_hint = $3, key_created_at = $4 where id = $1 returning {_COLUMNS}""",
        channel_id,
        key_hash,
        hint,
        at,
    )
    return Channel(**row)


async def add_event(conn: Any, channel_id: UUID, broadcast_id: UUID | None, kind: str, detail: str) -> None:
    """One line for the studio; only the newest EVENTS_KEPT of a channel stay."""
    id = uuid7()
    await conn.execute(
        "insert into ingest_events (id, channel_id, broadcast_id, kind, detail) values ($1, $2, $3, $4, $5)",
        id,
        channel_id,
        broadcast_id,
        kind,
        detail[:500],
    )
    if id.int % 16 == 0:
        await conn.execute(
            """delete from ingest_events where channel_id = $1 and id < (
                   select id from ingest_events where channel_id = $1 order by id desc offset $2 limit 1)""",
            channel_id,
            EVENTS_KEPT,
        )


async def events(conn: Any, channel_id: UUID, broadcast_id: UUID, limit: int) -> list[Any]:
    """Of this broadcast, and those of the channel that reached no broadcast (a refused push); newest first."""
    return list(
        await conn.fetch(
            """select at, kind, detail from ingest_events
               where channel_id = $1 and (broadcast_id = $2 or broadcast_id is null) order by id desc limit $3""",
            channel_id,
            broadcast_id,
            limit,
        )
    )


async def keeps(conn: Any, channel_id: UUID) -> bool:
    """Whether its recorded broadcasts become videos."""
    return bool(await conn.fetchval("select keep_as_videos from channels where id = $1", channel_id))


async def set_keeps(conn: Any, channel_id: UUID, keep: bool) -> None:
    await conn.execute("update channels set keep_as_videos = $2 where id = $1", channel_id, keep)


async def set_suspended(conn: Any, user_id: UUID, suspended: bool) -> None:
    await conn.execute("update channels set suspended = $2 where user_id = $1", user_id, suspended)


async def all_events(conn: Any, user_id: UUID, after: UUID | None, limit: int) -> list[Any]:
    """Of the user's channel, oldest first."""
    return list(
        await conn.fetch(
            """select e.id, e.at, e.kind, e.detail, e.broadcast_id from ingest_events e
               join channels c on c.id = e.channel_id
               where c.user_id = $1 and ($3::uuid is null or e.id > $3) order by e.id limit $2""",
            user_id,
            limit,
            after,
        )
    )


async def forget_key(conn: Any, user_id: UUID) -> None:
    await conn.execute(
        "update channels set key_hash = null, key_hint = null, key_created_at = null where user_id = $1", user_id
    )


async def delete_of(conn: Any, user_id: UUID) -> None:
    await conn.execute("delete from channels where user_id = $1", user_id)
