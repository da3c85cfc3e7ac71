"""All SQL about second factors. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from storage.postgres import Connection

_PASSKEY = (
    "id, user_id, credential_id, public_key, sign_count, name, aaguid, transports, synced, created_at, last_used_at"
)


@dataclass(frozen=True, slots=True)
class TotpRow:
    """secret: sealed, None while no app is confirmed. pending: sealed, shown but not confirmed."""

    secret: bytes | None
    confirmed_at: datetime | None
    last_step: int
    pending: bytes | None
    pending_at: datetime | None


@dataclass(frozen=True, slots=True)
class PasskeyRow:
    id: UUID
    user_id: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    name: str
    aaguid: UUID
    transports: list[str]
    synced: bool
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """Which factors an account has. recovery_codes: those that are left."""

    totp_since: datetime | None
    passkeys: int
    recovery_codes: int


async def held(connection: Connection, user_id: UUID) -> Held:
    row = await connection.fetchrow(
        "select (select confirmed_at from totp_secrets where user_id = $1) as totp_since,"
        " (select count(*) from passkeys where user_id = $1) as passkeys,"
        " (select count(*) from recovery_codes where user_id = $1 and used_at is null) as codes",
        user_id,
    )
    assert row is not None
    return Held(row["totp_since"], row["passkeys"], row["codes"])


async def lock_account(connection: Connection, user_id: UUID) -> None:
    """Until the end of the transaction nobody else changes or uses factors of this account."""
    await connection.execute("select 1 from users where id = $1 for no key update", user_id)


# authenticator app


async def totp(connection: Connection, user_id: UUID) -> TotpRow | None:
    row = await connection.fetchrow(
        "select secret, confirmed_at, last_step, pending, pending_at from totp_secrets where user_id = $1", user_id
    )
    return None if row is None else TotpRow(**dict(row))


async def set_pending(connection: Connection, user_id: UUID, sealed: bytes, at: datetime) -> None:
    await connection.execute(
        "insert into totp_secrets (user_id, pending, pending_at) values ($1, $2, $3)"
        " on conflict (user_id) do update set pending = excluded.pending, pending_at = excluded.pending_at",
        user_id,
        sealed,
        at,
    )


async def confirm_pending(connection: Connection, user_id: UUID, step: int, at: datetime) -> None:
    await connection.execute(
        "update totp_secrets set secret = pending, confirmed_at = $3, last_step = $2, pending = null,"
        " pending_at = null where user_id = $1",
        user_id,
        step,
        at,
    )


async def use_step(connection: Connection, user_id: UUID, step: int) -> bool:
    """False: a code of this time step, or of a later one, was used before."""
    done = await connection.execute(
        "update totp_secrets set last_step = $2 where user_id = $1 and last_step < $2", user_id, step
    )
    return done == "UPDATE 1"


async def delete_totp(connection: Connection, user_id: UUID) -> bool:
    """False: there was no confirmed one."""
    return bool(
        await connection.fetchval(
            "delete from totp_secrets where user_id = $1 returning confirmed_at is not null", user_id
        )
    )


# recovery codes


async def replace_codes(connection: Connection, user_id: UUID, hashes: Sequence[bytes]) -> None:
    await connection.execute("delete from recovery_codes where user_id = $1", user_id)
    await connection.execute(
        "insert into recovery_codes (user_id, hash) select $1, unnest($2::bytea[])", user_id, list(hashes)
    )


async def use_code(connection: Connection, user_id: UUID, hash: bytes, at: datetime) -> bool:
    """False: no such code, or it was used before."""
    done = await connection.execute(
        "update recovery_codes set used_at = $3 where user_id = $1 and hash = $2 and used_at is null",
        user_id,
        hash,
        at,
    )
    return done == "UPDATE 1"


# passkeys


async def passkeys_of(connection: Connection, user_id: UUID) -> list[PasskeyRow]:
    """Oldest first."""
    rows = await connection.fetch(
        f"select {_PASSKEY} from passkeys where user_id = $1 order by created_at, id", user_id
    )
    return [_passkey(row) for row in rows]


async def passkey_by_credential(connection: Connection, credential_id: bytes) -> PasskeyRow | None:
    row = await connection.fetchrow(f"select {_PASSKEY} from passkeys where credential_id = $1", credential_id)
    return None if row is None else _passkey(row)


async def insert_passkey(connection: Connection, row: PasskeyRow) -> bool:
    """False: somebody has this credential already."""
    done = await connection.execute(
        f"insert into passkeys ({_PASSKEY}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " on conflict (credential_id) do nothing",
        row.id,
        row.user_id,
        row.credential_id,
        row.public_key,
        row.sign_count,
        row.name,
        row.aaguid,
        row.transports,
        row.synced,
        row.created_at,
        row.last_used_at,
    )
    return done == "INSERT 0 1"


async def use_passkey(connection: Connection, id: UUID, sign_count: int, at: datetime) -> bool:
    """False: the counter did not rise (WebAuthn, section 6.1.1), or the passkey is gone. 0 is none at all."""
    done = await connection.execute(
        "update passkeys set sign_count = $2, last_used_at = $3"
        " where id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0))",
        id,
        sign_count,
        at,
    )
    return done == "UPDATE 1"


async def rename_passkey(connection: Connection, user_id: UUID, id: UUID, name: str) -> PasskeyRow | None:
    row = await connection.fetchrow(
        f"update passkeys set name = $3 where id = $2 and user_id = $1 returning {_PASSKEY}", user_id, id, name
    )
    return None if row is None else _passkey(row)


async def delete_passkey(connection: Connection, user_id: UUID, id: UUID) -> str | None:
    """Its name; None: the account has no such passkey."""
    name: str | None = await connection.fetchval(
        "delete from passkeys where id = $2 and user_id = $1 returning name", user_id, id
    )
    return name


# challenges and wrong answers


async def attempt(connection: Connection, id: UUID, expires_at: datetime, most: int) -> bool:
    """Count one answer to a challenge; False: it was answered already, or tried too often."""
    counted = await connection.fetchval(
        "insert into factor_challenges as c (id, attempts, expires_at) values ($1, 1, $2)"
        " on conflict (id) do update set attempts = c.attempts + 1 where c.spent_at is null and c.attempts < $3"
        " returning attempts",
        id,
        expires_at,
        most,
    )
    return counted is not None


async def spend(connection: Connection, id: UUID, at: datetime) -> None:
    await connection.execute("update factor_challenges set spent_at = $2 where id = $1", id, at)


async def failures(connection: Connection, user_id: UUID, kind: str) -> tuple[int, datetime | None, datetime | None]:
    """How many wrong answers in a row, when the last was, and until when no more are heard."""
    row = await connection.fetchrow(
        "select failures, failed_at, locked_until from factor_failures where user_id = $1 and kind = $2", user_id, kind
    )
    return (0, None, None) if row is None else (row["failures"], row["failed_at"], row["locked_until"])


async def set_failures(
    connection: Connection, user_id: UUID, kind: str, count: int, at: datetime, until: datetime | None
) -> None:
    await connection.execute(
        "insert into factor_failures (user_id, kind, failures, failed_at, locked_until) values ($1, $2, $3, $4, $5)"
        " on conflict (user_id, kind) do update set failures = $3, failed_at = $4, locked_until = $5",
        user_id,
        kind,
        count,
        at,
        until,
    )


async def clear_failures(connection: Connection, user_id: UUID, kind: str) -> None:
    await connection.execute("delete from factor_failures where user_id = $1 and kind = $2", user_id, kind)


async def prune(connection: Connection, now: datetime) -> None:
    """Forget challenges that nobody can answer any more, a bounded number at a time."""
    await connection.execute(
        "delete from factor_challenges where id in (select id from factor_challenges where expires_at < $1 limit 5000)",
        now,
    )


async def forget(connection: Connection, user_id: UUID) -> None:
    """Everything about an account that is being deleted."""
    for table in ("totp_secrets", "recovery_codes", "passkeys", "factor_failures"):
        await connection.execute(f"delete from {table} where user_id = $1", user_id)


def _passkey(row: asyncpg.Record) -> PasskeyRow:
    return PasskeyRow(**dict(row))
