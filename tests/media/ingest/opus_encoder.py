"""An encoder of its own process: H.264 with Opus by Enhanced RTMP in real time, which the system's ffmpeg cannot.

    opus_encoder.py URL SECONDS

A key frame each second, and at each whole second a tone of 0.1 s. In silence every 50th of a second is the same.
"""

from __future__ import annotations

import array
import math
import sys
import time
from fractions import Fraction
from typing import Any

import av

RATE, FPS = 48_000, 30


def picture(number: int) -> av.VideoFrame:
    frame = av.VideoFrame(320, 192, "yuv420p")
    row = bytes((x + 3 * number) % 256 for x in range(frame.planes[0].line_size))
    frame.planes[0].update(row * 192)
    for plane in frame.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


def sound(number: int) -> av.AudioFrame:
    """The samples of one picture."""
    count = RATE // FPS
    values = array.array("h")
    for n in range(number * count, (number + 1) * count):
        loud = 20_000 if n % RATE < RATE // 10 else 0
        values.extend((int(loud * math.sin(2000 * math.pi * n / RATE)),) * 2)
    frame = av.AudioFrame("s16", "stereo", count)
    frame.planes[0].update(values.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = RATE, number * count, Fraction(1, RATE)
    return frame


def push(url: str, seconds: float) -> None:
    with av.open(url, "w", format="flv") as out:
        video: Any = out.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 320, 192, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS)}
        audio: Any = out.add_stream("libopus", rate=RATE)
        begun = time.monotonic()
        for number in range(int(seconds * FPS)):
            time.sleep(max(0.0, begun + number / FPS - time.monotonic()))
            out.mux(video.encode(picture(number)))
            out.mux(audio.encode(sound(number)))


if __name__ == "__main__":
    push(sys.argv[1], float(sys.argv[2]))
