"""AV1 for tests, by the ffmpeg program and libaom.

Not by PyAV's own encoder: SVT-AV1, run as root, gives its process real-time priority and keeps it, so that everything a
test starts later starves the machine; and on two cores it sometimes never returns.
"""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 60


def encode_av1(width: int, height: int, rate: Fraction, seconds: float, gop: int) -> bytes:
    """An MP4 file with one AV1 track, a key frame every `gop` frames."""
    with TemporaryDirectory() as folder:
        target = Path(folder) / "av1.mp4"
        # fmt: off
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={width}x{height}:r={rate}",
             "-t", str(seconds), "-pix_fmt", "yuv420p", "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime",
             "-lag-in-frames", "0", "-row-mt", "0", "-g", str(gop), "-keyint_min", str(gop), "-b:v", "200k",
             str(target)],
            check=True, timeout=SECONDS,
        )
        # fmt: on
        return target.read_bytes()
