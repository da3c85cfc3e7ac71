"""Sources whose every picture has its number in it, so that a clip can be told to the picture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests.media.vod.conftest import BITS, number_of
from tests.server.streaming.videos.conftest import clip, settings, studio

__all__ = ["clip", "numbers", "settings", "shown", "studio"]

RATE = 25
COUNTER = (
    f"color=s=320x180:r={RATE},format=yuv420p,"
    f"geq=lum='if(mod(floor(N/pow(2,floor(X*{BITS}/W))),2),220,30)':cb=128:cr=128"
)
BEEPS = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000"
"""A tenth of a second of sound at each full second: at picture 0, 25, 50, ..."""


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """A file of so many seconds: a key frame each two seconds, B-frames, AAC."""
    import subprocess  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("numbers")

    def make(seconds: float) -> Path:
        path = folder / f"{seconds:g}.mp4"
        if not path.exists():
            subprocess.run(
                [
                    "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", COUNTER, "-f", "lavfi", "-i", BEEPS,
                    "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-sc_threshold", "0",
                    "-c:a", "aac", "-t", str(seconds), str(path),
                ],
                check=True,
            )  # fmt: skip
        return path

    return make


async def shown(url: str) -> dict[str, Any]:
    """What a player has of an address: numbers and times of its pictures, and when beeps begin, s."""
    return await asyncio.to_thread(_shown, url)


def _shown(url: str) -> dict[str, Any]:
    pictures: list[tuple[float, int]] = []
    begins: list[float] = []
    loud = -1.0
    with av.open(url) as container:
        streams = [container.streams.video[0], container.streams.audio[0]]
        for frame in container.decode(streams):
            assert frame.pts is not None
            assert frame.time_base is not None
            at = float(frame.pts * frame.time_base)
            if isinstance(frame, av.VideoFrame):
                pictures.append((at, number_of(frame)))
                continue
            assert isinstance(frame, av.AudioFrame)
            samples = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples]
            place = next((n for n, value in enumerate(samples) if abs(value) > 0.1), None)
            if place is not None:
                if at > loud:
                    begins.append(at + place / frame.sample_rate)
                loud = at + 0.3
    pictures.sort()
    return {"numbers": [number for _, number in pictures], "times": [at for at, _ in pictures], "beeps": begins}


async def counted(url: str) -> int:
    """How many pictures ffmpeg has of it."""
    command = ["-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames"]
    program = await asyncio.create_subprocess_exec(
        "ffprobe", *command, "-of", "csv=p=0", url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await program.communicate()
    assert program.returncode == 0
    return int(out.decode().split()[0].strip(","))
