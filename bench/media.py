"""The picture and sound that is pushed: made once by ffmpeg, kept in the cache folder, read as RTMP payloads."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, say

FRAME_RATE = 30
KEY_SECONDS = 2
VIDEO = 9


@dataclass(frozen=True, slots=True)
class Tag:
    """One FLV tag. kind: 8 audio, 9 video, 18 data. time: decode time, ms."""

    kind: int
    time: int
    body: bytes

    @property
    def header(self) -> bool:
        """A sequence header (decoder configuration) or metadata, not a frame."""
        return self.kind not in (8, VIDEO) or (len(self.body) > 1 and self.body[1] == 0)


def live_media(cache: Path, seconds: int = 60) -> Path:
    """720p30 H.264 at a constant 2.5 Mbit/s with a key frame every 2 s and no B-frames, AAC at 128 kbit/s, as FLV."""
    made = cache / f"live-{seconds}.flv"
    if made.is_file():
        return made
    if not shutil.which("ffmpeg"):
        raise BenchError("ffmpeg is not installed (Debian: apt-get install ffmpeg); it makes and pushes the media.")
    say(f"making {seconds} s of 720p30 once, in {made.parent.name}/ …")
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = made.with_suffix(".part")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc2=s=1280x720:r={FRAME_RATE}", "-f", "lavfi", "-i", "sine=f=440:r=48000"]
    command += ["-t", str(seconds), "-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-preset", "veryfast"]
    command += ["-profile:v", "high", "-pix_fmt", "yuv420p", "-bf", "0", "-sc_threshold", "0"]
    command += ["-g", str(KEY_SECONDS * FRAME_RATE), "-keyint_min", str(KEY_SECONDS * FRAME_RATE)]
    command += ["-b:v", "2500k", "-minrate", "2500k", "-maxrate", "2500k", "-bufsize", "2500k"]
    command += ["-x264-params", "nal-hrd=cbr", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv", str(unfinished)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise BenchError(f"ffmpeg could not make the media: {done.stderr[-500:]}")
    unfinished.rename(made)
    return made


def read_flv(file: Path) -> list[Tag]:
    """All tags in order (Adobe FLV 10.1, annex E)."""
    data = file.read_bytes()
    tags, at = [], int.from_bytes(data[5:9], "big") + 4
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        tags.append(Tag(data[at] & 31, time, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags
