"""Uploads: a file by one form, and by tus, next to copying it on the same disk; and the server's memory meanwhile.

All on one machine, over loopback, into the store in a folder. The client costs next to nothing: it lets the kernel send
the file. The copy is what `shutil.copyfile` and an fsync take, as of what the server has answered, too, all is on the
disk; what it takes without the fsync is shown beside it. Each way is measured next to a copy of its own, turn about.
"""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench.figures import verdict
from bench.processes import BenchError, say
from bench.server import Server

MEBI = 1 << 20
TUS = "/api/v1/videos/tus"
BOUNDARY = "----a-form-of-the-bench"
AIM, MEMORY_AIM = 0.5, 16.0


@dataclass(frozen=True)
class Plan:
    """mebibytes: of the file; chunk: of a PATCH of tus, 0: all in one."""

    runs: int
    mebibytes: int
    chunk: int = 5


class Took(NamedTuple):
    """seconds: one run's; copy: of the copy beside it. grown: bytes; cpu: the server's and the database's, s."""

    seconds: float
    copy: float
    grown: int
    cpu: float


def run(plan: Plan, folder: Path) -> None:
    source = folder / "film.mp4"
    with source.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom\0\0\2\0isommp41")
        for _ in range(plan.mebibytes):
            file.write(os.urandom(MEBI))
    settings = {"VOD_CHILDREN": "0", "RATE_LIMIT_UPLOAD": "off", "VIDEO_QUOTA_BYTES": "1000000000000"}
    with Server(folder / "server", settings) as server, Client(server, source) as client:
        bring: dict[str, Callable[[], None]] = {
            "form": client.form,
            "tus, one PATCH": lambda: client.tus(0),
            f"tus, {plan.chunk} MiB each": lambda: client.tus(plan.chunk * MEBI),
        }
        objects = folder / "server" / "data" / "objects"
        for way in bring.values():
            way()  # what is loaded at the first time
            _forget(objects)
        took: dict[str, list[Took]] = {name: [] for name in bring}
        bare: list[float] = []
        for _ in range(plan.runs):
            for name, way in bring.items():
                without, copy = _copy(source, folder / "copy")
                bare.append(without)
                took[name].append(_measured(server, way, copy))
                _forget(objects)
    copies = [each.copy for ways in took.values() for each in ways]
    say(f"{'copy, with fsync':18} {_rate(plan, copies)}; {statistics.median(bare):.2f} s without")
    for name, runs in took.items():
        times = [each.seconds for each in runs]
        part = statistics.median(each.copy / each.seconds for each in runs)
        grown = max(each.grown for each in runs) / MEBI
        cpu = statistics.median(each.cpu for each in runs)
        say(f"{name:18} {_rate(plan, times)}  {part:5.2f} of copying  CPU {cpu:.2f} s  memory +{grown:.1f} MiB")
        verdict(f"{name} beside copying", part, AIM, most=False)
        verdict(f"{name}, memory in MiB", grown, MEMORY_AIM, most=True)


def _rate(plan: Plan, times: list[float]) -> str:
    middle = statistics.median(times)
    return f"{middle:6.2f} s  {plan.mebibytes / middle:7.0f} MiB/s"


def _measured(server: Server, way: Callable[[], None], copy: float) -> Took:
    before, cpu = _resident(server), _cpu(server)
    with _watched(server) as most:
        began = time.perf_counter()
        way()
        seconds = time.perf_counter() - began
    return Took(seconds, copy, most[0] - before, _cpu(server) - cpu)


def _cpu(server: Server) -> float:
    return server.cost().cpu + server.database_cost().cpu


def _resident(server: Server) -> int:
    """Bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in server.pids)


@contextmanager
def _watched(server: Server) -> Iterator[list[int]]:
    """The most memory that the server had meanwhile, bytes: looked at often, by a thread."""
    most, over = [_resident(server)], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], _resident(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _copy(source: Path, target: Path) -> tuple[float, float]:
    """Seconds: until it is copied, and until it is on the disk."""
    began = time.perf_counter()
    shutil.copyfile(source, target)
    copied = time.perf_counter() - began
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return copied, seconds


def _forget(objects: Path) -> None:
    """What was brought goes, as the copy does: else each run would take memory that is new to the system, which
    costs several times as much where the system is a guest itself."""
    for path in objects.rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)


class Client:
    """One connection, which is kept."""

    def __init__(self, server: Server, source: Path) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        self._headers = {"Authorization": f"Bearer {server.register()}"}
        self._source = source
        self._size = source.stat().st_size

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def form(self) -> None:
        before = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n\r\n'.encode()
        after = f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self._ask("POST", "/api/v1/videos/upload", headers, 202, 0, self._size, before, after)

    def tus(self, chunk: int) -> None:
        spoken = {"Tus-Resumable": "1.0.0"}
        where = self._ask("POST", TUS, {**spoken, "Upload-Length": str(self._size)}, 201)["Location"]
        assert where is not None
        patch = {**spoken, "Content-Type": "application/offset+octet-stream"}
        for at in range(0, self._size, chunk or self._size):
            count = min(chunk or self._size, self._size - at)
            self._ask("PATCH", where, {**patch, "Upload-Offset": str(at)}, 204, at, count)

    def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        status: int,
        at: int = 0,
        count: int = 0,
        before: bytes = b"",
        after: bytes = b"",
    ) -> http.client.HTTPMessage:
        """With `count` bytes of the file from `at` on as the body, between two others."""
        self._http.putrequest(method, path)
        told = {**self._headers, **headers, "Content-Length": str(len(before) + count + len(after))}
        for name, value in told.items():
            self._http.putheader(name, value)
        self._http.endheaders(before or None)
        if count:
            with self._source.open("rb") as file:
                self._http.sock.sendfile(file, at, count)
        if after:
            self._http.send(after)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != status:
            raise BenchError(f"{method} {path}: {answer.status} {body.decode(errors='replace')}")
        return answer.headers
