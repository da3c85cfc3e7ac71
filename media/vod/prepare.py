"""In a child: what is done to every picture once, before the rungs: turned upright, deinterlaced, HDR to SDR, 4:2:0.

Most sources need nothing of it; then pictures pass as they are, and each rung's scaler does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from media.samples import VIDEO_TIMESCALE
from media.vod.plan import Plan

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.filter import Graph

TURNS = {90: "clock", 270: "cclock"}
BT709, BT470BG, SMPTE170M, UNKNOWN = 1, 5, 6, 2
TV_RANGE = 1


class Colour(NamedTuple):
    """Primaries, transfer and matrix (ISO/IEC 23091-2) of what is encoded; 2 where the source does not tell."""

    primaries: int
    transfer: int
    matrix: int


class Prepare:
    def __init__(self, plan: Plan, stream: VideoStream, highest: int) -> None:
        """highest: the lines of the highest rung that is made: more are not worth the work of a colour conversion."""
        assert plan.facts.video is not None
        self._video = plan.facts.video
        self._highest = highest
        self._graph: Graph | None = None
        self._like: tuple[object, ...] = ()
        context = stream.codec_context
        self.colour = (
            Colour(BT709, BT709, BT709)
            if self._video.hdr
            else Colour(int(context.color_primaries), int(context.color_trc), int(context.colorspace))
        )

    @property
    def _idle(self) -> bool:
        video = self._video
        return not (video.rotation or video.interlaced or video.hdr)

    def black(self) -> VideoFrame:
        import av  # noqa: PLC0415

        frame = av.VideoFrame(self._video.width & ~1 or 2, self._video.height & ~1 or 2, "yuv420p")
        for number, plane in enumerate(frame.planes):
            plane.update(bytes([128 if number else 16]) * plane.buffer_size)
        return frame

    def pictures(self, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:

        if self._idle:
            yield from frames
            return
        for at, frame in frames:
            frame.pts, frame.time_base = at, Fraction(1, VIDEO_TIMESCALE)
            like = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
            if like != self._like:
                yield from self._drained()
                self._graph, self._like = self._build(frame), like
            assert self._graph is not None
            self._graph.vpush(frame)
            yield from self._pulled()
        yield from self._drained()

    def _drained(self) -> Iterator[tuple[int, VideoFrame]]:
        """Only a deinterlacer keeps pictures back; what maps HDR takes seconds to build, and is kept."""
        if self._graph is not None and self._video.interlaced:
            self._graph.vpush(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[tuple[int, VideoFrame]]:
        import av  # noqa: PLC0415

        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if frame.pts is not None and frame.time_base is not None:
                frame.pict_type = av.video.frame.PictureType.NONE
                yield round(frame.pts * frame.time_base * VIDEO_TIMESCALE), frame

    def _build(self, frame: VideoFrame) -> Graph:
        import av.filter  # noqa: PLC0415

        graph = av.filter.Graph()
        graph.threads = 0
        video = self._video
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=f"1/{VIDEO_TIMESCALE}",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        nodes = [source]
        if video.interlaced:
            # one picture for each frame, and only of frames that are interlaced
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        if video.hdr:
            factor = min(1.0, self._highest / min(video.width, video.height))
            width, height = (max(2, round(side * factor / 2) * 2) for side in (frame.width, frame.height))
            nodes.append(
                graph.add(
                    "scale",
                    f"{width}:{height}:flags=bicubic:out_primaries=bt709:out_transfer=bt709:out_color_matrix=bt709"
                    ":out_range=tv:intent=perceptual",
                )
            )
            nodes.append(graph.add("format", "yuv420p"))
        if video.rotation in TURNS:
            nodes.append(graph.add("transpose", TURNS[video.rotation]))
        elif video.rotation == 180:
            nodes += [graph.add("hflip"), graph.add("vflip")]
        graph.link_nodes(*nodes, graph.add("buffersink"))
        graph.configure()
        return graph
