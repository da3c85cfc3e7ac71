"""`python -m media.vod.encode`: one chunk, decoded once, scaled and encoded by a thread for each rung.

The thread that decodes gives every picture its time on the output's timeline and says which begin a segment; the rungs
do as they are told, so their key frames stand at the same moments. The decoder begins at the source's last key frame
before the chunk; pictures before its start and from its end on belong to its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from media.samples import Codec
from media.vod.coded import video_track
from media.vod.cutter import Coded, Cutter
from media.vod.feed import Feed
from media.vod.inside import Parent, serve
from media.vod.plan import Chunk, ChunkRequest, Plan
from media.vod.prepare import Prepare
from media.vod.results import ChunkResult, Made
from media.vod.rung import Picture, RungThread, open_hardware
from media.vod.source import load

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame

STEP_FRAMES = 25


class Shower:
    """Decides what is shown in the chunk: which pictures are its own, which begin a segment, which one is shown again.

    A segment in which the source has no new picture begins with the last one again, black where there is none.
    """

    def __init__(self, plan: Plan, chunk: Chunk, rungs: Sequence[RungThread], black: VideoFrame) -> None:
        self._chunk = chunk
        self._boundaries = plan.boundaries
        self._last = chunk.first + chunk.count == plan.segments
        self._rungs = rungs
        self._before: VideoFrame = black
        self._next = chunk.first  # segment that begins next
        self.shown = 0
        self.end = chunk.end

    @property
    def done(self) -> float:
        return (self._next - self._chunk.first) / self._chunk.count

    def take(self, at: int, frame: VideoFrame) -> bool:
        """False when the chunk is over."""
        if at >= self._chunk.end:
            self._finish(at)
            return False
        if self._next == 0:
            at = 0 if at < self._boundaries[1] else at  # the first picture is there from the beginning
            self._before = frame
        if at >= self._chunk.start:
            self._fill(at)
            begins = self._next < len(self._boundaries) - 1 and at >= self._boundaries[self._next]
            self._next += begins
            self._show(Picture(at, begins, frame))
            self.shown += 1
        self._before = frame
        return True

    def finish(self) -> None:
        """There is no more of the source."""
        self._fill(self._chunk.end)

    def _finish(self, at: int) -> None:
        """The picture behind the chunk tells how long the last one of it is shown, unless it is shown again there."""
        self._fill(self._chunk.end)
        behind = self._chunk.first + self._chunk.count + 1
        if not self._last and at < self._boundaries[behind]:
            self.end = at

    def _fill(self, at: int) -> None:
        """Segments that are over before this moment and had no picture of their own."""
        most = self._chunk.first + self._chunk.count
        while self._next < most and self._boundaries[self._next + 1] <= at:
            self._show(Picture(self._boundaries[self._next], True, self._before))
            self._next += 1

    def _show(self, picture: Picture) -> None:
        for rung in self._rungs:
            rung.show(picture)


class Devices:
    """Encoders in hardware, opened while the child may open devices, for rungs whose sizes the plan knows already."""

    def __init__(self) -> None:
        self._opened: dict[str, VideoCodecContext] = {}

    def open(self, request: bytes) -> None:
        asked = msgspec.msgpack.decode(request, type=ChunkRequest)
        for name in asked.rungs if asked.family else ():
            rung = asked.plan.rung(name)
            if not rung.passed:
                self._opened[name] = open_hardware(asked.plan, rung, asked.family)

    def take(self, name: str) -> VideoCodecContext | None:
        return self._opened.pop(name, None)


def encode(file: BinaryIO, request: ChunkRequest, parent: Parent, devices: Devices) -> ChunkResult:
    plan, chunk = request.plan, request.plan.chunks[request.number]
    video = plan.facts.video
    assert video is not None
    feed = Feed(file, plan, parent.limits)
    passed = next((rung for rung in plan.rungs if rung.passed and rung.name in request.rungs), None)
    passer = None
    source = feed.packets(chunk.start)
    if passed is not None:
        track = video_track(Codec.H264, video.config, passed.width, passed.height, video.frame_rate)
        passer = Passer(plan, chunk, feed, Cutter(plan, plan.letter(passed.name), track, parent.wrote))
        source = passer.watch(source)
    made: list[Made] = []
    shown = 0
    names = [rung.name for rung in plan.rungs if rung.name in request.rungs and not rung.passed]
    if names:
        prepare = Prepare(plan, feed.stream, max(plan.rung(name).height for name in names))
        rungs = [
            RungThread(plan, plan.rung(name), chunk, prepare.colour, parent.wrote, devices.take(name)) for name in names
        ]
        shower = Shower(plan, chunk, rungs, prepare.black())
        for number, (at, frame) in enumerate(prepare.pictures(feed.frames(source, chunk.end))):
            if not shower.take(at, frame):
                break
            if number % STEP_FRAMES == 0:
                parent.step(shower.done)
        else:
            shower.finish()
        for rung in rungs:
            rung.end(shower.end)
        made = [rung.result() for rung in rungs]
        shown = shower.shown
    if passer is not None:
        for _ in source:
            if passer.over:
                break
        made.append(passer.result())
        shown = shown or passer.count
    return ChunkResult(request.number, tuple(made), shown, feed.lost[0])


class Passer:
    """The source's own packets as a rung: those of the chunk, cut at its key frames."""

    def __init__(self, plan: Plan, chunk: Chunk, feed: Feed, cutter: Cutter) -> None:
        self._boundaries = plan.boundaries
        self._chunk = chunk
        self._feed = feed
        self._cutter = cutter
        self._number = chunk.first
        self._samples: list[Coded] = []
        self.over = False
        self.count = 0

    def watch(self, source: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The same packets, looked at as they go by."""
        for packet in source:
            if packet.pts is not None and not self.over:
                self._take(self._feed.ticks(packet.pts), packet)
            yield packet
        self._end(self._chunk.end)

    def _take(self, at: int, packet: Packet[Any]) -> None:
        if at < self._chunk.start:
            return
        if packet.is_keyframe and at >= self._boundaries[self._number + 1]:
            self._close(at)
            if at >= self._chunk.end:
                self.over = True
                return
        if not self._number and not self._samples:
            at = 0  # the first picture is there from the beginning
        self._samples.append(Coded(at, bool(packet.is_keyframe), bytes(packet)))
        self.count += 1

    def _end(self, at: int) -> None:
        if not self.over and self._samples:
            self._close(at)
        self.over = True

    def _close(self, at: int) -> None:
        if self._samples:
            self._cutter.segment(self._number, self._samples, at)
        self._samples = []
        self._number += 1

    def result(self) -> Made:
        return self._cutter.made()


def work(devices: Devices, file: BinaryIO, request: bytes, parent: Parent) -> bytes:
    return msgspec.msgpack.encode(encode(file, msgspec.msgpack.decode(request, type=ChunkRequest), parent, devices))


if __name__ == "__main__":
    opened = Devices()
    serve(partial(work, opened), load, opened.open)
