"""Thumbnails are decoded in a child that a bad frame, or its death, does not take the others with."""

from __future__ import annotations

import io
import os
import signal
from fractions import Fraction

import av
import pytest

from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from media.transcode.child import ChildFailed
from media.transcode.thumbnail import WIDTH, Thumbnailer


def key_frame(width: int = 1280, height: int = 720) -> tuple[Track, Sample]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    frame = av.VideoFrame(width, height, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([(60, 90, 200)[number]]) * plane.buffer_size)
    frame.pts = 0
    data = b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
    # Annex B is what the encoder gives; the decoder takes it too when there is no avcC
    track = Track(1, Codec.H264, VIDEO_TIMESCALE, b"", "avc1.42c01f", width, height)
    return track, Sample(1, 0, 0, True, data)


@pytest.fixture
async def thumbnailer():
    made = Thumbnailer()
    yield made
    await made.close()


async def test_a_key_frame_becomes_a_small_jpeg(thumbnailer: Thumbnailer) -> None:
    jpeg = await thumbnailer.jpeg(*key_frame())
    with av.open(io.BytesIO(jpeg), format="mjpeg") as picture:
        frame = next(picture.decode(video=0))
    assert (frame.width, frame.height) == (WIDTH, 270)


async def test_garbage_costs_only_its_own_request(thumbnailer: Thumbnailer) -> None:
    track, sample = key_frame()
    for data in (b"", b"\0" * 1000, os.urandom(5000)):
        with pytest.raises(ChildFailed):
            await thumbnailer.jpeg(track, sample._replace(data=data))
    before = thumbnailer.describe()["pid"]
    assert await thumbnailer.jpeg(track, sample)
    assert thumbnailer.describe()["pid"] == before


async def test_a_killed_child_is_replaced(thumbnailer: Thumbnailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.transcode.child.BACKOFF_SECONDS", (0.0,))
    frame = key_frame()
    assert await thumbnailer.jpeg(*frame)
    pid = thumbnailer.describe()["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildFailed):
        await thumbnailer.jpeg(*frame)
    assert await thumbnailer.jpeg(*frame)
    assert thumbnailer.describe()["pid"] != pid
