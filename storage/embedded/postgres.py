"""The embedded PostgreSQL: owns one cluster under the data folder and the server process that serves it.

The server is our child and ends with `close`. After a kill -9 of this process it lives on without clients until the
next `start` on the same folder, which ends it (crash-safe: fsync and synchronous_commit are on) and starts its own. A
server that dies by itself is started again on the same address. One process at a time owns a folder, by a lock file
that the operating system releases when its holder dies.

    DATA/lock         held while in use; has the holder's process id
    DATA/cluster/     PostgreSQL's own files, made under another name and renamed when whole
    DATA/run/         its socket, 0700 (or a pointer to a short private folder)
    DATA/server.log   what it said, renewed at 10 MB on start
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg

from storage.embedded import account as accounts
from storage.embedded import binaries, orphan, socket
from storage.embedded.errors import EmbeddedError, explain

_log = logging.getLogger(__name__)

USER = "postgres"
DATABASE = "social_flow"
_START_SECONDS = 120.0
"""Recovery after a crash may take a while; a server that is at work on it answers that it is starting."""
_LOG_BYTES = 10 * 1024 * 1024

_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(socket.PORT),
    "max_connections": "200",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "idle_in_transaction_session_timeout": "60s",
    # Errors go to the client that made them; its statements, with people's data, do not go to a file.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "cluster_name": "social-flow",
}


class EmbeddedPostgres:
    """A PostgreSQL under `data_dir`, reached only through a socket in a private folder.

    options: further server settings, over ours (tests turn fsync off).
    """

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] | None = None) -> None:
        self._dir = data_dir
        self._cluster = data_dir / "cluster"
        self._options = {**_OPTIONS, **(options or {})}
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._account: accounts.Account | None = None
        self._binaries: binaries.Binaries | None = None
        self._socket: Path | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._log_start = 0
        self._restarts = 0

    async def start(self) -> str:
        """Make the cluster if there is none, start the server, and return its address. Raises EmbeddedError."""
        try:
            await asyncio.to_thread(self._prepare)
            await asyncio.to_thread(self._launch)
            await self._ready()
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError):
                raise EmbeddedError(
                    f"the embedded PostgreSQL in {self._dir} does not start: {error.strerror or error}"
                    + (f" ({error.filename})" if error.filename else "")
                    + (
                        f". Give the folder to the user this runs as: chown -R USER {self._dir}"
                        if isinstance(error, PermissionError)
                        else ""
                    )
                ) from error
            raise
        self._watcher = asyncio.create_task(self._watch(), name="embedded-postgres")
        return self.dsn

    async def close(self) -> None:
        """Stop the server (its clients are disconnected, everything committed stays) and let the folder go."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        await asyncio.to_thread(self._stop)

    def describe(self) -> dict[str, object]:
        return {
            "folder": str(self._dir),
            "version": self._binaries.major if self._binaries else None,
            "process": self._process.pid if self._process else None,
            "restarts": self._restarts,
        }

    @property
    def dsn(self) -> str:
        """The address, once started."""
        if self._socket is None:
            raise EmbeddedError("the embedded PostgreSQL is not started")
        return self._address(DATABASE)

    def _address(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={quote(str(self._socket), safe='/')}&port={socket.PORT}"

    # what follows runs in a thread

    def _prepare(self) -> None:
        self._dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._binaries = binaries.find(self._cluster)
        if os.geteuid() == 0:
            # The server's user passes through; what it owns inside is closed to everybody else.
            self._dir.chmod(0o711)
        self._account = accounts.choose(self._cluster, [self._dir, self._binaries.bin])
        orphan.end_orphan(self._cluster)
        if self._cluster.exists():
            accounts.hold(self._cluster, self._account)
        else:
            self._make_cluster()

    def _take_lock(self) -> None:
        lock = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise EmbeddedError(
                f"the embedded PostgreSQL in {self._dir} is in use by process {holder}: "
                "stop that one, or give this one a DATA_DIR of its own"
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def _make_cluster(self) -> None:
        assert self._account is not None
        assert self._binaries is not None
        fresh = self._dir / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.give(fresh)
        command = [
            self._binaries.initdb,
            *("-D", str(fresh), "-U", USER, "--auth=trust", "--encoding=UTF8"),
            # The same order of text on every machine; no dependence on the system's locales.
            *(("--locale-provider=builtin", "--locale=C.UTF-8") if self._binaries.major >= 17 else ("--locale=C",)),
        ]
        with open(self._dir / "initdb.log", "wb+") as log:
            process = self._account.spawn(command, fresh, log.fileno())
            try:
                failed = process.wait(timeout=_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                failed = 1
            if failed:
                log.seek(0)
                output = log.read().decode(errors="replace")
                shutil.rmtree(fresh, ignore_errors=True)
                raise explain(self._dir, output)
        (self._dir / "initdb.log").unlink()
        fresh.rename(self._cluster)

    def _launch(self) -> None:
        assert self._account is not None
        assert self._binaries is not None
        if self._socket is None:
            self._socket = socket.make(self._dir, self._account)
        options = {**self._options, "unix_socket_directories": str(self._socket)}
        if self._binaries.major >= 18:
            # Worker processes for reading pay on large machines; here they are only more processes.
            options.setdefault("io_method", "sync")
        command = [self._binaries.postgres, "-D", str(self._cluster)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        path = self._dir / "server.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(self._dir / "server.log.1")
        with open(path, "ab") as log:
            self._log_start = log.tell()
            self._process = self._account.spawn(command, self._cluster, log.fileno())

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for sign, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(sign)
                try:
                    process.wait(timeout=seconds)
                    break
                except subprocess.TimeoutExpired:
                    _log.error("the embedded PostgreSQL does not stop on %s", sign.name)
        if self._lock is not None:
            # The socket's folder is ours to touch only while the lock is.
            if self._socket is not None:
                socket.discard(self._dir)
                self._socket = None
            os.close(self._lock)
            self._lock = None

    def _said(self) -> str:
        with contextlib.suppress(OSError), open(self._dir / "server.log", "rb") as log:
            log.seek(self._log_start)
            return log.read(64 * 1024).decode(errors="replace")
        return ""

    # what follows runs on the loop

    async def _ready(self) -> None:
        """Wait until a connection is accepted. A server that answers "starting up" gets its time; a dead one none."""
        deadline = time.monotonic() + _START_SECONDS
        pause = 0.005
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise explain(self._dir, await asyncio.to_thread(self._said))
            try:
                connection = await asyncpg.connect(self._address(DATABASE), timeout=5)
            except asyncpg.InvalidCatalogNameError:
                await self._create_database()
                continue
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, TimeoutError):
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"the embedded PostgreSQL in {self._dir} is not ready after {_START_SECONDS:.0f} s; "
                        f"see {self._dir / 'server.log'}"
                    ) from None
                await asyncio.sleep(pause)
                pause = min(0.1, pause * 1.2)
                continue
            await connection.close()
            return

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self._address("postgres"), timeout=5)
        try:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close()

    async def _watch(self) -> None:
        """Start the server again when it dies by itself (the kernel ended it for memory, say)."""
        pause = 1.0
        while True:
            await asyncio.sleep(1.0)
            if self._process is not None and self._process.poll() is None:
                pause = 1.0
                continue
            self._restarts += 1
            _log.error("the embedded PostgreSQL died; starting it again")
            try:
                await asyncio.to_thread(orphan.end_orphan, self._cluster)
                await asyncio.to_thread(self._launch)
                await self._ready()
            except (EmbeddedError, OSError) as error:
                _log.error("%s; next attempt in %.0f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(30.0, pause * 2)
