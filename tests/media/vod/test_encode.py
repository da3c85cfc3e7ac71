"""From a source to segments and playlists: every picture once and in time, cut alike in all rungs, sound in step."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from media.vod.engine import encode_audio, encode_chunk, probe
from media.vod.errors import BadSource, EngineFailed
from media.vod.options import Limits, Options
from media.vod.packaging import check_loss, package
from media.vod.plan import Plan, make_plan, plan_from_json, plan_to_json
from media.vod.results import ChunkResult
from tests.media.vod.conftest import H264, RATE, SECONDS, SMALL, Make, beeps, ffmpeg, ffprobe, joined, pictures

FRAMES = RATE * SECONDS
SHOWN = "stream=height,nb_read_frames"


async def encoded(source: Path, folder: Path, options: Options = SMALL) -> tuple[Plan, list[ChunkResult]]:
    """Chunks from the last to the first: none may need another."""
    plan = plan_from_json(plan_to_json(make_plan(await probe(source), options)))
    names = [rung.name for rung in plan.rungs]
    results = [await encode_chunk(source, plan, chunk.number, names, folder) for chunk in reversed(plan.chunks)]
    audio = await encode_audio(source, plan, folder) if plan.audio is not None else None
    for name, body in package(plan, results, audio).items():
        (folder / name).write_bytes(body)
    return plan, results


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_hole(source: Path, target: Path, size: int) -> Path:
    """The same with so many zeros in the middle of its media."""
    data = bytearray(source.read_bytes())
    first, last = sorted((data.index(b"mdat"), data.index(b"moov")))
    middle = first + 4 + (last - first) // 2
    data[middle : middle + size] = bytes(size)
    target.write_bytes(data)
    return target


def near(found: list[float], wanted: list[float], by: float) -> bool:
    return len(found) == len(wanted) and all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True))


async def test_every_picture_is_there_once_and_in_time_over_the_seams_of_chunks(mp4: Path, tmp_path: Path) -> None:
    plan, results = await encoded(mp4, tmp_path)
    assert len(plan.chunks) == 2
    assert sum(result.frames for result in results) == FRAMES
    for rung in ("v-68p", "v-136p"):
        seen = pictures(tmp_path, rung, plan)
        assert seen.numbers == list(range(FRAMES))
        assert near(seen.times, [number / RATE for number in range(FRAMES)], 0.0005)
        assert near(seen.keys, [0, 1, 2, 3], 0.0005)
        # slices cost bits, and libavcodec's wrapper makes them when it is told nothing
        assert b"sliced_threads=0" in (tmp_path / f"{rung}-0.m4s").read_bytes()
    assert near(beeps(tmp_path, plan), [0, 1, 2, 3], 1 / RATE)


async def test_the_playlists_are_played_by_others(mp4: Path, tmp_path: Path) -> None:
    await encoded(mp4, tmp_path)
    for name in ("index.m3u8", "index.mpd"):
        told = ffprobe("-count_frames", "-select_streams", "v", "-show_entries", SHOWN, str(tmp_path / name))
        assert {"68,100", "136,100"} <= {line.strip(",") for line in told.split()}
    text = (tmp_path / "v-68p.m3u8").read_text()
    assert text.endswith("#EXT-X-ENDLIST\n")
    lengths = [float(length) for length in re.findall(r"#EXTINF:([0-9.]+),", text)]
    assert near(lengths, [1.0] * 4, 0.001)


async def test_groups_that_lean_on_the_next_one_lose_nothing_at_a_seam(make: Make, tmp_path: Path) -> None:
    source = make("open.mkv", *H264, "-bf", "3", "-x264-params", "open-gop=1:keyint=25:min-keyint=25", "-an")
    facts = await probe(source)
    assert facts.video is not None
    assert not facts.video.closed
    plan, _ = await encoded(source, tmp_path)
    assert pictures(tmp_path, "v-68p", plan).numbers == list(range(FRAMES))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.mkv", [*H264, "-c:a", "aac", "-output_ts_offset", "7.3"]),
        ("stream.ts", ["-c:v", "mpeg2video", "-q:v", "3", "-g", "15", "-bf", "2", "-c:a", "mp2"]),
        ("web.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"]),
        ("old.avi", ["-c:v", "mjpeg", "-q:v", "3", "-c:a", "mp3"]),
    ],
)
async def test_other_formats_and_odd_starts(make: Make, tmp_path: Path, name: str, options: list[str]) -> None:
    plan, _ = await encoded(make(name, *options), tmp_path, replace(SMALL, ladder=SMALL.ladder[:1]))
    seen = pictures(tmp_path, "v-68p", plan)
    assert seen.numbers == list(range(FRAMES))
    sounds = beeps(tmp_path, plan)
    assert len(sounds) == SECONDS
    for second, at in enumerate(sounds):
        assert abs(at - seen.times[second * RATE]) <= 1.5 / RATE


async def test_uneven_frame_rates_keep_their_times_and_stand_still_where_nothing_comes(
    make: Make, tmp_path: Path
) -> None:
    source = make("uneven.mkv", "-vf", "select='not(between(n,30,87))*not(eq(mod(n,7),3))'", "-vsync", "vfr", *H264)
    plan, _ = await encoded(source, tmp_path, replace(SMALL, pass_through=False))
    facts = plan.facts.video
    assert facts is not None
    assert facts.variable
    seen = pictures(tmp_path, "v-68p", plan)
    once = list(dict.fromkeys(seen.numbers))
    assert once == [n for n in range(FRAMES) if not 30 <= n <= 87 and n % 7 != 3]
    assert all(abs(seen.times[seen.numbers.index(n)] - n / RATE) < 0.002 for n in once)
    assert 2.0 in seen.keys, "the segment without a picture of its own begins with the last one again"


async def test_a_track_that_fits_is_passed_on_with_the_lower_rungs_cut_where_it_can_be(
    make: Make, tmp_path: Path
) -> None:
    source = make("fits.mp4", "-c:v", "libx264", "-preset", "veryfast", "-force_key_frames", "0,1.04,2,3.2", "-bf", "2")
    plan, _ = await encoded(source, tmp_path)
    assert [rung.passed for rung in plan.rungs] == [False, True]
    top, low = pictures(tmp_path, "v-136p", plan), pictures(tmp_path, "v-68p", plan)
    assert top.numbers == low.numbers == list(range(FRAMES))
    assert near(top.times, low.times, 0.0005)
    cuts = [boundary / 90_000 for boundary in plan.boundaries[:-1]]
    assert near(cuts, [0, 1.04, 2, 3.2], 0.001)
    assert near(low.keys, cuts, 0.001)


async def test_pictures_lie_as_the_camera_was_held(make: Make, mp4: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", str(mp4), "-c", "copy", "-metadata:s:v", "rotate=90", str(turned))
    plan, _ = await encoded(turned, tmp_path, replace(SMALL, ladder=SMALL.ladder[1:], chunk_seconds=60))
    assert (plan.rungs[-1].width, plan.rungs[-1].height) == (136, 240)
    with av.open(str(joined(tmp_path, "v-136p"))) as container:
        frames = list(container.decode(video=0))
        plane = frames[1].planes[0]  # number 1: its lowest bit, on the left before, is below after a turn to the left
        column = bytes(plane)[68 :: plane.line_size]
        assert len(frames) == FRAMES
        assert column[225] > 125 > column[15]


async def test_hdr_becomes_sdr(make: Make, tmp_path: Path) -> None:
    source = make(
        "hdr.mp4", "-t", "0.2", "-an", "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast",
        "-x265-params", "log-level=0:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:keyint=5",
    )  # fmt: skip
    plan, _ = await encoded(source, tmp_path, replace(SMALL, ladder=SMALL.ladder[:1]))
    assert plan.facts.video is not None
    assert plan.facts.video.hdr == "pq"
    with av.open(str(joined(tmp_path, "v-68p"))) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.color_trc, context.color_primaries) == ("yuv420p", 1, 1)
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize(("codec", "text"), [("hevc", "hvc1."), ("av1", "av01.")])
async def test_other_codecs(mp4: Path, tmp_path: Path, codec: str, text: str) -> None:
    options = replace(SMALL, codec=codec, ladder=SMALL.ladder[:1], preset="ultrafast")
    plan, results = await encoded(mp4, tmp_path, options)
    assert results[0].renditions[0].codec.startswith(text)
    seen = pictures(tmp_path, "v-68p", plan)
    assert near(seen.times, [number / RATE for number in range(FRAMES)], 0.0005)
    assert near(seen.keys, [0, 1, 2, 3], 0.0005)


async def test_sound_alone_and_pictures_alone(make: Make, tmp_path: Path) -> None:
    plan, results = await encoded(make("sound.mkv", "-vn", "-c:a", "libmp3lame"), tmp_path)
    assert not results
    assert near(beeps(tmp_path, plan), [0, 1, 2, 3], 0.05)
    assert "a.m3u8" in (tmp_path / "index.m3u8").read_text()
    silent = make("silent.mp4", *H264, "-an")
    plan = make_plan(await probe(silent), SMALL)
    assert plan.audio is None
    with pytest.raises(LookupError):
        await encode_audio(silent, plan, tmp_path)


async def test_what_is_there_so_far_can_be_played(mp4: Path, tmp_path: Path) -> None:
    plan = make_plan(await probe(mp4), SMALL)
    said: list[float] = []
    first = await encode_chunk(mp4, plan, 0, [plan.lowest], tmp_path, said.append)
    assert said == sorted(said)
    assert package(plan, [first]) == {}, "without its sound it is not to be played"
    audio = await encode_audio(mp4, plan, tmp_path)
    begun = package(plan, [first], audio)
    assert set(begun) == {"index.m3u8", "v-68p.m3u8", "a.m3u8"}
    assert all(b"TYPE:EVENT" in begun[name] and b"ENDLIST" not in begun[name] for name in ("v-68p.m3u8", "a.m3u8"))
    assert begun["a.m3u8"].count(b"#EXTINF") == 2
    second = await encode_chunk(mp4, plan, 1, [plan.lowest], tmp_path)
    whole = package(plan, [second, first], audio)
    assert set(whole) == {"index.m3u8", "index.mpd", "v-68p.m3u8", "a.m3u8"}
    assert whole["v-68p.m3u8"].startswith(begun["v-68p.m3u8"].split(b"#EXT-X-PLAYLIST-TYPE")[0])
    assert names(tmp_path) == sorted({*first.files, *second.files, *audio.files})


async def test_a_hole_in_the_file_costs_its_pictures_only(mp4: Path, tmp_path: Path) -> None:
    plan = make_plan(await probe(mp4), SMALL)
    holed = with_hole(mp4, tmp_path / "holed.mp4", 1500)
    out = tmp_path / "out"
    out.mkdir()
    results = [await encode_chunk(holed, plan, n, ["68p"], out) for n in (0, 1)]
    assert sum(len(made.segments) for result in results for made in result.renditions) == plan.segments
    assert sum(result.frames for result in results) > FRAMES // 2
    check_loss(results)


async def test_a_child_that_is_killed_or_given_up_leaves_nothing_behind(mp4: Path, tmp_path: Path) -> None:
    plan = make_plan(await probe(mp4), SMALL)
    with pytest.raises(EngineFailed):
        await encode_chunk(mp4, plan, 0, ["68p"], tmp_path, limits=Limits(work_seconds=0.01))
    with pytest.raises(EngineFailed):
        await encode_chunk(mp4, plan, 0, ["68p"], tmp_path, limits=Limits(memory=64 << 20))
    task = asyncio.create_task(encode_audio(mp4, plan, tmp_path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []


def test_a_video_of_which_most_is_lost_is_damaged() -> None:
    check_loss([ChunkResult(0, (), 50, 50)])
    with pytest.raises(BadSource) as refused:
        check_loss([ChunkResult(0, (), 10, 0), ChunkResult(1, (), 0, 11)])
    assert refused.value.code == "damaged"
