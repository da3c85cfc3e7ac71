"""Pictures of a video: of the right moments, of the right size, and never the black one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from media.vod.engine import make_pictures, probe
from media.vod.pictures import parts, score, timestamp
from media.vod.plan import make_plan
from tests.media.vod.conftest import Make, ffmpeg


async def test_thumbnails_storyboard_and_preview(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    dark = tmp_path_factory.mktemp("dark") / "dark.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=240x136:r=25:d=12,drawbox=t=fill:c=black:enable='lt(t,4)'",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", str(dark),
    )  # fmt: skip
    plan = make_plan(await probe(dark))
    said: list[float] = []
    made = await make_pictures(dark, plan, tmp_path, said.append)
    assert said == sorted(said)
    assert set(made.files) == set(files(tmp_path))
    assert len(made.candidates) == 5
    best = next(candidate for candidate in made.candidates if candidate.name == made.best)
    assert best.at > 4
    for candidate in made.candidates:
        with Image.open(tmp_path / candidate.name) as picture:
            assert picture.size == (candidate.width, candidate.height) == (240, 136)
            assert (ImageStat.Stat(picture.convert("L")).mean[0] > 60) == (candidate.at > 4)
    cues = re.findall(r"(\S+) --> (\S+)\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)\n", text(tmp_path / made.storyboard))
    assert len(cues) == round(plan.seconds / 2)
    assert cues[0][:2] == ("00:00:00.000", "00:00:02.000")
    with Image.open(tmp_path / made.sprites[0]) as sheet:
        assert all(int(x) + int(w) <= sheet.width and int(y) + int(h) <= sheet.height for *_, x, y, w, h in cues)
        light = [box(sheet, cue[3:]) > 60 for cue in cues]
        assert light == [False, False, *[True] * (len(cues) - 2)]
    with Image.open(tmp_path / made.preview) as preview:
        assert preview.n_frames > 6
        assert preview.size == (240, 136)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def text(path: Path) -> str:
    return path.read_text()


def box(sheet: Image.Image, place: tuple[str, ...]) -> float:
    x, y, width, height = map(int, place)
    return ImageStat.Stat(sheet.crop((x, y, x + width, y + height)).convert("L")).mean[0]


async def test_one_picture_has_no_preview_and_sound_no_pictures(make: Make, tmp_path: Path) -> None:
    one = make("one.mp4", "-frames:v", "1", "-an", "-c:v", "libx264")
    made = await make_pictures(one, make_plan(await probe(one)), tmp_path)
    assert (len(made.candidates), made.best, made.preview) == (1, "thumb-0.jpg", "")
    sound = make("sound.m4a", "-vn", "-c:a", "aac")
    with pytest.raises(LookupError):
        await make_pictures(sound, make_plan(await probe(sound)), tmp_path)


def test_a_rich_picture_is_better_than_a_plain_and_any_than_black() -> None:
    rich = Image.effect_noise((160, 90), 90).convert("RGB")
    plain, black = Image.new("RGB", (160, 90), (120, 120, 120)), Image.new("RGB", (160, 90))
    assert score(rich) > score(rich.resize((8, 5)).resize((160, 90))) > score(plain) >= score(black)


def test_times_and_parts() -> None:
    assert timestamp(3661.5) == "01:01:01.500"
    assert parts(2, 5) == [(0, 1), (1, 1)]
    assert parts(11, 5) == [(0, 2), (2, 2), (4, 3), (7, 2), (9, 2)]
