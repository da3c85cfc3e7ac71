"""A broadcast pushed on: to our own server, to ffmpeg, over TLS, and to targets that misbehave in every way."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest

from media.broadcast import Broadcast, Derived, PublisherSession
from media.egress import restream, restream_feed
from media.egress.restream import Dial, Pusher, PushState, RestreamOptions
from media.ingest.gate import PublishRequest, Refused
from media.ingest.rtmp import RtmpOptions, RtmpServer
from media.protocols.rtmp.client import Target
from media.samples import Codec, Kind, Sample, Track
from media.transcode.sounds import Sounds
from tests.media.ingest.conftest import OpenGate, flv, media_folder, until
from tests.media.sound import tone, tone_at
from tests.media.test_broadcast import FakeLink, Log
from tests.server.streaming.test_rtmps import certificate
from tests.support import eventually, free_port

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


async def test_every_frame_arrives_with_its_times_and_its_b_frames(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish()
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.play()
    film = stage.film
    await until(lambda: gate.publishers and len(gate.publishers[0].of(2)) >= len(film.of(2)) - 1)
    (there,) = gate.publishers
    assert there.request is not None
    assert there.request.key == SECRET.partition("?")[0]  # the rest is a query to our server
    for sent, got in zip(film.tracks, there.tracks, strict=True):
        assert (got.codec, got.config, got.width) == (sent.codec, sent.config, sent.width)
    first = there.of(1)[0]
    for sent, got in zip(film.of(1), there.of(1), strict=True):
        assert (got.data, got.key) == (sent.data, sent.key)
        for one, other in ((got.dts, sent.dts), (got.pts, sent.pts)):
            assert abs((one - first.dts) - (other - film.of(1)[0].dts)) <= 2 * 90
    assert any(s.pts > s.dts + 90 for s in there.of(1))  # there were B-frames
    assert pusher.state is PushState.PUSHING
    assert pusher.sent_bytes > sum(len(s.data) for s in film.samples) * 0.9
    assert pusher.error == ""
    stage.broadcast.end("over")
    await until(lambda: pusher.finished)
    await until(lambda: there.closed)
    assert there.closed is not None
    assert there.closed[1]  # the target was told that it is over
    assert pusher.state is PushState.STOPPED


async def test_the_publishers_return_is_one_stream_to_the_target(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish().close("lost", clean=False)
    stage.publish()
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.play()
    await until(lambda: pusher.state is PushState.PUSHING)
    stage.session.close("lost", clean=False)
    assert pusher.state is PushState.WAITING
    stage.publish(replace(stage.film.tracks[0], config=stage.film.tracks[0].config + b"\x00"), stage.film.tracks[1])
    await until(lambda: pusher.state is PushState.PUSHING)
    await until(lambda: gate.publishers and len(gate.publishers[0].of(1)) == 2 * len(stage.film.of(1)))
    (there,) = gate.publishers
    times = [s.dts for s in there.of(1)]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[-1] - times[0] < 6 * 90_000  # it went on where it was, with no jump of the target's clock
    assert [t.config for t in there.tracks if t.id == 1] == [
        stage.film.tracks[0].config, stage.film.tracks[0].config + b"\x00",
    ]  # fmt: skip
    assert pusher.reconnects == 0


async def test_ffmpeg_writes_what_it_was_pushed(stage: Stage, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "got.flv"
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/live/{SECRET}",
        "-c", "copy", str(path),
    )  # fmt: skip
    try:
        stage.publish()
        pusher = stage.push(to(port))
        await stage.listening(pusher)
        for _ in range(3):
            stage.play()
            await asyncio.sleep(0)
        stage.broadcast.end("over")
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_packets", "-show_format", str(path)]
    read = await asyncio.to_thread(subprocess.run, probe, check=True, capture_output=True, timeout=30)
    told = json.loads(read.stdout)
    counted = {one["codec_type"]: (one["codec_name"], int(one["nb_read_packets"])) for one in told["streams"]}
    film = stage.film
    assert counted["video"] == ("h264", 3 * len(film.of(1)))
    assert counted["audio"][0] == "aac"
    assert counted["audio"][1] >= 3 * len(film.of(2)) - 2
    assert 5.5 < float(told["format"]["duration"]) < 6.5


async def test_tls_wants_a_certificate_that_it_can_believe(
    stage: Stage, gate: OpenGate, serve: Serve, tmp_path: Path
) -> None:
    chain, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    server = await serve(tls=context)
    stage.publish()
    stranger = stage.push(to(server.tls_port, ssl.create_default_context()))
    await until(lambda: stranger.state is PushState.RETRYING)
    assert "certificate" in stranger.error
    trusted = stage.push(to(server.tls_port, ssl.create_default_context(cafile=str(chain))))
    await stage.listening(trusted)
    stage.play()
    await until(lambda: gate.publishers and gate.publishers[0].of(1))
    assert trusted.state is PushState.PUSHING


async def test_a_key_that_is_refused_is_not_tried_again(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    gate.refuse = Refused("unknown_key", f"Unknown stream key {SECRET}. Copy it again.")
    stage.publish()
    pusher = stage.push(to(server.port))
    await until(lambda: pusher.finished)
    assert pusher.state is PushState.REFUSED
    assert "Unknown stream key" in pusher.error
    assert SECRET not in pusher.error


async def test_a_target_that_is_busy_is_tried_until_it_is_free(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    gate.refuse = Refused("in_use", "This stream key is live already from another encoder. Stop that one first.")
    stage.publish()
    pusher = stage.push(to(server.port))
    await until(lambda: pusher.state is PushState.RETRYING)
    assert "live already" in pusher.error
    gate.refuse = None
    await stage.listening(pusher)
    stage.play()
    await until(lambda: pusher.state is PushState.PUSHING)
    assert pusher.error == ""


async def test_a_target_that_comes_back_is_pushed_to_again(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    port = free_port()
    stage.publish()
    pusher = stage.push(to(port))
    await until(lambda: pusher.state is PushState.RETRYING)
    assert pusher.error == "nobody listens at the target's address and port"
    server = await serve(port)
    await stage.listening(pusher)
    stage.play()
    await until(lambda: gate.publishers and gate.publishers[0].of(1))
    await server.close()
    await until(lambda: pusher.state is PushState.RETRYING)
    await serve(port)
    await stage.listening(pusher)
    stage.play()
    await until(lambda: len(gate.publishers) > 1 and gate.publishers[-1].of(1))
    assert pusher.reconnects == 1
    assert gate.publishers[-1].tracks[0].config == stage.film.tracks[0].config


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


def says(*words: bytes, forever: bool = False) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        for word in words:
            writer.write(word)
        while forever:
            writer.write(words[-1])
            await writer.drain()
        await writer.drain()

    return script


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


GREETING = b"\x03" + bytes(2 * 1536)
PING = b"\x02\x00\x00\x00\x00\x00\x06\x04\x00\x00\x00\x00\x00\x06\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (hangs, "did not let us publish within 0.3 s"),
        (resets, "broke the connection|hung up"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks HTTP"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "use rtmps"),
        (says(b"\x07garbage"), "does not speak RTMP"),
        (says(GREETING, b"\xff" * 4096), "does not speak RTMP as it should"),
        (says(GREETING, b"\x03" + bytes(3) + b"\xff\xff\xff\x14" + bytes(4)), "does not speak RTMP as it should"),
        (says(GREETING, PING * 1000, forever=True), "more than a server of RTMP has reason to|did not let us"),
        (says(GREETING), "hung up|broke the connection"),
    ],
    ids=["hangs", "resets", "http", "tls", "garbage", "chunks", "huge", "floods", "leaves"],
)
async def test_targets_that_misbehave_are_told_in_words_and_tried_again(
    stage: Stage, gate: OpenGate, serve: Serve, script: Script, words: str
) -> None:
    server = await serve()
    async with scripted(script) as port:
        stage.publish()
        good = stage.push(to(server.port))
        bad = stage.push(to(port), options=replace(OPTIONS, timeout=0.3))
        await stage.listening(good)
        await until(lambda: bad.state is PushState.RETRYING)
        assert any(part in bad.error for part in words.split("|")), bad.error
        stage.play()
        await until(lambda: gate.publishers and len(gate.publishers[0].of(1)) == len(stage.film.of(1)))
        assert good.dropped == 0
        await bad.close()
        assert bad.state is PushState.STOPPED


async def test_a_slow_target_loses_frames_up_to_a_key_frame_and_no_other_does(
    stage: Stage, gate: OpenGate, serve: Serve
) -> None:
    server = await serve()
    relay = await serve()
    halted = asyncio.Event()
    halted.set()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between the pusher and a real server; while halted nothing is read."""
        there, onward = await asyncio.open_connection("127.0.0.1", relay.port)

        async def back() -> None:
            while data := await there.read(65536):
                writer.write(data)

        task = asyncio.create_task(back())
        try:
            while True:
                await halted.wait()
                if not (data := await reader.read(65536)):
                    return
                onward.write(data)
                await onward.drain()
        finally:
            task.cancel()
            onward.close()

    async with scripted(slow) as port:
        stage.publish()
        good = stage.push(to(server.port), key="good")
        bad = stage.push(to(port), key="slow", options=replace(OPTIONS, queue=100_000, timeout=30))
        await stage.listening(good)
        await stage.listening(bad)
        stage.play()
        await until(lambda: bad.state is PushState.PUSHING and good.state is PushState.PUSHING)
        halted.clear()
        plays = 0
        while not bad.dropped:  # until every buffer between here and there is full
            stage.play()
            plays += 1
            assert plays < 3000
            if plays % 4 == 0:
                await until(lambda: good._queue is None or not good._queue._queue)
        assert bad._queue is not None
        assert bad._queue._size <= 100_000
        assert good.dropped == 0
        halted.set()
        there = next(p for p in gate.publishers if p.request is not None and p.request.key == "slow")
        before = len(there.of(1))
        await until(lambda: not bad._queue._queue if bad._queue else False)
        stage.play()
        await until(lambda: len(there.of(1)) > before and bad.state is PushState.PUSHING)
        await until(lambda: there.of(1)[-1].data == stage.film.of(1)[-1].data)
        assert bad.describe()["dropped"]


async def test_a_target_that_takes_nothing_is_left(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    relay = await serve()

    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A real server until it lets the publisher in; then nobody reads."""
        there, onward = await asyncio.open_connection("127.0.0.1", relay.port)

        async def back() -> None:
            while data := await there.read(65536):
                writer.write(data)

        task = asyncio.create_task(back())
        try:
            while not gate.publishers:
                onward.write(await reader.read(65536))
                await asyncio.sleep(0.01)
            await asyncio.Event().wait()
        finally:
            task.cancel()
            onward.close()

    async with scripted(stops) as port:
        stage.publish()
        pusher = stage.push(to(port), options=replace(OPTIONS, timeout=0.5))
        await stage.listening(pusher)
        for _ in range(400):
            stage.play()
            await asyncio.sleep(0.002)
            if pusher.state is PushState.RETRYING:
                break
        await until(lambda: pusher.error)
        assert "took nothing for 0.5 s" in pusher.error


class HandMade:
    """Where AAC comes from, by the hand of the test."""

    def __init__(self) -> None:
        self.derived: Derived | None = None
        self.released = 0

    def want(self, broadcast: Broadcast, codec: Codec) -> HandMade:
        assert codec is Codec.AAC
        self.derived = broadcast.derive("aac")
        return self

    def release(self) -> None:
        self.released += 1


def opus(film: Film) -> list[Sample]:
    return [s if s.track == 1 else s._replace(data=b"\xfc\xff\xfe") for s in film.samples]


async def without_opus(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Our server, as one of those who know nothing of Enhanced RTMP."""
    there, onward = await asyncio.open_connection("127.0.0.1", port)

    async def back() -> None:
        while data := await there.read(65536):
            for name in (b"Opus", b"av01", b"hvc1", b"vp09"):
                data = data.replace(name, b"none")
            writer.write(data)

    task = asyncio.create_task(back())
    try:
        while data := await reader.read(65536):
            onward.write(data)
            await onward.drain()
    finally:
        task.cancel()
        onward.close()


async def test_opus_goes_as_it_is_to_a_target_that_says_so(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish(stage.film.tracks[0], OPUS)
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.session.samples(opus(stage.film))
    await until(lambda: gate.publishers and gate.publishers[0].of(2) and gate.publishers[0].of(1))
    assert [t.codec for t in gate.publishers[0].tracks] == [Codec.H264, Codec.OPUS]
    assert gate.publishers[0].tracks[1].config == OPUS.config
    assert pusher.note == ""


async def test_opus_becomes_aac_for_a_target_that_takes_none(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    sounds = HandMade()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], OPUS)
        pusher = stage.push(to(port), sounds=sounds)
        await stage.listening(pusher)
        assert sounds.derived is not None
        sounds.derived.track(stage.film.tracks[1])
        stage.session.samples(stage.film.of(1))
        sounds.derived.samples(stage.film.of(2))
        await until(lambda: gate.publishers and gate.publishers[0].of(2) and gate.publishers[0].of(1))
        assert [t.codec for t in gate.publishers[0].tracks] == [Codec.H264, Codec.AAC]
        assert pusher.note == ""
        await pusher.close()
        assert sounds.released == 1


async def test_real_opus_is_aac_at_the_target_where_it_was(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    sounds = Sounds(1)
    track, packets = tone(Codec.OPUS)
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], track)
        pusher = stage.push(to(port), sounds=sounds)
        await stage.listening(pusher)
        derived = stage.broadcast.derived["aac"]
        await until(lambda: sounds.describe()["running"])
        played = 0.0

        async def heard() -> bool:
            """The film again and again, until its sound is made and comes through."""
            nonlocal played
            scale = {1: 90_000, 2: 48_000}
            for sample in sorted([*stage.film.of(1), *packets], key=lambda s: s.dts / scale[s.track]):
                moved = int(played * scale[sample.track])
                stage.session.samples([sample._replace(dts=sample.dts + moved, pts=sample.pts + moved)])
            played += 2
            return bool(gate.publishers and len(gate.publishers[0].of(2)) > 100)

        await eventually(heard, every=0.3)
        there = gate.publishers[0]
        assert [t.codec for t in there.tracks] == [Codec.H264, Codec.AAC]
        assert tone_at(there.tracks[1], there.of(2)) is not None
        assert derived.current is not None
        assert pusher.note == ""
        await pusher.close()
    stage.broadcast.end("over")
    await sounds.close()


async def test_without_anybody_who_makes_aac_the_picture_goes_alone_and_it_is_said(
    stage: Stage, gate: OpenGate, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restream_feed, "SOUND_WAIT", 0.1)
    server = await serve()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], OPUS)
        alone, waited = stage.push(to(port)), stage.push(to(port), sounds=HandMade())
        for pusher in (alone, waited):
            await stage.listening(pusher)
            await until(lambda pusher=pusher: "sound needs AAC" in pusher.note)
        stage.session.samples(opus(stage.film))
        await until(lambda: len(gate.publishers) == 2 and all(p.of(1) for p in gate.publishers))
        assert all(t.kind is Kind.VIDEO for p in gate.publishers for t in p.tracks)


async def test_a_picture_that_a_target_does_not_take_is_not_sent(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(Track(1, Codec.AV1, 90_000, b"\x81\x00\x0c\x00", "av01.0.00M.08", 320, 180), stage.film.tracks[1])
        pusher = stage.push(to(port))
        await until(lambda: pusher.finished)
        assert pusher.state is PushState.REFUSED
        assert "does not say that it takes AV1" in pusher.error
        assert not gate.publishers[0].of(1)


async def test_pauses_grow_to_the_longest_and_no_further(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restream, "FIRST_PAUSE", 0.01)
    pauses: list[float] = []

    def changed(pusher: Pusher) -> None:
        if pusher.state is PushState.RETRYING:
            pauses.append(pusher.next_try_at - time.time())

    stage.publish()
    pusher = stage.push(to(free_port()), options=replace(OPTIONS, most_pause=0.08), on_change=changed)
    await until(lambda: len(pauses) > 6)
    await pusher.close()
    assert pauses[0] <= 0.01
    assert max(pauses[4:]) > 0.03
    assert max(pauses) <= 0.08
