"""What the server and the commands beside it share: the database that the settings name, and failures as one sentence.

With the embedded PostgreSQL a command joins the one that a running server keeps, else it starts it for its own time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

from server.settings import SettingError, Settings
from server.wiring.choices import CannotStart
from storage.embedded import EmbeddedError, EmbeddedPostgres
from storage.embedded.postgres import DATABASE, USER
from storage.embedded.socket import PORT
from storage.objects import StoreError
from storage.postgres import DatabaseUnavailable, MigrationError

CANNOT_START = (
    CannotStart,
    EmbeddedError,
    MigrationError,
    DatabaseUnavailable,
    StoreError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
)
"""What keeps a process from starting and is not a mistake of ours: `in_words` says it."""


class CommandError(Exception):
    """What the person at the terminal has to do, in words."""


@asynccontextmanager
async def database_address(settings: Settings) -> AsyncIterator[str]:
    """The address of the database, for as long as the block lasts. Raises EmbeddedError."""
    if settings.database_url:
        yield settings.database_url
        return
    check_data_dir(settings)
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
    settings: Settings | None = None
    try:
        settings = Settings.load()
        asyncio.run(command)
    except SettingError as error:
        command.close()
        sys.exit(f"Setting: {error}")
    except CommandError as error:
        sys.exit(str(error))
    except BrokenPipeError:  # who read along, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except CANNOT_START as error:
        sys.exit(f"Cannot start: {in_words(error, settings)}")
    except KeyboardInterrupt:
        sys.exit(130)


def in_words(error: BaseException, settings: Settings | None) -> str:
    """One of CANNOT_START as a sentence for the operator. Never has the password of DATABASE_URL in it."""
    if isinstance(error, CannotStart) and isinstance(error.__cause__, DatabaseUnavailable):
        error = error.__cause__
    if isinstance(error, (DatabaseUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError)) or _no_connection(error):
        return _database_in_words(error, settings)
    if isinstance(error, OSError):
        return _system_in_words(error)
    return str(error) or type(error).__name__


def _no_connection(error: BaseException) -> bool:
    """Also several refusals in one, which have no number, and a name that leads nowhere."""
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError) or error.filename:
        return False
    return isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)) or error.errno is None


def _database_in_words(error: BaseException, settings: Settings | None) -> str:
    if settings is None or not settings.database_url:
        return f"the embedded PostgreSQL cannot be used: {error}. Its log is postgres/server.log under DATA_DIR."
    where = database_host(settings.database_url)
    if not where or isinstance(error.__cause__, ValueError):
        # what it says may quote a part of the password
        return "DATABASE_URL cannot be read. In its password write each of / @ : # ? % as %XX."
    if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
        return f"there is no PostgreSQL at {where}. Is it running, and is DATABASE_URL right?"
    said = str(error.__cause__ or error)
    return f"the PostgreSQL at {where} cannot be used: {said}. Is DATABASE_URL right?"


def _system_in_words(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk is full ({error.filename or 'DATA_DIR'}). Free some space, or set DATA_DIR to another disk."
    if error.errno in (errno.EACCES, errno.EROFS) and error.filename:
        return f"no right to write {error.filename}. Set DATA_DIR to a folder of your own."
    if error.errno == errno.EADDRINUSE:
        return "a port is in use. Stop the other program, or set HTTP_PORT and RTMP_PORT to free ones."
    return str(error)


def database_host(address: str) -> str:
    """Where DATABASE_URL leads, without who logs in there; empty when it cannot be read."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    host = host or parse_qs(parts.query).get("host", [""])[0] or "localhost"
    return f"{host}:{port}" if port else host


def check_data_dir(settings: Settings) -> None:
    """Make DATA_DIR and try to write there, before anything is started. Raises CannotStart."""
    folder = settings.data_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise CannotStart(
            f"DATA_DIR {folder} cannot be written: {reason}. Set DATA_DIR to a folder of your own."
        ) from None


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
