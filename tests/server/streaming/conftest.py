"""A real server process, real encoders pushing to it, and a client of its API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import free_port

Condition = Callable[[dict[str, Any]], bool]

START_SECONDS = 60
FFMPEG = [
    "ffmpeg", "-nostdin", "-v", "error", "-re",
    "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30",
    "-f", "lavfi", "-i", "sine=f=440:r=48000",
]  # fmt: skip
ENCODE = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30", "-c:a", "aac", "-b:a", "64k"]


class ServerProcess:
    """`python -m server` on free ports with a database and a folder of the test's."""

    arguments: tuple[str, ...] = ("-m", "server")

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.url = ""
        self.log: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self.arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.environment, "DATA_DIR": str(self.folder)},
        )  # fmt: skip
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(ready))
        async with asyncio.timeout(START_SECONDS):
            self.url = await ready

    async def _read(self, ready: asyncio.Future[str]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode().rstrip()
            self.log.append(line)
            if line.startswith("ready ") and not ready.done():
                ready.set_result(line.removeprefix("ready "))
        if not ready.done():
            ready.set_exception(RuntimeError("the server did not start:\n" + "\n".join(self.log)))

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
        async with asyncio.timeout(60):
            code = await process.wait()
        if self._reader is not None:
            await self._reader
        return code

    async def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        await self.stop(how)
        await self.start()


def files_of(folder: Path, id: str) -> list[Path]:
    """The broadcast's files below a folder, while a server works there: what goes away meanwhile is no fault."""
    found = (Path(above, name) for above, _, names in os.walk(folder) for name in names)
    return [path for path in found if id in str(path)]


@dataclass
class User:
    """One signed-in user of the API."""

    http: aiohttp.ClientSession
    server: ServerProcess
    name: str
    token: str
    pushes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        async with self.http.request(
            method, self.server.url + path, json=body, headers={"Authorization": f"Bearer {self.token}"}
        ) as answer:
            text = await answer.text()
            assert answer.status == expect, f"{method} {path}: {answer.status} {text}"
            return await answer.json(content_type=None) if text else None

    async def start(self, title: str = "A test", **more: Any) -> dict[str, Any]:
        return await self.call("POST", "/api/v1/live/start", {"title": title, **more}, expect=201)

    async def show(self, id: str) -> dict[str, Any]:
        return await self.call("GET", f"/api/v1/live/{id}")

    async def push(self, url: str, *, seconds: float = 60, encode: list[str] = ENCODE) -> asyncio.subprocess.Process:
        """ffmpeg pushing a test picture with sound; its words are in stderr."""
        process = await asyncio.create_subprocess_exec(
            *FFMPEG, *encode, "-t", str(seconds), "-f", "flv", url,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.pushes.append(process)
        return process

    async def until(
        self, id: str, condition: Callable[[dict[str, Any]], bool], *, within: float = 30
    ) -> dict[str, Any]:
        """The broadcast once it is as wanted."""
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within):
                while not condition(seen := await self.show(id)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {within} s; last seen: {seen}\n" + "\n".join(self.server.log)) from None
        return seen

    async def close(self) -> None:
        for process in self.pushes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
            await process.communicate()


@pytest.fixture
def environment(database_url: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of the test's server; a test changes some by its mark `settings`, a module by overriding this."""
    changed = request.node.get_closest_marker("settings")
    return {
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(free_port()),
        "RTMP_HOST": "127.0.0.1",
        "RTMP_PORT": str(free_port()),
        "RTC_PORT": "0",
        "DATABASE_URL": database_url,
        "DATABASE_POOL": "4",
        "REDIS_URL": "",
        "S3_ENDPOINT": "",
        "RATE_LIMIT_AUTH": "1000/minute",
        "RATE_LIMIT_WRITE": "100000/minute",
        "DISK_MIN_FREE": "0",
        "LOG_LEVEL": "warning",
        **(changed.kwargs if changed else {}),
    }


@pytest.fixture
async def server(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "var", environment)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def new_user(
    http: aiohttp.ClientSession, server: ServerProcess
) -> AsyncIterator[Callable[[str], Awaitable[User]]]:
    made: list[User] = []

    async def make(name: str) -> User:
        body = {"email": f"{name}@example.org", "username": name, "password": "correct horse battery"}
        async with http.post(server.url + "/api/v1/auth/register", json=body) as answer:
            assert answer.status == 201, await answer.text()
            user = User(http, server, name, (await answer.json())["access_token"])
        made.append(user)
        return user

    yield make
    for user in made:
        await user.close()


@pytest.fixture
async def streamer(new_user: Callable[[str], Awaitable[User]]) -> User:
    return await new_user("streamer")
