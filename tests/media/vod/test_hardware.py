"""Encoders in hardware, on machines that have none: the trial says so, and the work is done in software."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from media.transcode.encoders import FAMILIES, Tried, chosen, encoder_of, pixels_of, told
from media.transcode.hardware import FAILURES, Hardware
from media.transcode.trial import trial
from media.vod.engine import encode_chunk, probe
from media.vod.errors import EngineFailed
from media.vod.fallback import encode_chunk as encode_chunk_anyhow
from media.vod.options import Options, Rung
from media.vod.plan import Plan, make_plan
from tests.media.vod.conftest import pictures

ONE = Options(
    ladder=(Rung("68p", 68, 150_000),), segment_seconds=1.0, chunk_seconds=2.0, pass_through=False, mixed=True
)


def broken() -> str:
    """A family that this build of libavcodec lists for H.264, and that has no device here."""
    for family in FAMILIES:
        if encoder_of(family, "h264") in av.codecs_available and trial("h264", family).fault:
            return family
    pytest.skip("every listed encoder works on this machine")


def listed(family: str, codec: str = "h264") -> Hardware:
    """As after a trial that it passed."""
    hardware = Hardware("software", codec)
    hardware._tried = (Tried(family, ""),)
    return hardware


async def test_what_is_listed_and_does_not_work_is_told_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    family = broken()
    hardware = Hardware(family, "h264")
    hardware.start()
    try:
        assert await hardware.family("h264") == ""
    finally:
        await hardware.close()
    shown = hardware.describe()
    assert shown["encoder"] == "software"
    assert encoder_of(family, "h264") in str(shown["faults"])
    assert "software does it" in caplog.text


def test_what_is_not_in_the_library_is_no_fault_of_ours() -> None:
    assert "not in this build" in trial("h264", "nothing").fault


async def test_a_device_that_fails_in_the_middle_costs_no_picture(mp4: Path, tmp_path: Path) -> None:
    """The encoder is opened for real, in the sealed child, and fails."""
    family = broken()
    plan = make_plan(await probe(mp4), ONE)
    with pytest.raises(EngineFailed):
        await encode_chunk(mp4, plan, 0, ["68p"], tmp_path, family=family)
    hardware = listed(family)
    for number in range(len(plan.chunks)):
        await encode_chunk_anyhow(hardware, mp4, plan, number, ["68p"], tmp_path)
    assert hardware.describe()["failures"] == len(plan.chunks)
    assert pictures(tmp_path, "v-68p", plan).numbers == list(range(100))
    # a plan of before, whose pieces are all alike, stays with software
    await encode_chunk_anyhow(hardware, mp4, unmixed(plan), 0, ["68p"], tmp_path)
    assert hardware.describe()["failures"] == len(plan.chunks)


def unmixed(plan: Plan) -> Plan:
    return replace(plan, options=replace(plan.options, mixed=False))


async def test_pieces_of_two_encoders_are_one_film(mp4: Path, tmp_path: Path) -> None:
    """Two configurations of one encoder stand for two: other reference pictures, another entropy coder, and so other
    parameter sets than those of the init segment that is written last."""
    plan = make_plan(await probe(mp4), ONE)
    assert len(plan.chunks) == 2
    other = replace(plan, options=replace(plan.options, preset="ultrafast"))
    await encode_chunk(mp4, plan, 0, ["68p"], tmp_path)
    first = (tmp_path / "v-68p-init.mp4").read_bytes()
    await encode_chunk(mp4, other, 1, ["68p"], tmp_path)
    assert (tmp_path / "v-68p-init.mp4").read_bytes() != first
    assert pictures(tmp_path, "v-68p", plan).numbers == list(range(100))


async def test_a_device_that_goes_on_failing_is_left_alone() -> None:
    hardware = listed("nvenc")
    assert await hardware.family("h264") == "nvenc"
    assert await hardware.family("hevc") == ""
    for _ in range(FAILURES - 1):
        hardware.failed("nvenc")
    hardware.succeeded()
    hardware.failed("nvenc")
    assert await hardware.family("h264") == "nvenc"
    for _ in range(FAILURES):
        hardware.failed("nvenc")
    assert await hardware.family("h264") == ""
    assert hardware.describe()["encoder"] == "software"


def test_each_is_told_the_same_in_its_own_words() -> None:
    """Against the options that the ffmpeg program knows, for those that are in its build."""
    for family in FAMILIES:
        asked = told(family, preset="veryfast", quality=23, peak=1_000_000, buffer=2_000_000)
        assert (asked["maxrate"], asked["bufsize"], asked["bf"]) == ("1000000", "2000000", "0")
        assert pixels_of(family) in ("nv12", "yuv420p")
        command = ["ffmpeg", "-hide_banner", "-h", f"encoder={encoder_of(family, 'h264')}"]
        help = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True).stdout
        if "AVOptions" in help:
            known = set(re.findall(r"^ +-(\S+)", help, re.MULTILINE))
            assert set(asked) - {"maxrate", "bufsize", "bf", "g", "b"} <= known, family
    assert told("nvenc", preset="medium", quality=20, peak=1, buffer=2)["preset"] == "p6"
    assert told("nvenc", preset="veryslow", quality=20, peak=1, buffer=2)["preset"] == "p6"
    assert told("qsv", preset="ultrafast", quality=20, peak=100, buffer=2)["b"] == "75"


def test_the_setting() -> None:
    assert chosen("software") == ()
    assert chosen("auto") == FAMILIES
    assert chosen("qsv") == ("qsv",)
    with pytest.raises(ValueError, match="it takes software, auto, nvenc"):
        chosen("vaapi")
