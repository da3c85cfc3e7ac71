"""Real sources, made by ffmpeg when they are first asked for: small, with the number of each picture drawn into it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from media.vod.options import Options, Rung
from media.vod.plan import Plan

WIDTH, HEIGHT, RATE, SECONDS = 240, 136, 25, 4
BITS = 8
PICTURE = (
    f"color=s={WIDTH}x{HEIGHT}:r={RATE}:d={SECONDS},format=yuv420p,"
    f"geq=lum='if(mod(floor(N/pow(2,floor(X*{BITS}/W))),2),220,30)':cb=128:cr=128"
)
"""Picture N is N in binary: upright bars, the lowest bit on the left."""
BEEPS = f"aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:d={SECONDS}"
"""A tenth of a second of sound at each full second."""
SMALL = Options(ladder=(Rung("68p", 68, 150_000), Rung("136p", 136, 400_000)), segment_seconds=1.0, chunk_seconds=2.0)
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "40", "-keyint_min", "40", "-sc_threshold", "0"]

Make = Callable[..., Path]


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


def ffprobe(*arguments: str) -> str:
    command = ["ffprobe", "-v", "error", "-of", "csv=p=0", *arguments]
    return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The picture and the sound without loss, which all other sources are made of."""
    path = tmp_path_factory.mktemp("counted") / "counted.mkv"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", BEEPS, "-c:v", "ffv1", "-c:a", "pcm_s16le", str(path))
    return path


@pytest.fixture(scope="session")
def make(counted: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """make(name, *ffmpeg's output options): a source of that name; the same is made once."""
    folder = tmp_path_factory.mktemp("sources")
    made: dict[tuple[str, ...], Path] = {}

    def source(name: str, *options: str, before: Sequence[str] = ()) -> Path:
        key = (name, *before, *options)
        if key not in made:
            made[key] = folder / f"{len(made)}-{name}"
            ffmpeg(*before, "-i", str(counted), *options, str(made[key]))
        return made[key]

    return source


@pytest.fixture(scope="session")
def mp4(make: Make) -> Path:
    """Nothing odd: H.264 in closed groups of 1.6 s, which no grid of a second fits, and AAC."""
    return make("plain.mp4", *H264, "-bf", "2", "-c:a", "aac")


class Seen(NamedTuple):
    """A rendition's pictures as a player decodes them: when each is shown on the output's timeline, and its number."""

    times: list[float]
    numbers: list[int]
    keys: list[float]


def joined(folder: Path, letter: str) -> Path:
    """A rendition's files one after the other, which is a file that players can read."""
    parts = sorted(folder.glob(f"{letter}-[0-9]*.m4s"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    whole = folder / f"{letter}.mp4"
    whole.write_bytes((folder / f"{letter}-init.mp4").read_bytes() + b"".join(path.read_bytes() for path in parts))
    return whole


def pictures(folder: Path, letter: str, plan: Plan) -> Seen:
    seen = Seen([], [], [])
    with av.open(str(joined(folder, letter))) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            at = float(frame.pts * frame.time_base) - plan.lead / 90_000
            seen.times.append(round(at, 4))
            seen.numbers.append(number_of(frame))
            if frame.key_frame:
                seen.keys.append(round(at, 4))
    return seen


def number_of(frame: av.VideoFrame) -> int:
    plane = frame.planes[0]
    row = bytes(plane)[plane.line_size * (frame.height // 2) :][: frame.width]
    wide = frame.width / BITS
    return sum((row[int((bit + 0.5) * wide)] > 125) << bit for bit in range(BITS))


def beeps(folder: Path, plan: Plan) -> list[float]:
    """When sound begins, in seconds of the output's timeline."""
    begins: list[float] = []
    with av.open(str(joined(folder, "a"))) as container:
        loud_until = -1.0
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            at = float(frame.pts * frame.time_base) - plan.lead / 90_000
            samples = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples]
            first = next((n for n, value in enumerate(samples) if abs(value) > 0.1), None)
            if first is not None:
                begin = at + float(Fraction(first, frame.sample_rate))
                if begin > loud_until:
                    begins.append(round(begin, 3))
                loud_until = begin + 0.3
    return begins
