"""`bin/migrate`: bring the database to this release's shape, take migrations back, or show what is applied."""

from __future__ import annotations

import argparse

import asyncpg

from server.commands import CommandError, database_address, run, say
from server.settings import Settings
from server.wiring.choices import MIGRATIONS
from storage.postgres import migrate
from storage.postgres.migrations import migrate_back


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bin/migrate", description="Apply all migrations; or one of these:")
    choice = arguments.add_mutually_exclusive_group()
    choice.add_argument("--back", type=int, metavar="N", help="take the newest N migrations back (their data is lost)")
    choice.add_argument("--status", action="store_true", help="show what is applied and what is not")
    options = arguments.parse_args()
    if options.back is not None:
        run(back(options.back))
    elif options.status:
        run(status())
    else:
        run(forward())


async def forward() -> None:
    async with database_address(Settings.load()) as address:
        done = await migrate(address, MIGRATIONS)
    for name in done:
        say(f"applied {name}")
    say("The database is up to date.")


async def back(count: int) -> None:
    if count < 1:
        raise CommandError("--back takes the number of migrations to take back, at least 1.")
    async with database_address(Settings.load()) as address:
        names = sorted(await _applied(address))
        keep = names[-count - 1] if count < len(names) else ""
        for name in await migrate_back(address, MIGRATIONS, keep):
            say(f"took back {name}")


async def status() -> None:
    async with database_address(Settings.load()) as address:
        applied = await _applied(address)
    files = {path.stem for path in MIGRATIONS.glob("*.sql")}
    for name in sorted(files | applied.keys()):
        state = applied.get(name, "not applied")
        say(f"{name:50} {state}" + ("" if name in files else "   (of another release: no file here)"))


async def _applied(address: str) -> dict[str, str]:
    """Name → when it was applied."""
    connection = await asyncpg.connect(address, timeout=10)
    try:
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            return {}
        rows = await connection.fetch("SELECT name, applied_at FROM schema_migrations")
        return {row["name"]: row["applied_at"].isoformat(timespec="seconds") for row in rows}
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
