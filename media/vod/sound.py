"""`python -m media.vod.sound`: the sound of a source in one piece: carried as it is where it fits, else AAC of 48 kHz.

One piece, because an encoder's first frame is heard with what was before it: pieces put together would click. Times are
exact: what is missing in the source becomes silence, what an encoder adds in front (its priming) is taken off, and the
track is as long as the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from media.protocols.aac import parse_asc
from media.samples import VIDEO_TIMESCALE, Codec, Track
from media.transcode.sound import AAC_FRAME, RATE, config_of
from media.vod.cutter import Coded, Cutter
from media.vod.facts import AudioFacts
from media.vod.inside import Parent, serve
from media.vod.plan import AudioPlan, Plan
from media.vod.results import AudioResult
from media.vod.source import load, open_source, packets

if TYPE_CHECKING:
    from av import AudioCodecContext, AudioFrame, AudioStream, Packet
    from av.filter import Graph

STEP_FRAMES = 500
HOLE_SECONDS = 0.05
"""A smaller difference between time stamps and samples is the source's rounding."""


class Segments:
    """Frames of one length, one after the other from a start on, to segments on the grid of the pictures."""

    def __init__(self, plan: Plan, track: Track, parent: Parent) -> None:
        self._cutter = Cutter(plan, plan.sound, track, parent.wrote)
        self._rate = track.timescale
        self._starts = [boundary * self._rate / VIDEO_TIMESCALE for boundary in plan.boundaries]
        self._number = 0
        self._samples: list[Coded] = []
        self._parent = parent
        self._count = 0

    def add(self, time: int, data: bytes) -> None:
        while self._number < len(self._starts) - 2 and time >= self._starts[self._number + 1]:
            self._close(time)
        self._samples.append(Coded(time, True, data))
        self._count += 1
        if self._count % STEP_FRAMES == 0:
            self._parent.step(time / max(self._starts[-1], 1))

    def finish(self, length: int) -> None:
        """length: of a frame."""
        if self._samples:
            self._close(self._samples[-1].time + length)

    def _close(self, end: int) -> None:
        if self._samples:
            self._cutter.segment(self._number, self._samples, end)
        self._samples = []
        self._number += 1

    def result(self, lost: int) -> AudioResult:
        return AudioResult(self._cutter.made(), lost)


def convert(file: BinaryIO, plan: Plan, parent: Parent) -> AudioResult:
    facts, audio = plan.facts.audio, plan.audio
    assert facts is not None
    assert audio is not None
    _, container = open_source(file, parent.limits)
    stream: AudioStream = container.streams[facts.index]  # type: ignore[assignment]
    lost = [0]
    source = packets(container, [stream], lost)
    if audio.passed:
        return _pass(source, plan, facts, parent, lost)
    return Encoder(plan, facts, audio, parent).run(source, lost)


def _pass(source: Iterator[Packet[Any]], plan: Plan, facts: AudioFacts, parent: Parent, lost: list[int]) -> AudioResult:
    told = parse_asc(facts.config)
    track = Track(
        2,
        Codec.AAC,
        facts.sample_rate,
        facts.config,
        told.codec_string,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
    )
    segments = Segments(plan, track, parent)
    base = Fraction(*facts.timescale)
    first: int | None = None
    count = 0
    for packet in source:
        if packet.pts is None:
            continue
        if first is None:
            at = round((packet.pts * base - Fraction(plan.zero, VIDEO_TIMESCALE)) * facts.sample_rate)
            if at < -(told.frame // 2):
                continue  # what the encoder put in front, which is not to be heard
            first = max(at, 0)
        segments.add(first + count * told.frame, bytes(packet))
        count += 1
    segments.finish(told.frame)
    return segments.result(lost[0])


class Encoder:
    """Decoded sound on the output's timeline, without holes, to AAC."""

    def __init__(self, plan: Plan, facts: AudioFacts, audio: AudioPlan, parent: Parent) -> None:
        self._plan = plan
        self._base = Fraction(*facts.timescale)
        self._layout = "mono" if audio.channels == 1 else "stereo"
        self._length = -(-plan.boundaries[-1] * RATE // VIDEO_TIMESCALE)
        self._index = 0  # samples given to the encoder
        self._graph: Graph | None = None
        self._like: tuple[object, ...] = ()
        config = config_of(Codec.AAC, audio.channels)
        track = Track(
            2, Codec.AAC, RATE, config, parse_asc(config).codec_string, sample_rate=RATE, channels=audio.channels
        )
        self._segments = Segments(plan, track, parent)
        self._encoder = self._open(audio)

    def run(self, source: Iterator[Packet[Any]], lost: list[int]) -> AudioResult:
        import av  # noqa: PLC0415

        for packet in source:
            if self._index >= self._length:
                break
            try:
                decoded: list[Any] = packet.decode()
            except av.FFmpegError:
                lost[0] += 1
                continue
            for frame in decoded:
                self._take(frame)
        self._drain()
        while self._index < self._length:
            self._give(self._silence(min(AAC_FRAME, self._length - self._index)))
        self._encode(None)
        self._segments.finish(AAC_FRAME)
        return self._segments.result(lost[0])

    def _take(self, frame: AudioFrame) -> None:
        like = (frame.format.name, frame.layout.name, frame.sample_rate)
        if like != self._like:
            self._drain()
            self._graph, self._like = self._build(frame), like
        if frame.pts is not None:
            base = frame.time_base or self._base
            time = frame.pts * base - Fraction(self._plan.zero, VIDEO_TIMESCALE)
            frame.pts = round(time * frame.sample_rate)
        frame.time_base = Fraction(1, frame.sample_rate)
        assert self._graph is not None
        self._graph.push(frame)
        self._pull()

    def _build(self, frame: AudioFrame) -> Graph:
        import av.filter  # noqa: PLC0415

        graph = av.filter.Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=Fraction(1, frame.sample_rate),
            ),
            # holes become silence and what overlaps is cut off; nothing is stretched
            graph.add("aresample", f"{RATE}:async=1:min_hard_comp={HOLE_SECONDS}:first_pts={self._index}"),
            graph.add("aformat", f"sample_fmts=fltp:sample_rates={RATE}:channel_layouts={self._layout}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        return graph

    def _drain(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
            self._graph = None

    def _pull(self) -> None:
        import av  # noqa: PLC0415

        assert self._graph is not None
        while True:
            try:
                frame: Any = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._give(frame)

    def _give(self, frame: AudioFrame) -> None:
        frame.pts, frame.time_base = self._index, Fraction(1, RATE)
        self._index += frame.samples
        self._encode(frame)

    def _encode(self, frame: AudioFrame | None) -> None:
        for packet in self._encoder.encode(frame):
            if packet.pts is not None and 0 <= packet.pts < self._length:
                self._segments.add(packet.pts, bytes(packet))

    def _silence(self, samples: int) -> AudioFrame:
        import av  # noqa: PLC0415

        frame = av.AudioFrame("fltp", self._layout, samples)
        frame.sample_rate = RATE
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        return frame

    def _open(self, audio: AudioPlan) -> AudioCodecContext:
        import av  # noqa: PLC0415

        encoder = av.CodecContext.create("aac", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = RATE, self._layout, "fltp"
        encoder.time_base = Fraction(1, RATE)
        encoder.bit_rate = audio.bit_rate
        encoder.thread_count = 1
        encoder.open()
        return encoder


def work(file: BinaryIO, request: bytes, parent: Parent) -> bytes:
    plan = msgspec.msgpack.decode(request, type=Plan)
    return msgspec.msgpack.encode(convert(file, plan, parent))


if __name__ == "__main__":
    serve(work, load)
