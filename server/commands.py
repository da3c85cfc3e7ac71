"""What the commands beside the server share: the database that the settings name, and failures as one sentence.

With the embedded PostgreSQL a command joins the one that a running server keeps, else it starts it for its own time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from urllib.parse import quote

import asyncpg

from server.settings import SettingError, Settings
from storage.embedded import EmbeddedError, EmbeddedPostgres
from storage.embedded.postgres import DATABASE, USER
from storage.embedded.socket import PORT
from storage.postgres import DatabaseUnavailable, MigrationError


class CommandError(Exception):
    """What the person at the terminal has to do, in words."""


@asynccontextmanager
async def database_address(settings: Settings) -> AsyncIterator[str]:
    """The address of the database, for as long as the block lasts. Raises EmbeddedError."""
    if settings.database_url:
        yield settings.database_url
        return
    folder = settings.data_path / "postgres"
    embedded = EmbeddedPostgres(folder)
    try:
        address = await embedded.start()
    except EmbeddedError:
        running = (folder / "run").resolve()
        if not (running / f".s.PGSQL.{PORT}").exists():
            raise
        yield f"postgresql://{USER}@/{DATABASE}?host={quote(str(running), safe='/')}&port={PORT}"
        return
    try:
        yield address
    finally:
        await embedded.close()


def run(command: Coroutine[object, object, None]) -> None:
    """Run a command to its end; an error that a person can act on ends the process with that sentence."""
    try:
        asyncio.run(command)
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    except (CommandError, EmbeddedError, MigrationError, DatabaseUnavailable) as error:
        sys.exit(str(error))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"The database cannot be used: {error or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit(130)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
