"""The server under test, started as people start it, in a folder of its own, and its REST API as a client sees it.

A Server owns two processes, the database and `python -m server`, from `start` to `stop`.
"""

from __future__ import annotations

import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Cost, Process, cost, free_port

REPOSITORY = Path(__file__).resolve().parent.parent

# Everything comes from one address here, which limits for strangers are not made for. All else is as by default.
_SETTINGS = {
    "HTTP_HOST": "127.0.0.1",
    "RTMP_HOST": "127.0.0.1",
    "RATE_LIMIT_AUTH": "1000000/minute",
    "RATE_LIMIT_READ": "1000000/minute",
    "RATE_LIMIT_WRITE": "1000000/minute",
    "RTMP_CONNECTIONS_PER_ADDRESS": "1000",
    "SOCKETS_PER_ADDRESS": "20000",
    "DISK_MIN_FREE": "0",
    "LOG_LEVEL": "warning",
    "REDIS_URL": "",
    "S3_ENDPOINT": "",
}


_PATIENCE = 180.0
"""Seconds until database and server are ready: one second, but more than a minute where much else runs. It is not a
part of what is measured."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A broadcast that waits for its push. rtmp: where to push, with the key. base: URL of its media."""

    id: str
    token: str
    rtmp: str
    base: str
    channel: str


class Server:
    """cpu, database_cpu: processors they are held to, None: all."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        cpu: int | None = None,
        database_cpu: int | None = None,
        demo: bool = False,
    ) -> None:
        self.url = ""
        self.http_port = self.rtmp_port = 0
        self._folder = folder
        self._settings = dict(settings or {})
        self._cpu = cpu
        self._database_cpu = database_cpu
        self._demo = demo
        self._database: Process | None = None
        self._process: Process | None = None

    def start(self) -> Server:
        self._folder.mkdir(parents=True, exist_ok=True)
        logs = self._folder
        self._database = Process(
            [sys.executable, "-m", "bench.postgres", self._folder / "data" / "postgres"],
            log=logs / "database.log",
            cpu=self._database_cpu,
            cwd=REPOSITORY,
        )
        dsn = self._database.wait_for_line("ready ", _PATIENCE).removeprefix("ready ")
        self.http_port, self.rtmp_port = free_port(), free_port()
        settings = {
            **_SETTINGS,
            "DATABASE_URL": dsn,
            "DATA_DIR": str(self._folder / "data"),
            "HTTP_PORT": str(self.http_port),
            "RTMP_PORT": str(self.rtmp_port),
            "RTC_PORT": "0",
            "PUBLIC_URL": f"http://127.0.0.1:{self.http_port}",
            **self._settings,
        }
        command = [sys.executable, "-m", "server", *(["--demo"] if self._demo else [])]
        self._process = Process(command, log=logs / "server.log", env=settings, cpu=self._cpu, cwd=REPOSITORY)
        self.url = self._process.wait_for_line("ready ", _PATIENCE).removeprefix("ready ")
        self.dsn = dsn
        return self

    def stop(self) -> None:
        for process in (self._process, self._database):
            if process is not None:
                process.stop()

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def cost(self, *, memory: bool = False) -> Cost:
        return cost(self.pids, memory=memory)

    def database_cost(self) -> Cost:
        return cost([self._database.pid] if self._database else [])

    def complaints(self) -> str:
        """What the server logged: nothing, when all went well."""
        if self._process is None:
            return ""
        lines = self._process.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if "WARNING" in line.upper() or "ERROR" in line.upper())

    # the API

    def register(self) -> str:
        """A new user's access token."""
        name = f"bench-{secrets.token_hex(5)}"
        body = {"email": f"{name}@example.org", "username": name, "password": secrets.token_hex(12)}
        return str(self.call("POST", "/api/v1/auth/register", body)["access_token"])

    def register_many(self, count: int) -> list[str]:
        with ThreadPoolExecutor(4) as several:
            return list(several.map(lambda _: self.register(), range(count)))

    def prepare(self, title: str) -> Prepared:
        """A user of its own with a broadcast that is ready for a push."""
        token = self.register()
        made = self.call("POST", "/api/v1/live/start", {"title": title}, token)
        return Prepared(
            id=made["id"],
            token=token,
            rtmp=made["ingest"]["rtmp"],
            base=f"{self.url}/live/{made['id']}/p",
            channel=made["channel"],
        )

    def prepare_many(self, titles: Iterable[str]) -> list[Prepared]:
        with ThreadPoolExecutor(4) as several:
            return list(several.map(self.prepare, titles))

    def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise BenchError(f"{method} {path} answered {error.code}: {error.read()[:500]!r}") from None
        except OSError as error:
            raise BenchError(f"{method} {path} failed: {error}") from None


def fetch(url: str, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
    """The body as it came (not unpacked) and the headers. Raises OSError."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=10) as answer:
        return answer.read(), dict(answer.headers.items())
