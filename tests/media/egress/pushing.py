"""A broadcast on a stage, its pushers, and targets for them: our own server, or a script. Fixtures to be imported."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import av
import pytest

from media.broadcast import Broadcast, PublisherSession
from media.egress import restream
from media.egress.restream import Dial, Pusher, RestreamOptions
from media.ingest.gate import PublishRequest
from media.ingest.rtmp import RtmpOptions, RtmpServer
from media.protocols.rtmp.client import Target
from media.samples import Codec, Sample, Track
from tests.media.ingest.conftest import OpenGate, flv, media_folder, until
from tests.media.test_broadcast import FakeLink, Log

__all__ = ["flv", "media_folder"]  # fixtures

SECRET = "live_key-with?signs=1"
OPTIONS = RestreamOptions(timeout=5.0, most_pause=0.2)
OPUS = Track(2, Codec.OPUS, 48_000, bytes((1, 2, 0x38, 1)) + bytes(7), "opus", sample_rate=48_000, channels=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restream, "FIRST_PAUSE", 0.05)


class Film:
    """A file's tracks and samples, as an encoder would bring them; `shifted` continues it."""

    def __init__(self, path: Path) -> None:
        self.tracks: list[Track] = []
        self.samples: list[Sample] = []
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert video.codec_context.extradata is not None
            assert audio.codec_context.extradata is not None
            rate = audio.codec_context.sample_rate
            self.tracks = [
                Track(1, Codec.H264, 90_000, video.codec_context.extradata, "avc1.64000d", 320, 180, 30.0),
                Track(2, Codec.AAC, rate, audio.codec_context.extradata, "mp4a.40.2", sample_rate=rate, channels=2),
            ]  # fmt: skip
            for packet in container.demux(video, audio):
                if packet.dts is None or packet.pts is None:
                    continue
                one = self.tracks[0 if packet.stream is video else 1]
                at = [
                    round(float(t * packet.time_base) * one.timescale) + one.timescale for t in (packet.dts, packet.pts)
                ]
                self.samples.append(Sample(one.id, *at, one.id == 2 or packet.is_keyframe, bytes(packet)))

    def shifted(self, seconds: float) -> list[Sample]:
        scale = {track.id: track.timescale for track in self.tracks}
        return [
            s._replace(dts=s.dts + int(seconds * scale[s.track]), pts=s.pts + int(seconds * scale[s.track]))
            for s in self.samples
        ]

    def of(self, track: int) -> list[Sample]:
        return [sample for sample in self.samples if sample.track == track]


@pytest.fixture(scope="module")
def film(flv: Path) -> Film:
    return Film(flv)


class Stage:
    """A broadcast, who publishes to it, and its pushers."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self.broadcast = Broadcast("b", Log())
        self.pushers: list[Pusher] = []
        self.played = 0.0

    def publish(self, *tracks: Track) -> PublisherSession:
        self.session = self.broadcast.open(PublishRequest("rtmp", "key", "192.0.2.7", "test", FakeLink()))
        for track in tracks or self.film.tracks:
            self.session.track(track)
        self.played = 0.0
        self.play()
        return self.session

    def play(self) -> None:
        """Two seconds."""
        self.session.samples(self.film.shifted(self.played))
        self.played += 2

    def push(self, dial: Dial, *, key: str = SECRET, options: RestreamOptions = OPTIONS, **more: object) -> Pusher:
        target = Target("live", "rtmp://127.0.0.1/live", key)
        pusher = Pusher(self.broadcast, target, dial, options, **more)  # type: ignore[arg-type]
        pusher.start()
        self.pushers.append(pusher)
        return pusher

    async def listening(self, pusher: Pusher) -> None:
        """Until its target takes the stream."""
        await until(lambda: pusher._queue is not None)


@pytest.fixture
async def stage(film: Film) -> AsyncIterator[Stage]:
    made = Stage(film)
    yield made
    await asyncio.gather(*(pusher.close() for pusher in made.pushers))


def to(port: int, tls: ssl.SSLContext | None = None) -> Dial:
    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if tls else None
        return await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)

    return dial


Serve = Callable[..., Awaitable[RtmpServer]]


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
async def serve(gate: OpenGate) -> AsyncIterator[Serve]:
    """Our own server, on another port each time, or on the one that is given."""
    servers: list[RtmpServer] = []

    async def start(port: int = 0, tls: ssl.SSLContext | None = None) -> RtmpServer:
        server = RtmpServer(gate, RtmpOptions(rtmp_host="127.0.0.1", rtmp_port=port, rtmps_port=0, tls=tls))
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was closed is closed by the loop's next turns
