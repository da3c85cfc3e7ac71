"""All SQL of profiles. Every function works in its caller's transaction. No row means: everything as by default."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from server.identity.profile.models import Details, Link, Preferences, Privacy
from storage.postgres import Connection

T = TypeVar("T", bound=msgspec.Struct)

_COLUMNS = (
    "version, bio, website, location, links, avatar, username_changed_at, preferences, preferences_version, privacy,"
    " privacy_version"
)


async def details(connection: Connection, user_id: UUID) -> Details:
    row = await connection.fetchrow(f"select {_COLUMNS} from profiles where user_id = $1", user_id)
    return Details() if row is None else _details(row)


async def lock(connection: Connection, user_id: UUID) -> Details:
    """The row, made when there is none, held until the transaction ends."""
    await connection.execute("insert into profiles (user_id) values ($1) on conflict do nothing", user_id)
    row = await connection.fetchrow(f"select {_COLUMNS} from profiles where user_id = $1 for update", user_id)
    assert row is not None
    return _details(row)


async def many(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Details]:
    rows = await connection.fetch(
        f"select user_id, {_COLUMNS} from profiles where user_id = any($1::uuid[])", list(ids)
    )
    return {row["user_id"]: _details(row) for row in rows}


async def edit(connection: Connection, user_id: UUID, details: Details, display_name: str) -> None:
    await connection.execute(
        "update profiles set version = version + 1, bio = $2, website = $3, location = $4, links = $5"
        " where user_id = $1",
        user_id,
        details.bio,
        details.website,
        details.location,
        _json(details.links),
    )
    await connection.execute("update users set display_name = $2 where id = $1", user_id, display_name)


async def set_avatar(connection: Connection, user_id: UUID, name: str | None) -> None:
    await connection.execute("update profiles set avatar = $2, version = version + 1 where user_id = $1", user_id, name)


async def avatar_in_use(connection: Connection, name: str) -> bool:
    return bool(await connection.fetchval("select exists (select from profiles where avatar = $1)", name))


async def set_preferences(connection: Connection, user_id: UUID, preferences: Preferences) -> None:
    await connection.execute(
        "update profiles set preferences = $2, preferences_version = preferences_version + 1 where user_id = $1",
        user_id,
        _json(preferences),
    )


async def set_privacy(connection: Connection, user_id: UUID, privacy: Privacy) -> None:
    await connection.execute(
        "update profiles set privacy = $2, privacy_version = privacy_version + 1 where user_id = $1",
        user_id,
        _json(privacy),
    )


async def rename(connection: Connection, user_id: UUID, username: str, at: datetime | None) -> bool:
    """False: somebody has the name, or had it lately. Raises nothing for it, so the transaction goes on."""
    taken = await connection.fetchval(
        "select exists (select from users where username_key = lower($2) and id <> $1)", user_id, username
    )
    if taken:
        return False
    try:
        async with connection.transaction():
            done = await connection.execute("update users set username = $2 where id = $1", user_id, username)
    except asyncpg.UniqueViolationError:  # in the same moment
        return False
    if done != "UPDATE 1":
        return False
    await connection.execute(
        "update profiles set username_changed_at = $2, version = version + 1 where user_id = $1", user_id, at
    )
    return True


async def hold_username(connection: Connection, username: str, user_id: UUID | None, until: datetime) -> None:
    """Nobody else gets the name until then."""
    await connection.execute(
        "insert into held_usernames (digest, user_id, until) values (username_digest($1), $2, $3)"
        " on conflict (digest) do update set user_id = excluded.user_id, until = excluded.until",
        username,
        user_id,
        until,
    )


async def release_usernames(connection: Connection, before: datetime) -> None:
    await connection.execute("delete from held_usernames where until < $1", before)


def _details(row: asyncpg.Record) -> Details:
    values = dict(row)
    values.pop("user_id", None)
    values["links"] = msgspec.json.decode(values["links"], type=list[Link])
    values["preferences"] = _settings(values["preferences"], Preferences)
    values["privacy"] = _settings(values["privacy"], Privacy)
    return Details(**values)


def _settings(text: str, kind: type[T]) -> T:
    """Read leniently: another release may have written fields, or values of a field, that this one does not know."""
    given = msgspec.json.decode(text)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError:
        pass
    known: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in given:
            with contextlib.suppress(msgspec.ValidationError):
                known[field.name] = msgspec.convert(given[field.encode_name], field.type)
    return kind(**known)


def _json(value: msgspec.Struct | Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(value).decode()
