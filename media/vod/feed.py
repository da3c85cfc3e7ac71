"""In a child: coded pictures of a source from any moment on, and decoded ones of them, on the output's timeline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

from media.samples import VIDEO_TIMESCALE
from media.vod.facts import VideoFacts
from media.vod.options import Limits
from media.vod.plan import Plan
from media.vod.source import open_source, packets

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream

BEHIND = 10 * VIDEO_TIMESCALE
"""How far behind the end of what is wanted it is sought: pictures may be shown earlier than they come."""


class Feed:
    """lost[0]: places that could not be read."""

    def __init__(self, file: BinaryIO, plan: Plan, limits: Limits) -> None:
        assert plan.facts.video is not None
        self.lost = [0]
        self._plan = plan
        self._video: VideoFacts = plan.facts.video
        _, self._container = open_source(file, limits)
        self.stream: VideoStream = self._container.streams[self._video.index]  # type: ignore[assignment]
        self.stream.thread_type = "AUTO"
        self._base = Fraction(*self._video.timescale)

    def ticks(self, time: int) -> int:
        """A source time on the output's timeline."""
        return round(time * self._base * VIDEO_TIMESCALE) - self._plan.zero

    def packets(self, start: int) -> Iterator[Packet[Any]]:
        """From the last key frame at or before this moment of the output on."""
        keys = [self.ticks(key) for key in self._video.keys]
        place = max(bisect_right(keys, start) - 1, 0)
        if not self._video.exact or place == 0:
            self._container.seek(0, backward=True)
            yield from packets(self._container, [self.stream], self.lost)
            return
        back = 0
        while back < place and not self._reaches(self._video.keys[place - back], start):
            back = back * 2 or 1  # an index may be by decode time, or wrong: then further back
        if back < place:
            self._seek(self._video.keys[place - back])
        else:
            self._container.seek(0, backward=True)
        started = False
        for packet in packets(self._container, [self.stream], self.lost):
            started = started or packet.is_keyframe
            if started:
                yield packet

    def _seek(self, key: int) -> None:
        self._container.seek(key, stream=self.stream, backward=True)

    def _reaches(self, key: int, start: int) -> bool:
        """Whether the first key frame that comes after seeking this one is shown by then."""
        self._seek(key)
        for packet in packets(self._container, [self.stream], [0]):
            if packet.is_keyframe and packet.pts is not None:
                return self.ticks(packet.pts) <= start
        return False

    def frames(self, source: Iterator[Packet[Any]], end: int) -> Iterator[tuple[int, VideoFrame]]:
        """With their times on the output's timeline, each later than the one before; to a while behind the end."""
        import av  # noqa: PLC0415

        last = -(1 << 62)
        for number, frame in enumerate(self._decoded(source, end)):
            if self._video.exact:
                time = frame.pts if frame.pts is not None else frame.dts
                if time is None:
                    continue
                at = self.ticks(time)
            else:
                at = self.ticks(number)
            if at > last:
                last = at
                frame.pict_type = av.video.frame.PictureType.NONE
                yield at, frame

    def _decoded(self, source: Iterator[Packet[Any]], end: int) -> Iterator[VideoFrame]:
        import av  # noqa: PLC0415

        for packet in source:
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.lost[0] += 1
            if packet.pts is not None and self._video.exact and self.ticks(packet.pts) > end + BEHIND:
                break
        try:
            yield from self.stream.codec_context.decode(None)
        except av.FFmpegError:
            self.lost[0] += 1
