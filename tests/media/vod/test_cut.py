"""Stretches cut out of sets that are there: exact to the picture, sound in step, and hardly anything encoded anew."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from media.protocols.errors import MediaError
from media.vod.clipping import Cut, carry_out
from media.vod.cut import CutPlan, Piece, Strip, plan_cut
from media.vod.engine import encode_audio
from media.vod.options import Options
from media.vod.packaging import package_stretches
from media.vod.results import Made
from media.vod.stretches import Stretch
from tests.media.vod.conftest import H264, RATE, SMALL, Make, ffprobe, number_of
from tests.media.vod.test_encode import encoded

SHOWN = "stream=height,nb_read_frames"
HALF_A_FRAME = 512 / 48_000 + 0.001


def strip_of(folder: Path, made: Made) -> Strip:
    pieces = tuple(
        Piece(str(folder / f"{made.letter}-{s.number}.m4s"), s.start, s.duration, s.size) for s in made.segments
    )
    return Strip(
        made.letter, made.codec, made.scale, str(folder / made.init), pieces,
        made.width, made.height, made.frame_rate, made.sample_rate, made.channels,
    )  # fmt: skip


def strips_of(folder: Path, made: Sequence[Made]) -> list[Strip]:
    strips = [strip_of(folder, one) for one in made]
    return sorted(strips, key=lambda strip: -strip.width)


async def read(key: str) -> bytes:
    return await asyncio.to_thread(Path(key).read_bytes)


async def cut(strips: list[Strip], folder: Path, *ranges: tuple[float, float]) -> tuple[list[CutPlan], Cut]:
    """As the server does it: edges made, the middle copied by the store, playlists over both."""
    plans = [await plan_cut(strips, start, end, read) for start, end in ranges]
    done = await carry_out(plans, folder, read)
    for source, name in done.copies:
        os.link(source, folder / name)
    for name, body in package_stretches(done.stretches).items():
        (folder / name).write_bytes(body)
    return plans, done


def shown(folder: Path, stretch: Stretch, letter: str) -> tuple[list[float], list[int]]:
    """Times from the beginning of the stretch, and the numbers of the pictures, as a decoder of the files has them."""
    made = stretch.rendition(letter)
    assert made is not None
    path = folder / f"whole-{letter}.mp4"
    path.write_bytes(b"".join((folder / name).read_bytes() for name in made.files))
    times, numbers = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            times.append(round(float(frame.pts * frame.time_base) - stretch.start / 90_000, 4))
            numbers.append(number_of(frame))
    return times, numbers


def heard(folder: Path, stretch: Stretch) -> tuple[float, float, list[float]]:
    """From when to when there is sound, and where beeps begin, s from the beginning of the stretch."""
    made = stretch.rendition("a")
    assert made is not None
    path = folder / "whole-a.mp4"
    path.write_bytes(b"".join((folder / name).read_bytes() for name in made.files))
    begins: list[float] = []
    first, last, loud = 1e9, 0.0, -1.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            at = float(frame.pts * frame.time_base) - stretch.start / 90_000
            first, last = min(first, at), at + frame.samples / frame.sample_rate
            samples = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples]
            place = next((n for n, value in enumerate(samples) if abs(value) > 0.1), None)
            if place is not None:
                if at > loud:
                    begins.append(round(at + place / frame.sample_rate, 3))
                loud = at + 0.3
    return first, last, begins


async def vod(source: Path, folder: Path, options: Options = SMALL) -> list[Strip]:
    """A set of the engine's."""
    plan, results = await encoded(source, folder, options)
    made: dict[str, Made] = {}
    for result in sorted(results, key=lambda result: result.number):
        for one in result.renditions:
            before = made.get(one.letter)
            made[one.letter] = one if before is None else replace(one, segments=(*before.segments, *one.segments))
    sound = await encode_audio(source, plan, folder) if plan.audio is not None else None
    return strips_of(folder, [*made.values(), *([sound.rendition] if sound is not None else [])])


@pytest.fixture(scope="module")
def strips(mp4: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Strip]:
    """The engine's set of the plain source: four seconds with a key frame each, two rungs, sound."""
    return asyncio.run(vod(mp4, tmp_path_factory.mktemp("vod")))


LEAD = 2 / RATE
"""By so much everything is shown later in the files of a set."""


@pytest.mark.parametrize(("start", "end"), [(0.5, 3.5), (0.0, 2.02), (1.24, 1.6), (0.96, 1.08)])
async def test_a_stretch_begins_and_ends_at_the_very_picture(
    strips: list[Strip], tmp_path: Path, start: float, end: float
) -> None:
    wanted = [n for n in range(4 * RATE) if n + 1 > round(start * RATE, 6) and n < round(end * RATE, 6)]
    (plan,), done = await cut(strips, tmp_path, (start + LEAD, end + LEAD))
    assert plan.exact
    for letter in ("v-68p", "v-136p"):
        times, numbers = shown(tmp_path, done.stretches[0], letter)
        assert numbers == wanted
        assert times == pytest.approx([(n - wanted[0]) / RATE for n in wanted], abs=0.001)
    assert all(len(strip.edges) <= 2 for strip in plan.strips)
    assert done.encoded <= 4 * RATE
    begin, over, _ = heard(tmp_path, done.stretches[0])
    assert abs(begin) <= HALF_A_FRAME
    assert abs(over - len(wanted) / RATE) <= HALF_A_FRAME


async def test_sound_stays_in_step_and_players_play_it(strips: list[Strip], tmp_path: Path) -> None:
    _, done = await cut(strips, tmp_path, (0.52 + LEAD, 3.48 + LEAD))
    _, _, beeps = heard(tmp_path, done.stretches[0])
    assert beeps == pytest.approx([0.48, 1.48, 2.48], abs=0.02)
    for name in ("index.m3u8", "index.mpd"):
        told = ffprobe("-count_frames", "-select_streams", "v", "-show_entries", SHOWN, str(tmp_path / name))
        assert {"68,74", "136,74"} <= {line.strip(",") for line in told.split()}


async def test_whole_segments_are_copied_and_nothing_is_decoded(strips: list[Strip], tmp_path: Path) -> None:
    video = [strip for strip in strips if strip.width]
    _, done = await cut(video, tmp_path, (1 + LEAD, 3 + LEAD))
    assert (done.encoded, done.files, len(done.copies)) == (0, (), 6)
    assert shown(tmp_path, done.stretches[0], "v-136p")[1] == list(range(25, 75))


async def test_without_reordering_the_end_is_cut_and_not_encoded(
    make: Make, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = make("flat.mp4", *H264, "-bf", "0", "-force_key_frames", "0,1,2,3", "-an")
    strips = await vod(source, tmp_path_factory.mktemp("vod"))
    top = [strip for strip in strips if strip.letter == "v-136p"]
    _, done = await cut(top, tmp_path, (1 + LEAD, 2.48 + LEAD))
    assert (done.encoded, done.passed) == (0, 12)
    assert shown(tmp_path, done.stretches[0], "v-136p")[1] == list(range(25, 62))


async def test_several_stretches_and_a_cut_of_a_cut(strips: list[Strip], tmp_path: Path) -> None:
    once, again = tmp_path / "once", tmp_path / "again"
    once.mkdir()
    again.mkdir()
    _, done = await cut(strips, once, (0.2 + LEAD, 1.4 + LEAD), (2.2 + LEAD, 3.6 + LEAD))
    told = ffprobe("-count_frames", "-select_streams", "v", "-show_entries", SHOWN, str(once / "index.m3u8"))
    assert "136,65" in {line.strip(",") for line in told.split()}
    assert (once / "index.mpd").read_text().count("<Period ") == 2
    second = done.stretches[1]
    at = second.start / 90_000
    _, once_more = await cut(strips_of(once, second.renditions), again, (at + 0.2, at + 1.2))
    assert shown(again, once_more.stretches[0], "v-68p")[1] == list(range(60, 85))


@pytest.mark.parametrize("codec", ["av1", "hevc"])
async def test_other_codecs(make: Make, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, codec: str) -> None:
    """What cannot be made to fit is not cut within a segment."""
    options = replace(SMALL, codec=codec, ladder=SMALL.ladder[:1], preset="ultrafast")
    strips = await vod(make("short.mp4", *H264, "-t", "2.4", "-c:a", "aac"), tmp_path_factory.mktemp("vod"), options)
    (plan,), done = await cut(strips, tmp_path, (0.52 + LEAD, 1.48 + LEAD))
    times, _ = shown(tmp_path, done.stretches[0], "v-68p")
    assert plan.exact is (codec == "av1")
    assert len(times) == (24 if plan.exact else 50)


async def test_what_is_not_whole_is_refused(strips: list[Strip]) -> None:
    async def torn(key: str) -> bytes:
        return (await read(key))[:200]

    with pytest.raises(MediaError):
        await plan_cut(strips, 2.5, 3.5, torn)
