"""All SQL of API keys. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from server.identity.apikeys.models import ApiKey
from storage.postgres import Connection

_KEY = "id, name, prefix, scopes, created_at, expires_at, last_used_at"
_HOLDER = (
    "select k.id, k.hash, k.scopes, k.expires_at, u.id as user_id, u.username, u.roles, u.tier, u.disabled_at"
    " from api_keys k join users u on u.id = k.user_id"
)


@dataclass(frozen=True, slots=True)
class Held:
    """A key beside its account, as they stand now."""

    id: UUID
    hash: bytes
    scopes: frozenset[str]
    expires_at: datetime | None
    user_id: UUID
    username: str
    roles: frozenset[str]
    tier: str
    disabled: bool


async def lock_account(connection: Connection, user_id: UUID) -> None:
    """Until the end of the transaction nobody else makes a key for this account."""
    await connection.execute("select 1 from users where id = $1 for no key update", user_id)


async def count(connection: Connection, user_id: UUID) -> int:
    found: int = await connection.fetchval("select count(*) from api_keys where user_id = $1", user_id)
    return found


async def insert(connection: Connection, user_id: UUID, key: ApiKey, digest: bytes) -> None:
    await connection.execute(
        "insert into api_keys (id, user_id, name, prefix, hash, scopes, created_at, expires_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        key.id,
        user_id,
        key.name,
        key.prefix,
        digest,
        key.scopes,
        key.created_at,
        key.expires_at,
    )


async def of_account(connection: Connection, user_id: UUID) -> list[ApiKey]:
    rows = await connection.fetch(f"select {_KEY} from api_keys where user_id = $1 order by id desc", user_id)
    return [ApiKey(**dict(row)) for row in rows]


async def delete(connection: Connection, user_id: UUID, id: UUID) -> ApiKey | None:
    """The key that is gone now; None when the account has no such key."""
    row = await connection.fetchrow(
        f"delete from api_keys where id = $1 and user_id = $2 returning {_KEY}", id, user_id
    )
    return None if row is None else ApiKey(**dict(row))


async def by_prefix(connection: Connection, prefix: str) -> Held | None:
    row = await connection.fetchrow(f"{_HOLDER} where k.prefix = $1", prefix)
    return None if row is None else _held(row)


async def by_ids(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Held]:
    rows = await connection.fetch(f"{_HOLDER} where k.id = any($1::uuid[])", list(ids))
    return {row["id"]: _held(row) for row in rows}


async def used(connection: Connection, moments: Mapping[UUID, datetime]) -> None:
    # in one order, so that two processes that write at once do not wait for each other in a ring
    ids = sorted(moments)
    await connection.execute(
        "update api_keys k set last_used_at = seen.at"
        " from (select * from unnest($1::uuid[], $2::timestamptz[]) as t (id, at) order by id) seen"
        " where k.id = seen.id and (k.last_used_at is null or k.last_used_at < seen.at)",
        ids,
        [moments[id] for id in ids],
    )


def _held(row: asyncpg.Record) -> Held:
    return Held(
        id=row["id"],
        hash=row["hash"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        user_id=row["user_id"],
        username=row["username"],
        roles=frozenset(row["roles"]),
        tier=row["tier"],
        disabled=row["disabled_at"] is not None,
    )
