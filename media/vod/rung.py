"""In a child: one rung's thread, which scales and encodes what it is shown, and hands on segments as they are done."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from media.samples import VIDEO_TIMESCALE, Codec
from media.transcode.encoders import encoder_of, pixels_of
from media.transcode.encoders import told as told_hardware
from media.vod.coded import sample, video_track
from media.vod.cutter import Coded, Cutter
from media.vod.plan import Chunk, Plan, RungPlan
from media.vod.prepare import UNKNOWN, Colour
from media.vod.results import Made

if TYPE_CHECKING:
    from av import VideoCodecContext, VideoFrame

WAITING = 8
"""Pictures that may wait for a rung: what one thread decodes ahead."""
BUFFER = 2
"""Seconds of the peak bit rate that a player buffers."""
ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
AV1_PRESETS = {"ultrafast": "12", "superfast": "11", "veryfast": "10", "faster": "9", "fast": "8", "medium": "7"}
AV1_QUALITY = 12
"""What AV1's scale of quality is beside that of x264, roughly."""


class Picture(NamedTuple):
    """at: ticks of the output. begins: a segment begins with it."""

    at: int
    begins: bool
    frame: VideoFrame


class RungThread:
    """From its making until result(). A daemon: when the chunk fails, it ends with the process."""

    def __init__(
        self,
        plan: Plan,
        rung: RungPlan,
        chunk: Chunk,
        colour: Colour,
        write: Callable[[str, bytes], None],
        hardware: VideoCodecContext | None = None,
    ) -> None:
        """hardware: an encoder that is open already, in the place of one in software."""
        from av.video.reformatter import VideoReformatter  # noqa: PLC0415

        self._rung = rung
        self._codec = Codec(plan.options.codec)
        self._number = chunk.first
        self._encoder = hardware or open_encoder(plan, rung, colour)
        self._pixels = self._encoder.pix_fmt or "yuv420p"
        rate = plan.facts.video.frame_rate if plan.facts.video is not None else 0.0
        config = bytes(self._encoder.extradata or b"")
        track = video_track(self._codec, config, rung.width, rung.height, rate)
        self._head = config if plan.options.mixed and self._codec is not Codec.AV1 else b""
        self._cutter = Cutter(plan, plan.letter(rung.name), track, write)
        self._scaler = VideoReformatter()
        self._samples: list[Coded] = []
        self._begins: set[int] = set()
        self._end = chunk.end
        self._failure: BaseException | None = None
        self._waiting: queue.Queue[Picture | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name=rung.name, daemon=True)
        self._thread.start()

    def show(self, picture: Picture) -> None:
        """Raises what the thread died of."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._waiting.put(picture, timeout=1.0)
            except queue.Full:
                continue
            return

    def end(self, at: int) -> None:
        """No more pictures: the last one is shown until then."""
        self._end = at
        self._waiting.put(None)

    def result(self) -> Made:
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._cutter.made()

    def _run(self) -> None:
        try:
            while (picture := self._waiting.get()) is not None:
                self._encode(picture)
            self._collect(None)
            self._close(self._end)
        except BaseException as error:
            self._failure = error

    def _encode(self, picture: Picture) -> None:
        from av.video.frame import PictureType  # noqa: PLC0415

        # a rung of the source's own size gets the frame itself; what is set on it is the same for all rungs
        frame = self._scaler.reformat(
            picture.frame,
            width=self._rung.width,
            height=self._rung.height,
            format=self._pixels,
            interpolation="BICUBIC",
            threads=1,
        )
        frame.pts, frame.time_base = picture.at, Fraction(1, VIDEO_TIMESCALE)
        frame.pict_type = PictureType.I if picture.begins else PictureType.NONE
        if picture.begins:
            self._begins.add(picture.at)
        self._collect(frame)

    def _collect(self, frame: VideoFrame | None) -> None:
        for packet in self._encoder.encode(frame):
            assert packet.pts is not None
            if packet.pts in self._begins:
                if not packet.is_keyframe:
                    raise ValueError("the encoder made no key frame where a segment begins")
                self._close(packet.pts)
            data = self._head + bytes(packet) if packet.is_keyframe else bytes(packet)
            self._samples.append(Coded(packet.pts, bool(packet.is_keyframe), sample(self._codec, data)))

    def _close(self, at: int) -> None:
        if self._samples:
            self._cutter.segment(self._number, self._samples, at)
            self._number += 1
        self._samples = []


def open_hardware(plan: Plan, rung: RungPlan, family: str) -> VideoCodecContext:
    """The same of an encoder in hardware. It is opened before the source is, so it is not told of the source's colours,
    and players take what is usual for the size."""
    encoder = _encoder(plan, rung, encoder_of(family, plan.options.codec), pixels_of(family))
    encoder.options = told_hardware(
        family,
        preset=plan.options.preset,
        quality=plan.options.quality,
        peak=rung.bit_rate,
        buffer=BUFFER * rung.bit_rate,
    )
    encoder.open()
    return encoder


def _encoder(plan: Plan, rung: RungPlan, name: str, pixels: str) -> VideoCodecContext:
    import av  # noqa: PLC0415
    from av.codec.context import Flags  # noqa: PLC0415

    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = rung.width, rung.height, pixels
    encoder.time_base = Fraction(1, VIDEO_TIMESCALE)
    rate = plan.facts.video.frame_rate if plan.facts.video is not None else 30.0
    encoder.framerate = Fraction(max(rate, 1.0)).limit_denominator(1001)
    encoder.flags |= Flags.global_header
    return encoder


def open_encoder(plan: Plan, rung: RungPlan, colour: Colour) -> VideoCodecContext:
    """Key frames where it is told and nowhere else, closed groups, constant quality below a peak bit rate."""
    codec, options = plan.options.codec, plan.options
    encoder = _encoder(plan, rung, ENCODERS[codec], "yuv420p")
    encoder.thread_count = 0
    encoder.thread_type = "AUTO"  # else x264 cuts every picture in slices, which cost bits
    told = {"maxrate": str(rung.bit_rate), "bufsize": str(BUFFER * rung.bit_rate), "g": "100000"}
    if codec == "av1":
        told |= {
            "preset": AV1_PRESETS.get(options.preset, "10"),
            "crf": str(options.quality + AV1_QUALITY),
            "svtav1-params": "scd=0:force-key-frames=1",
        }
    else:
        parameters = "keyint=infinite:scenecut=0" if codec == "h264" else "keyint=-1:scenecut=0:open-gop=0:log-level=0"
        kind = "x264-params" if codec == "h264" else "x265-params"
        told |= {"preset": options.preset, "crf": str(options.quality), "forced-idr": "1", kind: parameters}
        if not plan.lead:  # nothing is sent earlier than it is shown
            told["bf"] = "0"
            told[kind] = f"{parameters}:bframes=0"
        del told["g"]
    for name, value in zip(("color_primaries", "color_trc", "colorspace"), colour, strict=True):
        if value not in (0, UNKNOWN):
            told[name] = str(value)
    encoder.options = told
    encoder.open()
    return encoder
