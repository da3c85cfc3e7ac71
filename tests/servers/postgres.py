"""One PostgreSQL for a whole test run, shared between its worker processes.

The first worker that needs it starts a keeper process (this module run as a program); each user holds a shared lock on
a file, and the keeper ends, with the server, when it gets that lock for itself: also after a kill -9 of every worker.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import asyncpg

from storage.embedded import EmbeddedPostgres
from storage.postgres import migrate

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


class SharedPostgres:
    """This process's use of the run's PostgreSQL in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users: int | None = None

    def start(self) -> str:
        """The address of its maintenance database. Starts the server when nobody has; fails in words."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "turn", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._users = os.open(self._folder / "users", os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            address = self._folder / "address"
            if address.exists():
                return address.read_text()
            with open(self._folder / "keeper.log", "wb") as log:
                keeper = subprocess.Popen(
                    [sys.executable, "-m", "tests.servers.postgres", str(self._folder)],
                    cwd=MIGRATIONS.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            deadline = time.monotonic() + 60
            while not address.exists():
                if keeper.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("no PostgreSQL for tests:\n" + (self._folder / "keeper.log").read_text())
                time.sleep(0.01)
            # It outlives this worker on purpose, so nobody here waits for it.
            keeper.returncode = 0
            return address.read_text()

    def close(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None


async def template(address: str, folder: Path) -> str:
    """The name of a database with all migrations applied, made once per state of the migrations folder."""
    state = hashlib.sha256()
    for path in sorted(MIGRATIONS.glob("*.sql")):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    name = f"template_{state.hexdigest()[:16]}"
    with await asyncio.to_thread(_take_turn, folder / "template") as turn:
        connection = await asyncpg.connect(address)
        try:
            if not await connection.fetchval("SELECT datistemplate FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                await connection.execute(f'CREATE DATABASE "{name}"')
                await migrate(of_database(address, name), MIGRATIONS)
                await connection.execute(f'ALTER DATABASE "{name}" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false')
        finally:
            await connection.close()
            fcntl.flock(turn, fcntl.LOCK_UN)
    return name


def of_database(address: str, name: str) -> str:
    before, question, query = address.partition("?")
    return f"{before.rsplit('/', 1)[0]}/{name}{question}{query}"


def _take_turn(path: Path) -> TextIO:
    turn = open(path, "w")  # noqa: SIM115 -- handed to the caller, which closes it
    fcntl.flock(turn, fcntl.LOCK_EX)
    return turn


def _unused(folder: Path) -> bool:
    """Wait until nobody holds the users' lock; then, if it is still so in our turn, take the address away."""
    with open(folder / "users") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
    with open(folder / "turn") as turn, open(folder / "users") as users:
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (folder / "address").unlink()
        return True


async def _keep(folder: Path) -> None:
    # Tests need no disk that survives a power cut; the product's own options do.
    speed = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "400"}
    server = EmbeddedPostgres(folder / "postgres", options=speed)
    address = await server.start()
    try:
        (folder / "address.new").write_text(address)
        (folder / "address.new").rename(folder / "address")
        while not await asyncio.to_thread(_unused, folder):
            pass
    finally:
        await server.close()


if __name__ == "__main__":
    asyncio.run(_keep(Path(sys.argv[1])))
