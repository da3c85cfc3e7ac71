"""The child process of the demo: draws and encodes in real time and pushes through RTMP until it is told to stop.

x264 runs in its fastest, delay-free form with a key frame every 2 s; the sound is a quiet tone at the first 80 ms of
each second of the wall clock. When the server goes away it tries again, later each time.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from server.demo.picture import FRAME_RATE, HEIGHT, WIDTH, Picture

BIT_RATE = 2_000_000
MAX_BIT_RATE = 2_500_000
KEY_SECONDS = 2
SAMPLE_RATE = 48_000
AUDIO_BIT_RATE = 96_000
SAMPLES_PER_FRAME = 1024
TONE_HZ = 880
TONE_SECONDS = 0.08
TONE_LEVEL = 0.05
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
GOOD_AFTER = 10.0
BEHIND_SECONDS = 3.0


class FellBehind(Exception):
    """The machine slept or is too busy: a new connection starts at the present."""


def push(url: str, seconds: float | None) -> None:
    """Push for so long (for ever when None), reconnecting. Returns at the end of the time."""
    deadline = None if seconds is None else time.monotonic() + seconds
    failures = 0
    while deadline is None or time.monotonic() < deadline:
        started = time.monotonic()
        try:
            _broadcast(url, deadline)
        except (OSError, av.FFmpegError, FellBehind) as error:
            failures = 0 if time.monotonic() - started > GOOD_AFTER else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            if deadline is not None:
                pause = min(pause, max(0.0, deadline - time.monotonic()))
            sys.stderr.write(f"demo: the push ended ({_reason(error)}); again in {pause:g} s\n")
            sys.stderr.flush()
            time.sleep(pause)


def end_with_parent() -> None:
    """End this process when its standard input closes, which it does however the parent ends."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _broadcast(url: str, deadline: float | None) -> None:
    picture = Picture()
    with av.open(url, "w", format="flv", options={"flvflags": "no_duration_filesize"}, timeout=(10.0, 10.0)) as output:
        video = _video_stream(output)
        audio = _audio_stream(output)
        output.start_encoding()
        start, wall = time.monotonic(), time.time()
        sound = _sound(wall)
        number = samples = 0
        while deadline is None or time.monotonic() < deadline:
            behind = time.monotonic() - (start + number / FRAME_RATE)
            if behind > BEHIND_SECONDS:
                raise FellBehind(f"{behind:.1f} s behind")
            if behind < 0:
                time.sleep(-behind)
            output.mux(video.encode(_frame(picture, number)))
            while samples * FRAME_RATE < (number + 1) * SAMPLE_RATE:
                output.mux(audio.encode(_audio_frame(next(sound), samples)))
                samples += SAMPLES_PER_FRAME
            number += 1
        output.mux(video.encode(None))
        output.mux(audio.encode(None))


def _video_stream(output: OutputContainer) -> VideoStream:
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "sc_threshold": "0",
        "keyint_min": str(FRAME_RATE * KEY_SECONDS),
        "maxrate": str(MAX_BIT_RATE),
        "bufsize": str(MAX_BIT_RATE // 2),
    }
    stream = output.add_stream("libx264", rate=FRAME_RATE, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.bit_rate = BIT_RATE
    stream.codec_context.gop_size = FRAME_RATE * KEY_SECONDS
    stream.codec_context.time_base = Fraction(1, FRAME_RATE)
    stream.codec_context.thread_count = 1
    return stream


def _audio_stream(output: OutputContainer) -> AudioStream:
    stream = output.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
    assert isinstance(stream, AudioStream)
    stream.bit_rate = AUDIO_BIT_RATE
    return stream


def _frame(picture: Picture, number: int) -> VideoFrame:
    # A new frame each time: the encoder may still hold the last one.
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    planes = (picture.draw(time.time_ns() // 1_000_000), picture.blue, picture.red)
    for plane, data in zip(frame.planes, planes, strict=True):
        plane.update(_padded(data, plane.width, plane.line_size))
    frame.pts = number
    frame.time_base = Fraction(1, FRAME_RATE)
    return frame


def _padded(data: bytes, width: int, line_size: int) -> bytes:
    """Lines as long as this build of FFmpeg has them."""
    if width == line_size:
        return data
    padding = bytes(line_size - width)
    return b"".join(data[at : at + width] + padding for at in range(0, len(data), width))


def _audio_frame(data: bytes, pts: int) -> AudioFrame:
    frame = AudioFrame("fltp", "stereo", SAMPLES_PER_FRAME)
    frame.sample_rate = SAMPLE_RATE
    for plane in frame.planes:
        plane.update(data)
    frame.pts = pts
    frame.time_base = Fraction(1, SAMPLE_RATE)
    return frame


def _sound(wall: float) -> Iterator[bytes]:
    """32-bit float samples of one channel, frame after frame, from this moment of the wall clock on."""
    tone = int(TONE_SECONDS * SAMPLE_RATE)
    second = array("f", bytes(4 * SAMPLE_RATE))
    for index in range(tone):
        # Faded in and out: a tone that is switched on clicks.
        fade = math.sin(math.pi * index / tone)
        second[index] = TONE_LEVEL * fade * math.sin(2 * math.pi * TONE_HZ * index / SAMPLE_RATE)
    twice = second.tobytes() * 2
    at = int(wall % 1 * SAMPLE_RATE)
    while True:
        yield twice[4 * at : 4 * (at + SAMPLES_PER_FRAME)]
        at = (at + SAMPLES_PER_FRAME) % SAMPLE_RATE


def _reason(error: Exception) -> str:
    # FFmpeg puts the whole address, with the key, into its errors.
    return (getattr(error, "strerror", None) or type(error).__name__) if isinstance(error, OSError) else str(error)
