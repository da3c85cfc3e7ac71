"""Uploads: a file by one form, and by tus, next to copying it on the same disk; and the server's memory meanwhile.

All on one machine, over loopback, into the store in a folder. The copy is what `shutil.copyfile` and an fsync take: of
what the server has answered, too, all is on the disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.processes import BenchError, say
from bench.server import Server

MEBI = 1 << 20
TUS = "/api/v1/videos/tus"


@dataclass(frozen=True)
class Plan:
    """mebibytes: of the file; chunk: of a PATCH of tus, 0: all in one."""

    runs: int
    mebibytes: int
    chunk: int = 5


def run(plan: Plan, folder: Path) -> None:
    source = folder / "film.mp4"
    with source.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom\0\0\2\0isommp41")
        for _ in range(plan.mebibytes):
            file.write(os.urandom(MEBI))
    settings = {"VOD_CHILDREN": "0", "RATE_LIMIT_UPLOAD": "off", "VIDEO_QUOTA_BYTES": "1000000000000"}
    with Server(folder / "server", settings) as server:
        asyncio.run(_measure(plan, source, server, folder))


async def _measure(plan: Plan, source: Path, server: Server, folder: Path) -> None:
    async with aiohttp.ClientSession() as http:
        person = {"email": "bench@example.org", "username": "bench", "password": "correct horse battery"}
        async with http.post(server.url + "/api/v1/auth/register", json=person) as answer:
            token = (await answer.json())["access_token"]
        client = _Client(http, server.url, {"Authorization": f"Bearer {token}"}, source)
        await client.form()  # what is loaded at the first time
        copies = [_copy(source, folder / "copy") for _ in range(plan.runs)]
        _tell("copy", plan, copies, statistics.median(copies), 0)
        ways: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("form", client.form),
            ("tus, one PATCH", lambda: client.tus(0)),
            (f"tus, {plan.chunk} MiB each", lambda: client.tus(plan.chunk * MEBI)),
        ]
        for name, bring in ways:
            times, grown = [], 0
            for _ in range(plan.runs):
                before = _resident(server)
                watch = asyncio.create_task(_most(server))
                began = time.perf_counter()
                await bring()
                times.append(time.perf_counter() - began)
                watch.cancel()
                grown = max(grown, await watch - before)
            _tell(name, plan, times, statistics.median(copies), grown)


def _resident(server: Server) -> int:
    """Bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in server.pids)


async def _most(server: Server) -> int:
    most = 0
    try:
        while True:
            most = max(most, _resident(server))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return most


def _copy(source: Path, target: Path) -> float:
    began = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def _tell(name: str, plan: Plan, times: list[float], copy: float, grown: int) -> None:
    middle = statistics.median(times)
    say(
        f"{name:18} {middle:6.2f} s  {plan.mebibytes / middle:7.0f} MiB/s  {copy / middle:5.2f} of copying"
        f"  memory +{grown / MEBI:.1f} MiB"
    )


class _Client:
    def __init__(self, http: aiohttp.ClientSession, url: str, headers: dict[str, str], source: Path) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._source = source

    async def form(self) -> None:
        form = aiohttp.FormData()
        with self._source.open("rb") as file:
            form.add_field("file", file, filename="film.mp4", content_type="video/mp4")
            async with self._http.post(self._url + "/api/v1/videos/upload", data=form, headers=self._headers) as answer:
                await _check(answer, 202)

    async def tus(self, chunk: int) -> None:
        size = self._source.stat().st_size
        headers = {**self._headers, "Tus-Resumable": "1.0.0"}
        async with self._http.post(self._url + TUS, headers={**headers, "Upload-Length": str(size)}) as answer:
            await _check(answer, 201)
            where = self._url + answer.headers["Location"]
        headers["Content-Type"] = "application/offset+octet-stream"
        for at in range(0, size, chunk or size):
            # read whole as clients do; in one PATCH it is the file itself
            with self._source.open("rb") as file:
                file.seek(at)
                data = file.read(chunk) if chunk else None
                async with self._http.patch(
                    where, data=file if data is None else data, headers={**headers, "Upload-Offset": str(at)}
                ) as answer:
                    await _check(answer, 204)


async def _check(answer: aiohttp.ClientResponse, status: int) -> None:
    if answer.status != status:
        raise BenchError(f"{answer.method} {answer.url.path}: {answer.status} {await answer.text()}")
