"""All SQL about accounts, sessions and signing keys. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from server.identity.models import Account, Facts, Person, Session
from server.kit.auth import FREE
from storage.postgres import Connection

_ACCOUNT = (
    "u.id, u.username, u.display_name, u.email, u.email_verified_at, u.password_hash, u.roles, u.created_at, "
    "u.disabled_at, u.tier, u.email_lapsed_at, (select due_at from departures d where d.user_id = u.id) as leaves_at"
)
_SHARING_AN_ADDRESS = 200
_REVOCATION_OVERLAP = timedelta(seconds=30)  # longer than a transaction that revokes may last


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    seed: bytes
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A stored refresh token, with its session's row locked.

    lost_answer_possible: it was the last one that was used, and what was given for it has not come back.
    """

    session_id: UUID
    issued_at: datetime
    used_at: datetime | None
    revoked: bool
    expires_at: datetime
    lost_answer_possible: bool


async def insert_account(connection: Connection, account: Account, email_key: str) -> bool:
    """False: the username is taken."""
    done = await connection.execute(
        "insert into users (id, username, display_name, email, email_key, email_verified_at, password_hash, roles,"
        " created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (username_key) do nothing",
        account.id,
        account.username,
        account.display_name,
        account.email,
        email_key,
        account.email_verified_at,
        account.password_hash,
        account.roles,
        account.created_at,
    )
    return done == "INSERT 0 1"


async def by_id(connection: Connection, user_id: UUID) -> Account | None:
    return _account(await connection.fetchrow(f"select {_ACCOUNT} from users u where id = $1", user_id))


async def lock(connection: Connection, user_id: UUID) -> Account | None:
    """The account, which nobody else changes until the end of the transaction."""
    return _account(await connection.fetchrow(f"select {_ACCOUNT} from users u where id = $1 for update", user_id))


async def lock_shared(connection: Connection, user_id: UUID) -> Account | None:
    """The account as it is; until the end of the transaction nobody changes it, but others may hold it as well."""
    return _account(await connection.fetchrow(f"select {_ACCOUNT} from users u where id = $1 for share", user_id))


async def by_username(connection: Connection, name: str) -> Account | None:
    return _account(await connection.fetchrow(f"select {_ACCOUNT} from users u where username_key = lower($1)", name))


async def by_email(connection: Connection, key: str) -> list[Account]:
    """The owner of a verified address first and alone; else the accounts that only claim it, oldest first."""
    rows = await connection.fetch(
        f"select {_ACCOUNT} from users u where email_key = $1 and email_lapsed_at is null"
        " order by email_verified_at is null, created_at, id limit $2",
        key,
        _SHARING_AN_ADDRESS,
    )
    accounts = [account for row in rows if (account := _account(row)) is not None]
    return accounts[:1] if accounts and accounts[0].email_verified_at is not None else accounts


async def people(connection: Connection, ids: Collection[UUID]) -> list[Person]:
    rows = await connection.fetch("select id, username, display_name from users where id = any($1)", list(ids))
    return [Person(row["id"], row["username"], row["display_name"]) for row in rows]


async def replace_hash(connection: Connection, user_id: UUID, old: str, new: str) -> None:
    await connection.execute(
        "update users set password_hash = $3 where id = $1 and password_hash = $2", user_id, old, new
    )


async def insert_session(
    connection: Connection,
    session_id: UUID,
    user_id: UUID,
    *,
    at: datetime,
    expires_at: datetime,
    address: str,
    user_agent: str,
    device: str,
    methods: Sequence[str],
) -> None:
    await connection.execute(
        "insert into sessions (id, user_id, created_at, last_used_at, proven_at, expires_at, address, user_agent,"
        " device, methods) values ($1, $2, $3, $3, $3, $4, $5, $6, $7, $8)",
        session_id,
        user_id,
        at,
        expires_at,
        address,
        user_agent,
        device,
        list(methods),
    )


async def prove(connection: Connection, session_id: UUID, method: str, at: datetime) -> Account | None:
    """The person has shown himself again in a session that lives; its account."""
    found = await connection.fetchval(
        "update sessions set proven_at = $2,"
        " methods = case when $3 = any(methods) then methods else methods || $3::text end"
        " where id = $1 and revoked_at is null and expires_at > $2 returning id",
        session_id,
        at,
        method,
    )
    return None if found is None else await account_of_session(connection, session_id)


async def insert_refresh_token(connection: Connection, digest: bytes, session_id: UUID, at: datetime) -> None:
    await connection.execute(
        "insert into refresh_tokens (hash, session_id, issued_at) values ($1, $2, $3)", digest, session_id, at
    )


async def lock_refresh_token(connection: Connection, digest: bytes) -> RefreshToken | None:
    """The token, once nobody else is rotating tokens of its session."""
    session = await connection.fetchrow(
        "select id, revoked_at, expires_at from sessions"
        " where id = (select session_id from refresh_tokens where hash = $1) for update",
        digest,
    )
    if session is None:
        return None
    token = await connection.fetchrow(  # only now, so that it is seen as the holder of the lock before us left it
        "select issued_at, used_at from refresh_tokens where hash = $1", digest
    )
    if token is None:
        return None
    others = await connection.fetchrow(
        "select max(used_at) as last_use, bool_or(used_at is null) as unused from refresh_tokens where session_id = $1",
        session["id"],
    )
    assert others is not None
    return RefreshToken(
        session_id=session["id"],
        issued_at=token["issued_at"],
        used_at=token["used_at"],
        revoked=session["revoked_at"] is not None,
        expires_at=session["expires_at"],
        lost_answer_possible=token["used_at"] is not None
        and token["used_at"] == others["last_use"]
        and others["unused"],
    )


async def use_refresh_tokens(connection: Connection, session_id: UUID, at: datetime, older_than: datetime) -> None:
    """Every token of the session counts as used at that moment; those too old to be recognised are forgotten."""
    await connection.execute(
        "update refresh_tokens set used_at = $2 where session_id = $1 and used_at is null", session_id, at
    )
    await connection.execute(
        "delete from refresh_tokens where session_id = $1 and issued_at < $2", session_id, older_than
    )


async def prolong_session(connection: Connection, session_id: UUID, at: datetime, expires_at: datetime) -> None:
    await connection.execute(
        "update sessions set last_used_at = $2, expires_at = $3 where id = $1", session_id, at, expires_at
    )


async def account_of_session(connection: Connection, session_id: UUID) -> Account | None:
    return _account(
        await connection.fetchrow(
            f"select {_ACCOUNT} from users u join sessions s on s.user_id = u.id where s.id = $1", session_id
        )
    )


async def proven_at(connection: Connection, session_id: UUID) -> datetime:
    found: datetime = await connection.fetchval("select proven_at from sessions where id = $1", session_id)
    return found


async def session_of_token(connection: Connection, digest: bytes) -> UUID | None:
    found: UUID | None = await connection.fetchval("select session_id from refresh_tokens where hash = $1", digest)
    return found


async def live_sessions(connection: Connection, user_id: UUID) -> list[UUID]:
    rows = await connection.fetch("select id from sessions where user_id = $1 and revoked_at is null", user_id)
    return [row["id"] for row in rows]


async def end_surplus(connection: Connection, user_id: UUID, most: int, at: datetime) -> list[UUID]:
    """End the sessions of an account beyond so many, those used longest ago. Two at once end different ones."""
    rows = await connection.fetch(
        "select id from sessions where id in (select id from sessions where user_id = $1 and revoked_at is null"
        " order by last_used_at desc, id desc offset $2 limit 1000) and revoked_at is null for update skip locked",
        user_id,
        most,
    )
    ids = [row["id"] for row in rows]
    if ids:
        await revoke_sessions(connection, ids, "too many sessions", at)
    return ids


async def sessions_of(connection: Connection, user_id: UUID, at: datetime) -> list[Session]:
    rows = await connection.fetch(
        "select id, device, user_agent, address, methods, created_at, last_used_at from sessions"
        " where user_id = $1 and revoked_at is null and expires_at > $2 order by last_used_at desc, id limit 200",
        user_id,
        at,
    )
    return [Session(**dict(row)) for row in rows]


async def lock_admins(connection: Connection) -> list[UUID]:
    """The administrators; until the end of the transaction none is made or unmade elsewhere."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('administrators', 0))")
    rows = await connection.fetch("select id from users where 'admin' = any(roles) and disabled_at is null")
    return [row["id"] for row in rows]


async def tier_of(connection: Connection, user_id: UUID) -> str | None:
    tier: str | None = await connection.fetchval("select tier from users where id = $1", user_id)
    return tier


async def set_tier(connection: Connection, user_id: UUID, tier: str) -> None:
    await connection.execute("update users set tier = $2 where id = $1", user_id, tier)


async def revoke_sessions(connection: Connection, ids: Sequence[UUID], reason: str, at: datetime) -> None:
    await connection.execute(
        "update sessions set revoked_at = $2, revoked_for = $3 where id = any($1) and revoked_at is null",
        list(ids),
        at,
        reason,
    )
    await connection.execute(
        "insert into session_revocations (session_id, at) select unnest($1::uuid[]), clock_timestamp()"
        " on conflict do nothing",
        list(ids),
    )


async def revoked_since(connection: Connection, at: datetime | None) -> tuple[list[UUID], datetime]:
    """Sessions revoked since that moment of the database's clock (with an overlap), and its time now."""
    rows = await connection.fetch(
        "select session_id from session_revocations where $1::timestamptz is null or at > $1",
        None if at is None else at - _REVOCATION_OVERLAP,
    )
    moment: datetime = await connection.fetchval("select clock_timestamp()")
    return [row["session_id"] for row in rows], moment


async def account_changed(connection: Connection, user_id: UUID) -> None:
    """Have every process read again what tokens of this account mean."""
    await connection.execute(
        "insert into account_changes (user_id, at) values ($1, clock_timestamp())"
        " on conflict (user_id) do update set at = excluded.at",
        user_id,
    )


async def changed_since(connection: Connection, at: datetime | None) -> list[Facts]:
    """Accounts that changed since that moment of the database's clock (with an overlap), as they are now. One that is
    gone counts as disabled."""
    rows = await connection.fetch(
        "select c.user_id, u.username, u.roles, u.tier, u.disabled_at, u.id from account_changes c"
        " left join users u on u.id = c.user_id where $1::timestamptz is null or c.at > $1",
        None if at is None else at - _REVOCATION_OVERLAP,
    )
    return [
        Facts(
            row["user_id"],
            row["username"] or "",
            frozenset(row["roles"] or ()),
            row["tier"] or FREE,
            row["id"] is None or row["disabled_at"] is not None,
        )
        for row in rows
    ]


async def prune(connection: Connection, *, revocations_before: datetime, sessions_before: datetime) -> None:
    """Forget what no token can refer to any more. Takes a bounded number of rows at a time."""
    await connection.execute("delete from session_revocations where at < $1", revocations_before)
    await connection.execute("delete from account_changes where at < $1", revocations_before)
    await connection.execute(
        "delete from sessions where id in (select id from sessions where expires_at < $1 limit 1000)", sessions_before
    )
    await connection.execute("delete from signing_keys where retired_at < $1", revocations_before)


async def signing_keys(connection: Connection, retired_after: datetime) -> list[SigningKey]:
    """Newest first."""
    rows = await connection.fetch(
        "select kid, seed, created_at, retired_at from signing_keys where retired_at is null or retired_at > $1"
        " order by created_at desc, kid",
        retired_after,
    )
    return [SigningKey(row["kid"], row["seed"], row["created_at"], row["retired_at"]) for row in rows]


async def lock_signing_keys(connection: Connection) -> None:
    """Until the end of the transaction no other process makes a key."""
    await connection.execute("lock table signing_keys in share row exclusive mode")


async def insert_signing_key(connection: Connection, kid: str, seed: bytes, at: datetime) -> None:
    await connection.execute("insert into signing_keys (kid, seed, created_at) values ($1, $2, $3)", kid, seed, at)


async def retire_signing_keys(connection: Connection, keep: str, at: datetime) -> None:
    await connection.execute("update signing_keys set retired_at = $2 where kid <> $1 and retired_at is null", keep, at)


async def grant_roles(connection: Connection, user_id: UUID, roles: Sequence[str]) -> None:
    await connection.execute("update users set roles = $2 where id = $1", user_id, list(roles))


def _account(row: asyncpg.Record | None) -> Account | None:
    if row is None:
        return None
    return Account(**dict(row))
