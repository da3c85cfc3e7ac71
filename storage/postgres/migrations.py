"""Changes of the database's shape: files `NNNN_area_what.sql`, applied in the order of their names, each in one
transaction.

The way back stands in the same file below a line `-- back`. `schema_migrations` remembers what was applied and the
SHA-256 of its forward part: a file that was changed afterwards is refused, as no two databases would be alike.
A migration must get its locks within 5 s and end within 5 min; then it is rolled back and may be tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_log = logging.getLogger(__name__)

_LOCK = 7_310_584_120_394_411
"""The advisory lock by which two processes that start at once take turns."""
_LOCK_SECONDS = 120.0
_NAME = re.compile(r"\d{4}_[a-z0-9]+_[a-z0-9_]+\.sql")
_BACK = re.compile(r"^--\s*back\s*$", re.MULTILINE)


class MigrationError(Exception):
    """The database cannot be brought to this release's shape. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    forward: str
    back: str
    sha: str


async def migrate(dsn: str, folder: Path) -> list[str]:
    """Apply what is not applied yet; returns the names. Raises MigrationError, after which nothing is half done."""
    migrations = await asyncio.to_thread(_read, folder)
    async with _exclusive(dsn) as connection:
        applied = await _applied(connection)
        _refuse_changed(migrations, applied)
        unknown = sorted(set(applied) - {migration.name for migration in migrations})
        if unknown:
            # An older release beside or after a newer one: shapes only grow until both are gone, so it may run.
            _log.warning("the database has migrations of another release: %s", ", ".join(unknown))
        done = []
        for migration in migrations:
            if migration.name in applied:
                continue
            await _run(connection, migration, migration.forward, "failed")
            _log.info("migrated %s", migration.name)
            done.append(migration.name)
        return done


async def migrate_back(dsn: str, folder: Path, to: str = "") -> list[str]:
    """Take back, newest first, every migration whose name is greater than `to` (all by default); returns the names."""
    known = {migration.name: migration for migration in await asyncio.to_thread(_read, folder)}
    async with _exclusive(dsn) as connection:
        done = []
        for name in sorted(await _applied(connection), reverse=True):
            if name <= to:
                break
            migration = known.get(name)
            if migration is None:
                raise MigrationError(f"{name} is applied but its file is not here: take it back with its own release")
            if not migration.back.strip():
                raise MigrationError(f"{name} has no way back")
            await _run(connection, migration, migration.back, "could not be taken back", forward=False)
            done.append(name)
        return done


def _read(folder: Path) -> list[Migration]:
    if not folder.is_dir():
        raise MigrationError(f"there is no folder {folder} with migrations")
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        if not _NAME.fullmatch(path.name):
            raise MigrationError(f"{path.name}: a migration is called NNNN_area_what.sql")
        text = path.read_text(encoding="utf-8")
        forward, *back = _BACK.split(text)
        if len(back) > 1:
            raise MigrationError(f"{path.name} has more than one line `-- back`")
        sha = hashlib.sha256("\n".join(line.rstrip() for line in forward.strip().splitlines()).encode()).hexdigest()
        migrations.append(Migration(path.stem, forward, back[0] if back else "", sha))
    return migrations


@asynccontextmanager
async def _exclusive(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn, timeout=10, server_settings={"application_name": "social-flow migrate"})
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        # Asked for again and again, not waited for: a waiting statement would hold back vacuum and index builds.
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            if time.monotonic() > deadline:
                raise MigrationError("another process is migrating this database; try again when it is done")
            await asyncio.sleep(0.05)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now(), sha text NOT NULL)"
        )
        yield connection
    finally:
        # The lock ends with the connection.
        await connection.close(timeout=5)


async def _applied(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, str]:
    rows = await connection.fetch("SELECT name, sha FROM schema_migrations")
    return {row["name"]: row["sha"] for row in rows}


def _refuse_changed(migrations: list[Migration], applied: dict[str, str]) -> None:
    for migration in migrations:
        if applied.get(migration.name, migration.sha) != migration.sha:
            raise MigrationError(
                f"{migration.name}.sql was changed after it was applied to this database: "
                "put it back as it was and write a new migration"
            )


async def _run(
    connection: asyncpg.Connection[asyncpg.Record],
    migration: Migration,
    sql: str,
    failed: str,
    *,
    forward: bool = True,
) -> None:
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '300s'")
            await connection.execute(sql)
            if forward:
                await connection.execute(
                    "INSERT INTO schema_migrations (name, sha) VALUES ($1, $2)", migration.name, migration.sha
                )
            else:
                await connection.execute("DELETE FROM schema_migrations WHERE name = $1", migration.name)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration.name} {failed}: {error}") from error
