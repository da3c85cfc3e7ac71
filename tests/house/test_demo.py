"""The demo's picture can be read by a program, and its pusher speaks RTMP and ends with its parent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.demo.picture import HEIGHT, WIDTH, Picture, code, read_code
from server.demo.run import URL_VARIABLE
from tests.house.conftest import ROOT
from tests.support import eventually, free_port


@given(st.integers(0, 2**44 - 1))
def test_blocks_hold_any_time(milliseconds: int) -> None:
    cells = code(milliseconds)
    assert len(cells) == 56
    assert int("".join("1" if cell else "0" for cell in cells[2:46]), 2) == milliseconds


def test_a_picture_shows_the_time_it_was_drawn_for() -> None:
    picture = Picture()
    for milliseconds in (0, 1_795_183_442_095, 1_795_183_442_128, 1_795_183_502_999):
        luma = picture.draw(milliseconds)
        assert len(luma) == WIDTH * HEIGHT
        assert read_code(luma, WIDTH, WIDTH, HEIGHT) == milliseconds


def test_damaged_blocks_are_not_believed() -> None:
    luma = bytearray(Picture().draw(1_795_183_442_095))
    left, row = WIDTH // 16, int(0.875 * HEIGHT)
    for line in range(row, int(0.95 * HEIGHT)):
        at = line * WIDTH + left + 30 * 20
        luma[at : at + 20] = bytes(251 - shade for shade in luma[at : at + 20])
    assert read_code(bytes(luma), WIDTH, WIDTH, HEIGHT) is None
    assert read_code(bytes(WIDTH * HEIGHT), WIDTH, WIDTH, HEIGHT) is None


@contextlib.asynccontextmanager
async def listening(port: int, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The ffmpeg program as an RTMP server that writes one push to a file."""
    command = ["ffmpeg", "-loglevel", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/live/key"]
    process = await asyncio.create_subprocess_exec(
        *command, "-c", "copy", "-f", "flv", str(file), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_push_is_h264_and_aac_whose_every_frame_tells_its_time(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "push.flv"
    before = time.time_ns() // 1_000_000
    async with listening(port, file) as server:
        # It tries again until ffmpeg listens.
        arguments = ["--rtmp", f"rtmp://127.0.0.1:{port}/live/key", "--seconds", "5"]
        pusher = await asyncio.create_subprocess_exec(sys.executable, "-m", "server.demo", *arguments, cwd=ROOT)
        assert await asyncio.wait_for(pusher.wait(), 60) == 0
        await asyncio.wait_for(server.wait(), 20)
    after = time.time_ns() // 1_000_000

    times, keys = await asyncio.to_thread(read_push, file)
    assert len(times) > 60
    assert all(before <= shown <= after for _, shown in times)
    assert all(later > earlier for (_, earlier), (_, later) in itertools.pairwise(times))
    assert [round(later - earlier, 1) for earlier, later in itertools.pairwise(keys)] == [2.0] * (len(keys) - 1)
    assert len(keys) >= 2


def read_push(file: Path) -> tuple[list[tuple[float, int]], list[float]]:
    """(media time, time in the picture at a quarter of its size) of every frame, and the times of the key frames."""
    times, keys = [], []
    with av.open(str(file)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        audio = container.streams.audio[0]
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 48_000, 2)
        for frame in container.decode(video=0):
            small = frame.reformat(width=320, height=180)
            plane = small.planes[0]
            shown = read_code(bytes(plane), plane.line_size, small.width, small.height)
            assert shown is not None, f"the frame at {frame.time} s cannot be read"
            assert frame.time is not None
            times.append((frame.time, shown))
            if frame.key_frame:
                keys.append(frame.time)
    return times, keys


async def test_the_pusher_ends_when_its_parent_is_gone() -> None:
    # Nobody listens: it is in its pause between two attempts, which is when ending is easily forgotten.
    address = f"rtmp://127.0.0.1:{free_port()}/live/key"
    pusher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.demo"),
        cwd=ROOT,
        env={**os.environ, URL_VARIABLE: address},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert pusher.stdin is not None
    assert pusher.stderr is not None
    said = await asyncio.wait_for(pusher.stderr.readline(), 30)
    assert b"the push ended" in said
    assert b"key" not in said
    assert pusher.returncode is None
    pusher.stdin.close()
    await eventually(lambda: pusher.returncode is not None, what="the pusher's end")


def test_a_push_needs_an_address(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from server.demo.__main__ import main  # noqa: PLC0415

    monkeypatch.setattr(sys, "argv", ["server.demo"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--rtmp is missing" in capsys.readouterr().err
