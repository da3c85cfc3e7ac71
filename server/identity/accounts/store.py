"""SQL about what is mailed, what was tried in vain, and where accounts are at home. Every function works in its
caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from storage.postgres import Connection


@dataclass(frozen=True, slots=True)
class Mailed:
    """What a mailed token was for. email: where it went; for a change the address that will be the account's."""

    user_id: UUID
    email: str
    email_key: str


async def put_mail_token(
    connection: Connection,
    digest: bytes,
    user_id: UUID,
    purpose: str,
    email: str,
    email_key: str,
    at: datetime,
    expires_at: datetime,
) -> None:
    """In the place of an older one of the same purpose."""
    await connection.execute(
        "insert into mail_tokens (hash, user_id, purpose, email, email_key, created_at, expires_at)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict (user_id, purpose) do update set hash = excluded.hash,"
        " email = excluded.email, email_key = excluded.email_key, created_at = excluded.created_at,"
        " expires_at = excluded.expires_at",
        digest,
        user_id,
        purpose,
        email,
        email_key,
        at,
        expires_at,
    )


async def peek_mail_token(connection: Connection, digest: bytes, purpose: str, at: datetime) -> Mailed | None:
    row = await connection.fetchrow(
        "select user_id, email, email_key from mail_tokens where hash = $1 and purpose = $2 and expires_at > $3",
        digest,
        purpose,
        at,
    )
    return None if row is None else Mailed(row["user_id"], row["email"], row["email_key"])


async def take_mail_token(connection: Connection, digest: bytes, purpose: str, at: datetime) -> Mailed | None:
    """The token, which is gone with this transaction; None when it is unknown or has expired."""
    row = await connection.fetchrow(
        "delete from mail_tokens where hash = $1 and purpose = $2 returning user_id, email, email_key, expires_at",
        digest,
        purpose,
    )
    if row is None or row["expires_at"] <= at:
        return None
    return Mailed(row["user_id"], row["email"], row["email_key"])


async def void_mail_tokens(connection: Connection, user_id: UUID, purposes: Sequence[str]) -> None:
    await connection.execute(
        "delete from mail_tokens where user_id = $1 and purpose = any($2)", user_id, list(purposes)
    )


async def lock_address(connection: Connection, email_key: str) -> None:
    """Until the end of the transaction nobody else decides whose address this is."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('address ' || $1, 0))", email_key)


async def own_address(connection: Connection, user_id: UUID, email: str, email_key: str, at: datetime) -> bool:
    """The account has shown that it reads this address: it is its own from now on. False: another account's it is."""
    try:
        async with connection.transaction():
            await connection.execute(
                "update users set email = $2, email_key = $3, email_verified_at = $4, email_lapsed_at = null"
                " where id = $1",
                user_id,
                email,
                email_key,
                at,
            )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def lapse_claims(connection: Connection, email_key: str, owner_id: UUID, at: datetime) -> None:
    """Whoever else claims the address has no longer a claim, nor a token that could make it good."""
    await connection.execute(
        "delete from mail_tokens t using users u where t.user_id = u.id and u.id <> $2 and t.email_key = $1",
        email_key,
        owner_id,
    )
    await connection.execute(
        "update users set email_lapsed_at = $3"
        " where email_key = $1 and id <> $2 and email_verified_at is null and email_lapsed_at is null",
        email_key,
        owner_id,
        at,
    )


async def lapse(connection: Connection, user_id: UUID, at: datetime | None) -> None:
    await connection.execute("update users set email_lapsed_at = $2 where id = $1", user_id, at)


async def set_password(connection: Connection, user_id: UUID, hash: str) -> None:
    await connection.execute("update users set password_hash = $2 where id = $1", user_id, hash)


async def attempt(
    connection: Connection,
    key: bytes,
    *,
    after: int,
    wait: float,
    most: float,
    forget: timedelta,
    at: datetime,
) -> tuple[int, float]:
    """Count one attempt as failed until it is forgiven: how many there were with it, and 0; or, when it has to wait,
    0 and for how long, s. Whoever tries at the same time waits for this transaction."""
    row = await connection.fetchrow(
        "with given as (select $1::bytea as key, $2::timestamptz as at, $3::int as after, $4::float8 as wait,"
        " $5::float8 as most, $6::interval as forget)"
        " insert into attempts as a (key, failures, last_at, blocked_until)"
        " select key, 1, at,"
        " case when after <= 1 then at + make_interval(secs => least(wait, most)) else '-infinity' end"
        " from given on conflict (key) do update set"
        " failures = case when a.last_at < $2::timestamptz - $6::interval then 1 else a.failures + 1 end,"
        " last_at = $2::timestamptz,"
        " blocked_until = case"
        "   when (case when a.last_at < $2::timestamptz - $6::interval then 1 else a.failures + 1 end) < $3::int"
        "   then '-infinity'"  # no moment: others who came at the same time, by another clock, must not wait for it
        "   else $2::timestamptz + make_interval("
        "     secs => least($4::float8 * power(2::float8, least(a.failures + 1 - $3::int, 30)), $5::float8)) end"
        " where a.blocked_until <= $2::timestamptz returning failures",
        key,
        at,
        after,
        wait,
        most,
        forget,
    )
    if row is not None:
        return row["failures"], 0.0
    until: datetime = await connection.fetchval("select blocked_until from attempts where key = $1", key)
    return 0, max(0.001, (until - at).total_seconds())


async def forgive(connection: Connection, keys: Collection[bytes]) -> None:
    await connection.execute("delete from attempts where key = any($1)", list(keys))


async def uncount(connection: Connection, keys: Collection[bytes]) -> None:
    """The last attempt was none in vain."""
    await connection.execute(
        "update attempts set failures = failures - 1, blocked_until = '-infinity'"
        " where key in (select key from attempts where key = any($1) and failures > 0 order by key for update)",
        list(keys),
    )


async def is_known(connection: Connection, users: Collection[UUID], keys: Sequence[bytes]) -> set[bytes]:
    """Which of these devices and networks one of the accounts has signed in from."""
    rows = await connection.fetch(
        "select distinct key from known_devices where user_id = any($1) and key = any($2)", list(users), list(keys)
    )
    return {row["key"] for row in rows}


async def remember(connection: Connection, user_id: UUID, keys: Sequence[bytes], at: datetime, most: int) -> int:
    """The account is at home there. How many of the keys it had been seen with before; none for its first sign-in
    counts as all."""
    before = await connection.fetch("select key from known_devices where user_id = $1 limit $2", user_id, most * 2)
    known = {row["key"] for row in before}
    await connection.execute(
        "insert into known_devices (user_id, key, last_used_at) select $1, k, $3 from unnest($2::bytea[]) k"
        " on conflict (user_id, key) do update set last_used_at = excluded.last_used_at",
        user_id,
        sorted(keys),
        at,
    )
    await connection.execute(
        "delete from known_devices where user_id = $1 and key in (select key from known_devices where user_id = $1"
        " order by last_used_at desc offset $2)",
        user_id,
        most,
    )
    return len(known & set(keys)) if known else len(keys)


async def prune(connection: Connection, at: datetime, forget: timedelta, unused: timedelta) -> None:
    """A bounded number of rows at a time."""
    await connection.execute(
        "delete from mail_tokens where hash in (select hash from mail_tokens where expires_at < $1 limit 1000)", at
    )
    await connection.execute(
        "delete from attempts where key in"
        " (select key from attempts where last_at < $1 and blocked_until < $2 limit 10000)",
        at - forget,
        at,
    )
    await connection.execute(
        "delete from known_devices where (user_id, key) in"
        " (select user_id, key from known_devices where last_used_at < $1 limit 10000)",
        at - unused,
    )
