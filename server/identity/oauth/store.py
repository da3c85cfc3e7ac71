"""All SQL about accounts elsewhere. Every function works in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from storage.postgres import Connection

_LINK = "id, user_id, provider, authority, subject, name, email, created_at, last_used_at"


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    user_id: UUID
    provider: str
    authority: str
    subject: str
    name: str
    email: str
    created_at: datetime
    last_used_at: datetime


async def claim_state(connection: Connection, state: bytes, expires_at: datetime, at: datetime) -> bool:
    """False: this state has come back before. Forgets some of those that have expired."""
    await connection.execute(
        "delete from signin_attempts where state in"
        " (select state from signin_attempts where expires_at < $1 limit 100 for update skip locked)",
        at,
    )
    done = await connection.execute(
        "insert into signin_attempts (state, expires_at) values ($1, $2) on conflict do nothing", state, expires_at
    )
    return done == "INSERT 0 1"


async def put_code(connection: Connection, state: bytes, code: bytes, sealed: bytes) -> None:
    await connection.execute("update signin_attempts set code = $2, sealed = $3 where state = $1", state, code, sealed)


async def take_code(connection: Connection, code: bytes) -> bytes | None:
    """What lies behind a code; from now on nothing does. The state stays, so that it is not good again."""
    row = await connection.fetchrow("select state, sealed from signin_attempts where code = $1 for update", code)
    if row is None:
        return None
    await connection.execute("update signin_attempts set code = null, sealed = null where state = $1", row["state"])
    sealed: bytes | None = row["sealed"]
    return sealed


async def find(connection: Connection, authority: str, subject: str) -> LinkRow | None:
    row = await connection.fetchrow(
        f"select {_LINK} from signin_links where authority = $1 and subject = $2", authority, subject
    )
    return None if row is None else LinkRow(**dict(row))


async def of_account(connection: Connection, user_id: UUID) -> list[LinkRow]:
    """Oldest first."""
    rows = await connection.fetch(f"select {_LINK} from signin_links where user_id = $1 order by created_at", user_id)
    return [LinkRow(**dict(row)) for row in rows]


async def insert(connection: Connection, link: LinkRow) -> None:
    """Raises asyncpg.UniqueViolationError when either side is linked already."""
    await connection.execute(
        "insert into signin_links (id, user_id, provider, authority, subject, name, email, created_at, last_used_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        link.id,
        link.user_id,
        link.provider,
        link.authority,
        link.subject,
        link.name,
        link.email,
        link.created_at,
        link.last_used_at,
    )


async def used(connection: Connection, link_id: UUID, at: datetime) -> None:
    await connection.execute("update signin_links set last_used_at = $2 where id = $1", link_id, at)


async def delete(connection: Connection, link_id: UUID) -> None:
    await connection.execute("delete from signin_links where id = $1", link_id)


async def lock_account(connection: Connection, user_id: UUID) -> str | None:
    """The hash of its password, once nobody else changes its ways in; None when there is no such account."""
    found: str | None = await connection.fetchval(
        "select password_hash from users where id = $1 for no key update", user_id
    )
    return found


async def sessions_by(connection: Connection, user_id: UUID, method: str, but: UUID) -> list[UUID]:
    """Live sessions that were opened by this method, but one."""
    rows = await connection.fetch(
        "select id from sessions where user_id = $1 and $2 = any(methods) and id <> $3 and revoked_at is null",
        user_id,
        method,
        but,
    )
    return [row["id"] for row in rows]
