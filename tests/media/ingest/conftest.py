"""A gate that lets everybody in and remembers; a running server; small media for encoders to push."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from media.ingest.gate import PublishRequest, Refused
from media.ingest.rtmp import RtmpOptions, RtmpServer
from media.samples import Sample, Track

DEADLINE = 30.0


async def until(what: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for a condition; the test fails when it does not come true in time."""
    async with asyncio.timeout(deadline):
        while not what():
            await asyncio.sleep(0.005)


class Recorder:
    """A publisher that keeps what it is told."""

    def __init__(self, request: PublishRequest | None = None) -> None:
        self.request = request
        self.log: list[Track | Sample | str] = []
        self.batches = 0
        self.closed: tuple[str, bool] | None = None

    def track(self, track: Track) -> None:
        self.log.append(track)

    def samples(self, batch: Sequence[Sample]) -> None:
        assert batch
        self.batches += 1
        self.log += batch

    def restart(self) -> None:
        self.log.append("restart")

    def derive(self, name: str, on_timeline: Callable[[], None]) -> None:
        return None

    def close(self, reason: str, *, clean: bool) -> None:
        if self.closed is None:
            self.closed = (reason, clean)

    @property
    def tracks(self) -> list[Track]:
        return [item for item in self.log if isinstance(item, Track)]

    def of(self, track: int) -> list[Sample]:
        return [item for item in self.log if isinstance(item, Sample) and item.track == track]


class OpenGate:
    def __init__(self) -> None:
        self.publishers: list[Recorder] = []
        self.turned: list[tuple[str, str]] = []
        self.refuse: Refused | None = None
        self.hold: asyncio.Event | None = None

    async def admit(self, request: PublishRequest) -> Recorder:
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None:
            raise self.refuse
        self.publishers.append(Recorder(request))
        return self.publishers[-1]

    def turned_away(self, request: PublishRequest | None, address: str, reason: str) -> None:
        self.turned.append((request.key if request else "", reason))


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
async def serve(gate: OpenGate) -> AsyncIterator[Callable[..., object]]:
    """Start a server with some options changed; all are closed at the end."""
    servers: list[RtmpServer] = []

    async def start(**options: object) -> RtmpServer:
        server = RtmpServer(gate, RtmpOptions(rtmp_host="127.0.0.1", rtmp_port=0, rtmps_port=0, **options))  # type: ignore[arg-type]
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def server(serve: Callable[..., object]) -> RtmpServer:
    return await serve()  # type: ignore[misc, no-any-return]


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def flv(media_folder: Path) -> Path:
    """Two seconds of H.264 with B-frames and AAC."""
    path = media_folder / "plain.flv"
    line = (
        "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=f=440:r=48000 -t 2 "
        "-c:v libx264 -preset veryfast -bf 2 -g 30 -pix_fmt yuv420p -c:a aac -b:a 64k -ac 2 -f flv"
    )
    subprocess.run([*line.split(), str(path)], check=True, timeout=60)
    return path
