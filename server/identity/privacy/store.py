"""All SQL of archives and departures. Every function works in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from server.identity.privacy.models import Export
from storage.postgres import Connection

_EXPORT = (
    "id, user_id, state, media, asked_at, ready_at, expires_at, attempts, prefix, pieces, piece_bytes, bytes, done,"
    " total"
)

# archives


async def add_export(connection: Connection, id: UUID, user_id: UUID, media: bool, at: datetime) -> bool:
    """False: one waits or is being made."""
    done = await connection.execute(
        "insert into exports (id, user_id, state, media, asked_at) values ($1, $2, 'waiting', $3, $4)"
        " on conflict (user_id) where state in ('waiting', 'running') do nothing",
        id,
        user_id,
        media,
        at,
    )
    return done == "INSERT 0 1"


async def asked_since(connection: Connection, user_id: UUID, at: datetime) -> int:
    """How many archives the account has asked for since then."""
    count: int = await connection.fetchval(
        "select count(*) from exports where user_id = $1 and asked_at > $2", user_id, at
    )
    return count


async def latest_export(connection: Connection, user_id: UUID) -> Export | None:
    return _export(
        await connection.fetchrow(f"select {_EXPORT} from exports where user_id = $1 order by id desc limit 1", user_id)
    )


async def export_of_token(connection: Connection, token_hash: bytes, at: datetime) -> Export | None:
    return _export(
        await connection.fetchrow(
            f"select {_EXPORT} from exports where token_hash = $1 and state = 'ready' and expires_at > $2"
            " and exists (select from users u where u.id = exports.user_id and u.disabled_at is null)",
            token_hash,
            at,
        )
    )


async def void_links(connection: Connection, user_id: UUID) -> None:
    """Links to archives that are in mails lead nowhere any more; their owner fetches them signed in."""
    await connection.execute("update exports set token_hash = null where user_id = $1", user_id)


async def begin_attempt(connection: Connection, id: UUID, prefix: str, total: int) -> tuple[Export, str | None] | None:
    """The export as the attempt finds it, and the prefix of an attempt before; None: nothing to do any more."""
    before = _export(await connection.fetchrow(f"select {_EXPORT} from exports where id = $1 for update", id))
    if before is None or before.state not in ("waiting", "running"):
        return None
    after = _export(
        await connection.fetchrow(
            "update exports set state = 'running', attempts = attempts + 1, prefix = $2, total = $3, done = 0,"
            f" bytes = 0, pieces = 0 where id = $1 returning {_EXPORT}",
            id,
            prefix,
            total,
        )
    )
    assert after is not None
    return after, before.prefix


async def progress(connection: Connection, id: UUID, prefix: str, done: int, size: int) -> bool:
    """False: another attempt has begun."""
    changed = await connection.execute(
        "update exports set done = $3, bytes = $4 where id = $1 and prefix = $2 and state = 'running'",
        id,
        prefix,
        done,
        size,
    )
    return changed == "UPDATE 1"


async def finish(
    connection: Connection,
    id: UUID,
    prefix: str,
    *,
    pieces: int,
    piece_bytes: int,
    size: int,
    at: datetime,
    expires_at: datetime,
    token_hash: bytes,
) -> bool:
    """False: another attempt has begun."""
    changed = await connection.execute(
        "update exports set state = 'ready', pieces = $3, piece_bytes = $4, bytes = $5, ready_at = $6, expires_at = $7,"
        " token_hash = $8, done = total where id = $1 and prefix = $2 and state = 'running'",
        id,
        prefix,
        pieces,
        piece_bytes,
        size,
        at,
        expires_at,
        token_hash,
    )
    return changed == "UPDATE 1"


async def fail(connection: Connection, id: UUID) -> str | None:
    """Given up; the prefix of what was stored."""
    prefix: str | None = await connection.fetchval(
        "update exports set state = 'failed' where id = $1 and state in ('waiting', 'running') returning prefix", id
    )
    return prefix


async def expire(connection: Connection, at: datetime, user_id: UUID | None = None) -> list[str]:
    """Archives that are past their time, or all of one account that are ready: prefixes of what was stored."""
    rows = await connection.fetch(
        "update exports set state = 'expired', token_hash = null where state = 'ready'"
        " and (expires_at <= $1 or user_id = $2) returning prefix",
        at,
        user_id,
    )
    return [row["prefix"] for row in rows if row["prefix"] is not None]


async def prefixes_of(connection: Connection, user_id: UUID) -> list[str]:
    rows = await connection.fetch(
        "select prefix from exports where user_id = $1 and prefix is not null and state <> 'expired'", user_id
    )
    return [row["prefix"] for row in rows]


async def forget_exports(connection: Connection, before: datetime) -> None:
    await connection.execute("delete from exports where state in ('expired', 'failed') and asked_at < $1", before)


# leaving


async def lock_account(connection: Connection, user_id: UUID) -> bool:
    """Hold the account's row until the transaction ends; False: it is gone."""
    return bool(await connection.fetchval("select true from users where id = $1 for update", user_id))


async def depart(connection: Connection, user_id: UUID, at: datetime, due_at: datetime) -> bool:
    """False: it is leaving already."""
    done = await connection.execute(
        "insert into departures (user_id, asked_at, due_at) values ($1, $2, $3) on conflict do nothing",
        user_id,
        at,
        due_at,
    )
    await connection.execute("update users set disabled_at = $2 where id = $1 and disabled_at is null", user_id, at)
    return done == "INSERT 0 1"


async def lock_departure(connection: Connection, user_id: UUID) -> datetime | None:
    """When it is due, held until the transaction ends."""
    due: datetime | None = await connection.fetchval(
        "select due_at from departures where user_id = $1 for update", user_id
    )
    return due


async def come_back(connection: Connection, user_id: UUID) -> None:
    """An account that was disabled by somebody else meanwhile, or before, stays so."""
    await connection.execute(
        "with gone as (delete from departures where user_id = $1 returning asked_at)"
        " update users set disabled_at = null from gone where id = $1 and disabled_at = gone.asked_at",
        user_id,
    )


async def due_departures(connection: Connection, at: datetime, limit: int) -> list[UUID]:
    rows = await connection.fetch(
        "select user_id from departures where due_at <= $1 order by due_at limit $2", at, limit
    )
    return [row["user_id"] for row in rows]


async def delete_account(connection: Connection, user_id: UUID) -> None:
    """The account and, by their references, all that belongs to it alone."""
    # These two know accounts by their ids only: the kit's tables stand below identity's.
    await connection.execute("delete from idempotency_keys where user_id = $1", user_id)
    await connection.execute("delete from account_changes where user_id = $1", user_id)
    await connection.execute("delete from users where id = $1", user_id)


def _export(row: asyncpg.Record | None) -> Export | None:
    return None if row is None else Export(**dict(row))
