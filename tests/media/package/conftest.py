"""Real media as samples, a shelf in memory, and a package that is fed by hand."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import NamedTuple

import av
import pytest
from aiohttp import web

from media.package.answer import Answer
from media.package.live import LivePackage, PackageOptions
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from tests.av1 import encode_av1


class MemoryShelf:
    """A Shelf that keeps everything in dictionaries. `full`: what is added is given up, as by a full spool."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lines: list[bytes] = []
        self.removed: list[str] = []
        self.full = False
        self.reads = 0
        self.flushes = 0
        self._lost = 0
        self._given_up: list[tuple[tuple[str, ...], bytes]] = []

    def add(self, files: Mapping[str, Sequence[bytes]], entry: bytes) -> None:
        assert b"\n" not in entry
        if self.full and files:
            self._lost += len(files)
            self._given_up.append((tuple(files), entry))
            return
        self.lines.append(entry)
        for name, chunks in files.items():
            assert name not in self.files or self.files[name] == b"".join(chunks), f"{name} was written twice"
            self.files[name] = b"".join(chunks)

    def given_up(self) -> list[tuple[tuple[str, ...], bytes]]:
        told, self._given_up = self._given_up, []
        return told

    async def read(self, name: str) -> bytes | None:
        self.reads += 1
        return self.files.get(name)

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            self.removed.append(name)
            self.files.pop(name, None)

    async def journal(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    async def flush(self) -> None:
        self.flushes += 1

    @property
    def lost(self) -> int:
        return self._lost


class Clock:
    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def video_track(**changes: object) -> Track:
    given: dict[str, object] = {
        "id": 1,
        "codec": Codec.H264,
        "timescale": VIDEO_TIMESCALE,
        "config": b"\x01\x42\xc0\x1e\xff\xe1\x00\x04\x67\x42\xc0\x1e\x01\x00\x02\x68\xce",
        "codec_string": "avc1.42c01e",
        "width": 1280,
        "height": 720,
        "frame_rate": 30.0,
    }
    return Track(**(given | changes))  # type: ignore[arg-type]


def audio_track(**changes: object) -> Track:
    given: dict[str, object] = {
        "id": 2,
        "codec": Codec.AAC,
        "timescale": 48_000,
        "config": b"\x11\x90",
        "codec_string": "mp4a.40.2",
        "sample_rate": 48_000,
        "channels": 2,
    }
    return Track(**(given | changes))  # type: ignore[arg-type]


def made_up(
    seconds: float,
    *,
    fps: float = 30.0,
    gop: float = 2.0,
    audio: int = 48_000,
    start: float = 0.0,
    video: bool = True,
    size: int = 40,
    milliseconds: bool = False,
) -> list[Sample]:
    """Samples in the order of their decode times, not decodable. milliseconds: times rounded as RTMP does."""

    def ticks(at: float, scale: int) -> int:
        return round(round(at * 1000) * scale / 1000) if milliseconds else round(at * scale)

    samples: list[tuple[float, Sample]] = []
    if video:
        frames = round(seconds * fps)
        every = max(1, round(gop * fps))
        for n in range(frames):
            at = start + n / fps
            dts = ticks(at, VIDEO_TIMESCALE)
            samples.append((at, Sample(1, dts, dts, n % every == 0, bytes([n % 256]) * size)))
    if audio:
        first = math.ceil(start * audio)
        for n in range(int(seconds * audio / 1024)):
            dts = first + n * 1024
            at = dts / audio
            dts = ticks(at, audio) if milliseconds else dts
            samples.append((at, Sample(2, dts, dts, True, bytes([n % 256]) * (size // 4), 1024)))
    samples.sort(key=lambda pair: pair[0])
    return [sample for _, sample in samples]


async def feed(package: LivePackage, samples: Sequence[Sample], clock: Clock | None = None, batch: int = 1) -> None:
    """As a publisher in real time would, `batch` samples a call and others having their turn in between."""
    await asyncio.sleep(0)  # what made the samples up has taken its time
    if not samples:
        return
    scales = {1: VIDEO_TIMESCALE, 2: 48_000}
    begin = None
    for n in range(0, len(samples), batch):
        some = samples[n : n + batch]
        at = some[-1].dts / scales[some[-1].track]
        if clock is not None:
            begin = clock.now - at if begin is None else begin
            clock.now = max(clock.now, begin + at)
        package.on_samples(some)
        if n // batch % 32 == 31:
            await asyncio.sleep(0)


class Encoded(SimpleNamespace):
    """tracks, samples (in decode order) and, by track id, what decoding must give back."""

    tracks: tuple[Track, ...]
    samples: list[Sample]


_VIDEO = {
    "libx264": (Codec.H264, "avc1.64001f"),
    "libx265": (Codec.HEVC, "hvc1.1.6.L93.B0"),
    "libvpx-vp9": (Codec.VP9, "vp09.00.31.08"),
    "libaom-av1": (Codec.AV1, "av01.0.04M.08"),
}


def encode(
    seconds: float = 6.0,
    *,
    video: str = "libx264",
    audio: str = "aac",
    fps: int = 30,
    gop: int = 60,
    rate: int = 48_000,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (320, 180),
    audio_delay: float = 0.0,
) -> Encoded:
    """Encode a moving picture and a tone with PyAV; samples as an ingest would hand them over."""
    tracks: list[Track] = []
    timed: list[tuple[Fraction, Sample]] = []
    if video:
        track, samples = _encode_video(seconds, video, fps, gop, options or {}, size)
        tracks.append(track)
        timed += [(Fraction(s.dts, track.timescale), s) for s in samples]
    if audio:
        track, samples = _encode_audio(seconds, audio, rate, audio_delay)
        tracks.append(track)
        timed += [(Fraction(s.dts, track.timescale), s) for s in samples]
    timed.sort(key=lambda pair: pair[0])
    return Encoded(tracks=tuple(tracks), samples=[s for _, s in timed])


def _encode_video(
    seconds: float, name: str, fps: int, gop: int, options: dict[str, str], size: tuple[int, int]
) -> tuple[Track, list[Sample]]:
    if name == "libaom-av1":
        return _encode_av1(seconds, fps, gop, size)
    target = io.BytesIO()
    container = av.open(target, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    stream = container.add_stream(name, rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.gop_size = gop
    stream.options = {
        "libx264": {"preset": "ultrafast", "bf": "2", "b-pyramid": "none", "sc_threshold": "0", "b-adapt": "0"},
        "libx265": {"preset": "ultrafast", "x265-params": f"keyint={gop}:min-keyint={gop}:log-level=none"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    }[name] | options
    packets = []
    width, height = size
    for n in range(round(seconds * fps)):
        frame = av.VideoFrame(width, height, "yuv420p")
        luma = frame.planes[0]
        row = bytes((x + 3 * n) % 256 for x in range(luma.line_size + height))
        luma.update(b"".join(row[y : y + luma.line_size] for y in range(height)))
        for plane in frame.planes[1:]:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts = n
        frame.time_base = Fraction(1, fps)
        packets += stream.encode(frame)
    packets += stream.encode()
    lowest = min(p.dts for p in packets)
    times = [[round((t - lowest) * p.time_base * VIDEO_TIMESCALE) for t in (p.dts, p.pts)] for p in packets]
    for packet in packets:
        container.mux(packet)
    container.close()
    target.seek(0)
    with av.open(target) as written:
        again = written.streams.video[0]
        # PyAV does not give vpcC out: profile 0, level 3.1, 8 bits 4:2:0, colours unspecified
        config = bytes(again.codec_context.extradata or bytes((1, 0, 0, 0, 0, 31, 0x82, 2, 2, 2, 0, 0)))
        demuxed = [p for p in written.demux(again) if p.size]
    codec, text = _VIDEO[name]
    samples = [
        Sample(1, dts, pts, packet.is_keyframe, bytes(packet))
        for (dts, pts), packet in zip(times, demuxed, strict=True)
    ]
    return Track(1, codec, VIDEO_TIMESCALE, config, text, width, height, float(fps)), samples


def _encode_av1(seconds: float, fps: int, gop: int, size: tuple[int, int]) -> tuple[Track, list[Sample]]:
    with av.open(io.BytesIO(encode_av1(*size, Fraction(fps), seconds, gop))) as written:
        stream = written.streams.video[0]
        config = bytes(stream.codec_context.extradata or b"")
        samples = []
        for packet in written.demux(stream):
            if packet.size:
                assert packet.pts is not None
                at = round(packet.pts * packet.time_base * VIDEO_TIMESCALE)
                samples.append(Sample(1, at, at, packet.is_keyframe, bytes(packet)))
    codec, text = _VIDEO["libaom-av1"]
    return Track(1, codec, VIDEO_TIMESCALE, config, text, *size, float(fps)), samples


def _encode_audio(seconds: float, name: str, rate: int, delay: float) -> tuple[Track, list[Sample]]:
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate = rate
    encoder.layout = "stereo"
    encoder.format = "fltp" if name == "aac" else "s16"
    encoder.time_base = Fraction(1, rate)
    encoder.open()
    frame_size = encoder.frame_size or 960
    packets = []
    for n in range(int(seconds * rate / frame_size)):
        tone = [math.sin(2 * math.pi * 440 * (i + n * frame_size) / rate) for i in range(frame_size)]
        if name == "aac":
            frame = av.AudioFrame("fltp", "stereo", frame_size)
            for plane in frame.planes:
                plane.update(struct.pack(f"{frame_size}f", *tone).ljust(plane.buffer_size, b"\0"))
        else:
            frame = av.AudioFrame("s16", "stereo", frame_size)
            both = [int(12_000 * x) for x in tone for _ in (0, 1)]
            frame.planes[0].update(struct.pack(f"{2 * frame_size}h", *both).ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = rate
        frame.pts = n * frame_size
        packets += encoder.encode(frame)
    config = bytes(encoder.extradata or b"")
    codec = Codec.AAC if name == "aac" else Codec.OPUS
    if codec is Codec.OPUS:
        config = config.removeprefix(b"OpusHead")
    first = packets[0].pts or 0
    shift = round(delay * rate)
    samples = [Sample(2, p.pts - first + shift, p.pts - first + shift, True, bytes(p), frame_size) for p in packets]
    text = "mp4a.40.2" if name == "aac" else "opus"
    return Track(2, codec, rate, config, text, sample_rate=rate, channels=2), samples


@contextlib.asynccontextmanager
async def served(package: LivePackage) -> AsyncIterator[str]:
    """The package over HTTP, for programs: the address of its files, which any page may read."""

    async def serve(request: web.Request) -> web.Response:
        answer = package.answer(request.match_info["name"], request.query)
        answer = answer if isinstance(answer, Answer) else await answer
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        headers = {"Content-Type": answer.content_type, "Access-Control-Allow-Origin": "*"}
        if answer.gzip is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = answer.gzip, "gzip"
        return web.Response(status=answer.status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Run(NamedTuple):
    """One fragment as a reader sees it."""

    decode_time: int
    durations: list[int]
    offsets: list[int]
    keys: list[bool]
    payloads: list[bytes]


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        assert at + size <= len(data)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def fragments(data: bytes) -> list[Run]:
    """Read moof and mdat pairs by the letter of ISO/IEC 14496-12."""
    runs = []
    top = boxes(data)
    assert [kind for kind, _ in top] == [b"moof", b"mdat"] * (len(top) // 2)
    for (_, moof), (_, mdat) in zip(top[::2], top[1::2], strict=True):
        traf = dict(boxes(dict(boxes(moof))[b"traf"]))
        flags, _, duration, default_flags = struct.unpack(">IIII", traf[b"tfhd"])
        assert flags == 0x020028
        version, decode_time = struct.unpack(">IQ", traf[b"tfdt"])
        assert version == 0x01000000
        head, count, offset = struct.unpack_from(">IIi", traf[b"trun"])
        assert head >> 24 == 1
        assert offset == 8 + len(moof) + 8
        rest = traf[b"trun"][12:]
        if head & 0xFFFFFF == 0x0201:
            sizes = list(struct.unpack(f">{count}I", rest))
            rows = [(duration, size, default_flags, 0) for size in sizes]
        else:
            assert head & 0xFFFFFF == 0x0F01
            rows = list(struct.iter_unpack(">IIIi", rest))
        assert len(rows) == count
        payloads, at = [], 0
        for _, size, _, _ in rows:
            payloads.append(mdat[at : at + size])
            at += size
        assert at == len(mdat)
        runs.append(
            Run(decode_time, [r[0] for r in rows], [r[3] for r in rows], [not r[2] & 0x10000 for r in rows], payloads)
        )
    return runs


@pytest.fixture
def shelf() -> MemoryShelf:
    return MemoryShelf()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def package(shelf: MemoryShelf, clock: Clock) -> LivePackage:
    return LivePackage(PackageOptions(), shelf, clock)


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """What the tests build with."""
    return SimpleNamespace(
        MemoryShelf=MemoryShelf,
        Clock=Clock,
        video_track=video_track,
        audio_track=audio_track,
        made_up=made_up,
        feed=feed,
        encode=encode,
        served=served,
        boxes=boxes,
        fragments=fragments,
    )
