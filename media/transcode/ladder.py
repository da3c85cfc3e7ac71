"""A live ladder's child: `python -m media.transcode.ladder` decodes a picture once and encodes it in several sizes.

It reads messages (Begin, Rungs, then Batches) and writes Made as pictures are done. Each rung is a thread that scales
and encodes; a picture that one of them has no place for is waited for, so that what piles up does so in the pipe, where
the parent sees it. Key frames are where the source has them, times are the source's, and nothing is held back.

What cannot be decoded is left out. A rung begins, and takes another bit rate, at a key frame of the source.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from media.samples import VIDEO_TIMESCALE, Codec
from media.transcode.inside import LENGTH, frames, limit_child, seal_child
from media.transcode.rungs import Step, level_of
from media.vod.coded import sample, video_track

if TYPE_CHECKING:
    from av import VideoCodecContext, VideoFrame

DECODERS = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d", Codec.VP9: "vp9"}
MESSAGE_LIMIT = 64 << 20
MEMORY_BYTES = 3 << 30
NICENESS = 5
"""Behind sound and the server, before video on demand."""
WAITING = 3
"""Pictures that may wait for a rung."""
QUALITY = "23"
BUFFER_SECONDS = 1
"""Of its peak bit rate that a rung may send early."""
HDR = (16, 18)
"""Transfer functions PQ and HLG (ISO/IEC 23091-2): made small as they are they would look grey."""
UNKNOWN = 2
CHANGED = 1.25
"""An encoder is begun again for a bit rate that is so many times the one that it has, up or down."""


class Begin(msgspec.Struct, array_like=True, tag="b"):
    """A source: its number, codec, configuration, and frames per second as it claims them (0.0 when it does not)."""

    number: int
    codec: str
    config: bytes
    frame_rate: float


class Rungs(msgspec.Struct, array_like=True, tag="r"):
    """What is made from the next key frame on; what is not named ends now."""

    steps: list[Step]


class Batch(msgspec.Struct, array_like=True, tag="s"):
    """Frames of a source: dts, pts, whether it is a key frame, data."""

    number: int
    frames: list[tuple[int, int, bool, bytes]]


class Made(msgspec.Struct, array_like=True, tag="m"):
    """Of a rung: dts, pts, and the sample. config, codec_string: with each key frame. first: of a new encoder."""

    number: int
    rung: str
    dts: int
    pts: int
    key: bool
    data: bytes
    config: bytes
    codec_string: str
    width: int
    height: int
    first: bool


class Refused(msgspec.Struct, array_like=True, tag="x"):
    """Nothing is made of this source."""

    number: int
    words: str


class Picture(NamedTuple):
    """delay: by which the source decodes earlier than it shows; the rungs keep it, so that they are cut where it is.
    shape: width to height of a pixel, None when that is not said."""

    pts: int
    delay: int
    key: bool
    frame: VideoFrame
    shape: Fraction | None = None


class RungThread:
    """One size of one source."""

    def __init__(self, number: int, step: Step, frame_rate: float, write: Callable[[Made], None]) -> None:
        from av.video.reformatter import VideoReformatter  # noqa: PLC0415  the parent must not load it

        self.step = step
        self._number = number
        self._frame_rate = frame_rate
        self._write = write
        self._scaler = VideoReformatter()
        self._encoder: VideoCodecContext | None = None
        self._made_for = step
        self._config, self._codec_string = b"", ""
        self._first = True
        self._last = -(1 << 62)
        self._times: dict[int, Picture] = {}
        self._waiting: queue.Queue[Picture | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name=step.name, daemon=True)
        self._thread.start()

    def show(self, picture: Picture) -> None:
        self._waiting.put(picture)

    def end(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (picture := self._waiting.get()) is not None:
                self._encode(picture)
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the parent begins anew with another child

    def _encode(self, picture: Picture) -> None:
        from av.video.frame import PictureType  # noqa: PLC0415

        if picture.key and self._stale():
            self._open(picture)
        encoder = self._encoder
        if encoder is None:
            return  # it begins with a key frame
        step = self._made_for
        frame = self._scaler.reformat(
            picture.frame, width=step.width, height=step.height, format="yuv420p",
            interpolation="FAST_BILINEAR" if picture.frame.width > 2 * step.width else "BILINEAR", threads=1,
        )  # fmt: skip
        frame.pts, frame.time_base = picture.pts, Fraction(1, VIDEO_TIMESCALE)
        frame.pict_type = PictureType.I if picture.key else PictureType.NONE
        self._times[picture.pts] = picture
        for packet in encoder.encode(frame):
            assert packet.pts is not None
            meant = self._times.pop(packet.pts)
            key = bool(packet.is_keyframe)
            self._last = max(packet.pts - meant.delay, self._last + 1)
            config, codec_string = (self._config, self._codec_string) if key else (b"", "")
            made = Made(
                self._number, step.name, self._last, packet.pts, key, sample(Codec.H264, bytes(packet)), config,
                codec_string, step.width, step.height, self._first,
            )  # fmt: skip
            self._write(made)
            self._first = False

    def _stale(self) -> bool:
        step, made = self.step, self._made_for
        return (
            self._encoder is None
            or (step.width, step.height) != (made.width, made.height)
            or not made.rate / CHANGED <= step.rate <= made.rate * CHANGED
        )

    def _open(self, picture: Picture) -> None:
        step = self._made_for = self.step
        self._encoder = open_encoder(step, self._frame_rate, picture)
        config = bytes(self._encoder.extradata or b"")
        track = video_track(Codec.H264, config, step.width, step.height, self._frame_rate)
        self._config, self._codec_string = track.config, track.codec_string
        self._first = True
        self._times = {}


class Source:
    """In the child: one source, decoded once for all rungs."""

    def __init__(self, begin: Begin, write: Callable[[Made | Refused], None]) -> None:
        import av  # noqa: PLC0415

        self.number = begin.number
        self._write = write
        self._frame_rate = begin.frame_rate
        decoder = av.CodecContext.create(DECODERS[Codec(begin.codec)], "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.thread_count = 1  # more would each hold a picture back
        if begin.codec != Codec.VP9:
            decoder.extradata = begin.config
        self._decoder = decoder
        self._rungs: dict[str, RungThread] = {}
        self._keys: deque[tuple[int, int]] = deque()  # pts and delay of key frames that are still to come out
        self._delay = 0
        self._last = -(1 << 62)
        self._refused = False

    def rungs(self, steps: list[Step]) -> None:
        wanted = {step.name: step for step in steps}
        for name in [name for name in self._rungs if name not in wanted]:
            self._rungs.pop(name).end()
        for name, step in wanted.items():
            if name in self._rungs:
                self._rungs[name].step = step
            else:
                self._rungs[name] = RungThread(self.number, step, self._frame_rate, self._write)

    def take(self, batch: list[tuple[int, int, bool, bytes]]) -> None:
        import av  # noqa: PLC0415

        for dts, pts, key, data in batch:
            if key:
                self._keys.append((pts, pts - dts))
            packet = av.Packet(data)
            packet.pts, packet.dts, packet.time_base = pts, dts, Fraction(1, VIDEO_TIMESCALE)
            try:
                decoded = self._decoder.decode(packet)
            except av.FFmpegError:
                continue  # damaged: what can be decoded follows
            for frame in decoded:
                self._show(frame)

    def close(self) -> None:
        self.rungs([])

    def _show(self, frame: VideoFrame) -> None:
        if frame.pts is None or frame.pts <= self._last or self._refused:
            return
        if int(frame.color_trc) in HDR:
            self._refused = True
            self._write(Refused(self.number, "it has a high dynamic range"))
            return
        self._last = frame.pts
        key = False
        while self._keys and self._keys[0][0] <= frame.pts:
            _, self._delay = self._keys.popleft()
            key = True
        picture = Picture(frame.pts, self._delay, key, frame, self._decoder.sample_aspect_ratio)
        for rung in self._rungs.values():
            rung.show(picture)


def open_encoder(step: Step, frame_rate: float, picture: Picture) -> VideoCodecContext:
    """Key frames where it is told and nowhere else, no B-frames, nothing held back, quality below a peak bit rate."""
    import av  # noqa: PLC0415
    from av.codec.context import Flags  # noqa: PLC0415

    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = step.width, step.height, "yuv420p"
    encoder.time_base = Fraction(1, VIDEO_TIMESCALE)
    encoder.framerate = Fraction(frame_rate or 30.0).limit_denominator(1001)
    encoder.flags |= Flags.global_header
    encoder.thread_count = 1
    parameters = "keyint=infinite:scenecut=0"
    like, shape = picture.frame, picture.shape
    if shape and shape > 0 and shape != 1:
        parameters += f":sar={shape.numerator}/{shape.denominator}"
    level = level_of(step.width, step.height, frame_rate)
    told = {
        "preset": "veryfast", "tune": "zerolatency", "profile": "high", "level": f"{level // 10}.{level % 10}",
        "crf": QUALITY, "maxrate": str(step.rate), "bufsize": str(BUFFER_SECONDS * step.rate), "forced-idr": "1",
        "x264-params": parameters,
    }  # fmt: skip
    colour = (("color_primaries", like.color_primaries), ("color_trc", like.color_trc), ("colorspace", like.colorspace))
    for name, value in colour:
        if int(value) not in (0, UNKNOWN):
            told[name] = str(int(value))
    encoder.options = told
    encoder.open()
    return encoder


def warm() -> None:
    """In the child: load what decoding, scaling and encoding need while it may still open files."""
    import av  # noqa: PLC0415

    for name in DECODERS.values():
        av.CodecContext.create(name, "r")
    made: list[Made | Refused] = []
    rung = RungThread(0, Step("warm", 64, 64, 100_000), 30.0, made.append)
    rung.show(Picture(0, 0, True, av.VideoFrame(128, 128, "yuv420p")))
    rung.end()


def main() -> None:
    limit_child(0, MEMORY_BYTES)
    warm()  # somebody is waiting for it
    os.nice(NICENESS)
    seal_child()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    decode = msgspec.msgpack.Decoder(Begin | Rungs | Batch).decode
    encode = msgspec.msgpack.Encoder().encode
    turn = threading.Lock()

    def write(message: Made | Refused) -> None:
        data = frames([encode(message)])
        with turn:
            answers.write(data)
            answers.flush()

    source: Source | None = None
    steps: list[Step] = []
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        if length > MESSAGE_LIMIT:
            return
        message = decode(requests.read(length))
        if isinstance(message, Begin):
            if source is not None:
                source.close()
            source = Source(message, write)
            source.rungs(steps)
        elif isinstance(message, Rungs):
            steps = message.steps
            if source is not None:
                source.rungs(steps)
        elif source is not None and message.number == source.number:
            source.take(message.frames)


if __name__ == "__main__":
    main()
