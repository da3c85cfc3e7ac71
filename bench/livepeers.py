"""Who takes RTMP pushes and writes playlists: the server, nginx-rtmp, ffmpeg. All are asked the same way.

A Taker owns its processes from `start` to `stop`; `streams` are there after `start`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import nginx
from bench.playlists import Client, Read, reader_of_file, reader_of_url, waiter_of_url
from bench.processes import Cost, Process, cost, free_port
from bench.server import Server


@dataclass(frozen=True, slots=True)
class Stream:
    """rtmp: where to push. read: its playlist. wait: the next version of it, where the server can block on that."""

    rtmp: str
    read: Read
    wait: Callable[[int, int], str] | None = None


class Taker(Protocol):
    name: str
    poll_seconds: float
    streams: list[Stream]

    def start(self, folder: Path, count: int) -> None: ...

    def cost(self, *, memory: bool = False) -> Cost: ...

    def database_cost(self) -> Cost: ...

    def complaints(self) -> str: ...

    def stop(self) -> None: ...


class Ours:
    name = "social-flow"
    poll_seconds = 0.53  # its playlists cost it CPU, so few; not a multiple of a part

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self._server: Server | None = None
        self._clients: list[Client] = []

    def start(self, folder: Path, count: int) -> None:
        self._server = Server(folder)
        self._server.start()
        looking = Client(self._server.url)
        self._clients.append(looking)
        for made in self._server.prepare_many(f"Stream {at}" for at in range(count)):
            url = f"{made.base}/v.m3u8"
            waiting = Client(url)
            self._clients.append(waiting)
            self.streams.append(Stream(made.rtmp, reader_of_url(looking, url), waiter_of_url(waiting, url)))

    def cost(self, *, memory: bool = False) -> Cost:
        return self._server.cost(memory=memory) if self._server else Cost()

    def database_cost(self) -> Cost:
        return self._server.database_cost() if self._server else Cost()

    def complaints(self) -> str:
        return self._server.complaints() if self._server else ""

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self._server is not None:
            self._server.stop()


class NginxRtmp:
    name = "nginx-rtmp"
    poll_seconds = 0.1  # its playlists are files: reading them costs it nothing

    def __init__(self, module: Path) -> None:
        self.streams: list[Stream] = []
        self._module = module
        self._process: Process | None = None

    def start(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self._process, port = nginx.start_rtmp(folder / "nginx", self._module)
        for at in range(count):
            file = folder / "nginx" / "hls" / f"stream{at}.m3u8"
            self.streams.append(Stream(f"rtmp://127.0.0.1:{port}/live/stream{at}", reader_of_file(file)))

    def cost(self, *, memory: bool = False) -> Cost:
        return cost([self._process.pid] if self._process else [], memory=memory)

    def database_cost(self) -> Cost:
        return Cost()

    def complaints(self) -> str:
        return ""

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


class FfmpegListen:
    """One ffmpeg a stream, which listens for one push and copies it into HLS."""

    name = "ffmpeg -listen"
    poll_seconds = 0.1

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self._processes: list[Process] = []

    def start(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        for at in range(count):
            file, url = folder / f"stream{at}.m3u8", f"rtmp://127.0.0.1:{free_port()}/live/stream{at}"
            command = ["ffmpeg", "-nostdin", "-v", "error", "-listen", "1", "-i", url, "-c", "copy", "-f", "hls"]
            command += ["-hls_time", "2", "-hls_list_size", "10", "-hls_flags", "delete_segments", str(file)]
            self._processes.append(Process(command, log=folder / f"ffmpeg{at}.log"))
            self.streams.append(Stream(url, reader_of_file(file)))

    def cost(self, *, memory: bool = False) -> Cost:
        return cost([process.pid for process in self._processes], memory=memory)

    def database_cost(self) -> Cost:
        return Cost()

    def complaints(self) -> str:
        return ""

    def stop(self) -> None:
        for process in self._processes:
            process.stop(2)
