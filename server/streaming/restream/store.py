"""All SQL of targets and of the pushes to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple
from typing import Any
from uuid import UUID

from server.streaming.restream.models import Push, Target

_TARGET = """t.id, t.channel_id, t.name, t.url, t.sealed_key, t.key_hint, t.enabled, t.version, t.revision,
             t.stopped_for, t.created_at"""
_PUSH = """p.target_id, p.broadcast_id, p.revision, p.state, p.since, p.bitrate, p.sent_bytes, p.dropped, p.reconnects,
           p.error, p.note"""


async def lock_channel(conn: Any, channel_id: UUID) -> None:
    """Until the end of the transaction nobody else makes a target for it."""
    await conn.execute("select 1 from channels where id = $1 for no key update", channel_id)


async def insert(conn: Any, target: Target) -> None:
    await conn.execute(
        """insert into restream_targets (id, channel_id, name, url, sealed_key, key_hint, enabled, version, revision,
                                         stopped_for, created_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        *astuple(target),
    )


async def of_user(conn: Any, user_id: UUID) -> list[Target]:
    rows = await conn.fetch(
        f"""select {_TARGET} from restream_targets t join channels c on c.id = t.channel_id
            where c.user_id = $1 order by t.id""",
        user_id,
    )
    return [Target(*row) for row in rows]


async def lock(conn: Any, id: UUID, user_id: UUID) -> Target | None:
    """To edit it; None when it is not the user's."""
    row = await conn.fetchrow(
        f"""select {_TARGET} from restream_targets t join channels c on c.id = t.channel_id
            where t.id = $1 and c.user_id = $2 for no key update of t""",
        id,
        user_id,
    )
    return Target(*row) if row else None


async def update(conn: Any, target: Target) -> None:
    await conn.execute(
        """update restream_targets set name = $2, url = $3, sealed_key = $4, key_hint = $5, enabled = $6, version = $7,
                  revision = $8, stopped_for = $9 where id = $1""",
        target.id,
        target.name,
        target.url,
        target.sealed_key,
        target.key_hint,
        target.enabled,
        target.version,
        target.revision,
        target.stopped_for,
    )


async def delete(conn: Any, id: UUID, user_id: UUID) -> bool:
    """False when the user has no such target."""
    return bool(
        await conn.fetchval(
            """delete from restream_targets t using channels c
               where t.id = $1 and c.id = t.channel_id and c.user_id = $2 returning true""",
            id,
            user_id,
        )
    )


async def delete_of(conn: Any, user_id: UUID) -> None:
    await conn.execute(
        "delete from restream_targets t using channels c where c.id = t.channel_id and c.user_id = $1", user_id
    )


async def of_channels(conn: Any, channels: Collection[UUID]) -> list[Target]:
    """Those that are enabled."""
    rows = await conn.fetch(
        f"select {_TARGET} from restream_targets t where t.channel_id = any($1) and t.enabled order by t.id",
        list(channels),
    )
    return [Target(*row) for row in rows]


async def on_air(conn: Any, channel_id: UUID) -> UUID | None:
    """The channel's broadcast that is on air."""
    found: UUID | None = await conn.fetchval(
        "select id from broadcasts where channel_id = $1 and state in ('live', 'interrupted')", channel_id
    )
    return found


# how it goes


async def pushes(conn: Any, targets: Collection[UUID]) -> dict[UUID, Push]:
    rows = await conn.fetch(
        f"""select {_PUSH}, b.state = 'ended' as over from restream_pushes p join broadcasts b on b.id = p.broadcast_id
            where p.target_id = any($1)""",
        list(targets),
    )
    return {row["target_id"]: Push(*row) for row in rows}


async def write(conn: Any, pushes: Sequence[tuple[Push, int]]) -> None:
    """Each with the fence of its broadcast: what is no longer ours to tell changes nothing."""
    await conn.executemany(
        """insert into restream_pushes (target_id, broadcast_id, revision, state, since, bitrate, sent_bytes, dropped,
                                        reconnects, error, note)
           select t.id, b.id, $3, $4, $5, $6, $7, $8, $9, $10, $11 from broadcasts b, restream_targets t
           where t.id = $1 and b.id = $2 and b.fence = $12
           on conflict (target_id) do update set broadcast_id = excluded.broadcast_id, revision = excluded.revision,
               state = excluded.state, since = excluded.since, bitrate = excluded.bitrate,
               sent_bytes = excluded.sent_bytes, dropped = excluded.dropped, reconnects = excluded.reconnects,
               error = excluded.error, note = excluded.note""",
        [(*astuple(push)[:-1], fence) for push, fence in pushes],
    )
