"""An encoder of its own process: pushes noise by PyAV's libavformat, which is newer than the system's ffmpeg.

    pyav_encoder.py URL VIDEO_ENCODER AUDIO_ENCODER

Prints the packets it sent as pictures, one a line, in hexadecimal. PyAV holds the interpreter while it connects, so it
cannot share a process with the server.
"""

from __future__ import annotations

import random
import sys
from fractions import Fraction
from typing import Any

import av


def encode(url: str, video: str, audio: str | None, frames: int = 20) -> list[bytes]:
    """The pictures that were sent."""
    sent: list[bytes] = []
    with av.open(url, "w", format="flv") as out:
        stream: Any = out.add_stream(video, rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        stream.options = {"preset": "ultrafast"} if "26" in video else {}
        if video == "libvpx-vp9":
            stream.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        sound: Any = out.add_stream(audio, rate=48000) if audio else None
        noise = random.Random(1)
        for i in range(frames):
            picture = av.VideoFrame(320, 192, "yuv420p")
            for plane in picture.planes:
                plane.update(noise.randbytes(plane.buffer_size))
            picture.pts, picture.time_base = i, Fraction(1, 30)
            for packet in stream.encode(picture):
                sent.append(bytes(packet))
                out.mux(packet)
            if sound is not None:
                frame = av.AudioFrame(format="s16", layout="stereo", samples=1600)
                frame.planes[0].update(bytes(frame.planes[0].buffer_size))
                frame.sample_rate, frame.pts, frame.time_base = 48000, i * 1600, Fraction(1, 48000)
                out.mux(sound.encode(frame))
        for packet in stream.encode(None):
            sent.append(bytes(packet))
            out.mux(packet)
        if sound is not None:
            out.mux(sound.encode(None))
    return sent


if __name__ == "__main__":
    for sent in encode(*sys.argv[1:4]):
        sys.stdout.write(f"sent {sent.hex()}\n")
