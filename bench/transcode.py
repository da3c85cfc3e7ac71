"""`bin/bench transcode`: a video to its ladder by our engine and by one command of the ffmpeg program, turn about.

Both decode once, scale with bicubic and encode 720p, 480p and 360p with the same x264 settings (capped constant
quality, key frames at four seconds, no scene cuts), carry the sound as it is and write fragmented MP4 with an HLS
playlist. Ours counts everything: the probe, the children and the playlists. What x264 says of its settings in both
streams is compared, and what both lost of the picture.
"""

from __future__ import annotations

import asyncio
import re
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
from msgspec.structs import replace

from bench.figures import Table, median, ratio, verdict
from bench.processes import BenchError, say
from media.vod.engine import encode_audio, encode_chunk, probe
from media.vod.options import LADDER, Limits, Options
from media.vod.packaging import package
from media.vod.plan import Plan, RungPlan, make_plan
from media.vod.results import ChunkResult

RUNGS = ("360p", "480p", "720p")
OPTIONS = Options(ladder=tuple(rung for rung in LADDER if rung.name in RUNGS), pass_through=False)
LIMITS = Limits(niceness=0)
"""As the program beside it."""
CPU_AIM, WALL_AIM = 1.05, 1.12


@dataclass(frozen=True)
class Plans:
    """runs: of each, turn about. seconds: of the source; long_seconds: of the one that two workers share, 0: none."""

    runs: int
    seconds: int
    long_seconds: int


@dataclass(frozen=True)
class Cost:
    """bytes: of all that was written. pictures: by rung, what is known of them when they were looked at."""

    wall: float
    cpu: float
    bytes: int
    pictures: Mapping[str, Rendition]


class Rendition(NamedTuple):
    """settings: x264's own words. decibels: PSNR of luma; that of chroma depends on where a scaler sees it."""

    settings: dict[str, str]
    decibels: float


def run(plans: Plans, folder: Path, cache: Path) -> None:
    if shutil.which("ffmpeg") is None:
        raise BenchError("ffmpeg is not installed; it is what the engine is measured beside.")
    cache.mkdir(parents=True, exist_ok=True)
    builds()
    whole = replace(OPTIONS, chunk_seconds=float(plans.seconds + 4))
    ours, theirs = compare(plans.runs, source(plans.seconds, cache), whole, 1, folder)
    table(f"{plans.seconds} s of 720p30 to 720p, 480p and 360p; one chunk, one worker", ours, theirs)
    verdict("CPU beside ffmpeg", ratio([x.cpu for x in ours], [x.cpu for x in theirs]), CPU_AIM, most=True)
    verdict("wall beside ffmpeg", ratio([x.wall for x in ours], [x.wall for x in theirs]), WALL_AIM, most=True)
    if not plans.long_seconds:
        return
    ours, theirs = compare(plans.runs, source(plans.long_seconds, cache), OPTIONS, 2, folder)
    table(f"{plans.long_seconds} s of the same; chunks of {OPTIONS.chunk_seconds:g} s, two workers", ours, theirs)
    verdict("wall beside ffmpeg", ratio([x.wall for x in ours], [x.wall for x in theirs]), 1.0, most=True)


def builds() -> None:
    told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    version = told.split()[2]
    codec = re.search(r"libavcodec +([0-9. ]+)/", told)
    wheel = ".".join(map(str, av.library_versions["libavcodec"]))
    say(f"ffmpeg {version}, libavcodec {codec[1].replace(' ', '') if codec else '?'}; ours: PyAV's wheel, libavcodec")
    say(f"{wheel}. Each has the x264 that it was built with, so the encoders may differ by some per cent.")


def source(seconds: int, cache: Path) -> Path:
    """A moving picture with noise, 8 Mbit/s and AAC; made once."""
    path = cache / f"vod-{seconds}.mp4"
    if not path.exists():
        draft = path.with_suffix(".draft.mp4")
        picture = f"testsrc2=s=1280x720:r=30,noise=alls=8:allf=t:all_seed=1,trim=duration={seconds}"
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture]
        command += ["-f", "lavfi", "-i", f"sine=f=440:r=48000:d={seconds}", "-c:v", "libx264", "-preset", "veryfast"]
        command += ["-b:v", "8M", "-maxrate", "9M", "-bufsize", "9M", "-g", "60", "-pix_fmt", "yuv420p"]
        command += ["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", str(draft)]
        subprocess.run(command, check=True)
        draft.replace(path)
    return path


def compare(runs: int, path: Path, options: Options, workers: int, folder: Path) -> tuple[list[Cost], list[Cost]]:
    plan = make_plan(asyncio.run(probe(path, LIMITS)), options)
    command = ffmpeg(path, plan)
    say(f"ffmpeg's command: {shlex.join(command)}")
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for run_ in range(runs):
        looks = plan if run_ == runs - 1 else None
        theirs.append(costs(lambda out: subprocess.run([*command], cwd=out, check=True), folder, path, looks, ""))
        ours.append(costs(lambda out: asyncio.run(engine(path, options, workers, out)), folder, path, looks, "v-"))
    return ours, theirs


def costs(work: Callable[[Path], object], folder: Path, source_: Path, plan: Plan | None, prefix: str) -> Cost:
    """plan: of what is to be looked at afterwards. prefix: of its files, before the rung's name."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    own = time.process_time()
    work(out)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + time.process_time() - own
    rungs = () if plan is None else plan.rungs
    seen = {rung.name: looked_at(out, f"{prefix}{rung.name}", rung, source_) for rung in rungs}
    return Cost(wall, cpu, sum(path.stat().st_size for path in out.iterdir()), seen)


def looked_at(out: Path, name: str, rung: RungPlan, source_: Path) -> Rendition:
    told = re.search(rb"x264 - core.*?options: ([^\0]*)\0", (out / f"{name}-0.m4s").read_bytes(), re.DOTALL)
    words = told[1].decode(errors="replace").split() if told else []
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    same_size = f"[1:v]scale={rung.width}:{rung.height}:flags=bicubic,setpts=PTS-STARTPTS[b]"
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-i", str(out / f"{name}.m3u8"), "-i", str(source_)]
    command += ["-lavfi", f"{same_size};[0:v]setpts=PTS-STARTPTS[a];[a][b]psnr", "-f", "null", "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.search(r"PSNR y:([0-9.]+|inf)", shown)
    if found is None:
        raise BenchError(f"ffmpeg says nothing of the PSNR of {name}: {shown[-300:]}")
    return Rendition(settings, float(found[1]))


async def engine(path: Path, options: Options, workers: int, out: Path) -> None:
    plan = make_plan(await probe(path, LIMITS), options)
    turns = asyncio.Semaphore(workers)
    names = [rung.name for rung in plan.rungs]

    async def chunk(number: int) -> ChunkResult:
        async with turns:
            return await encode_chunk(path, plan, number, names, out, limits=LIMITS)

    async with asyncio.TaskGroup() as group:
        chunks = [group.create_task(chunk(number)) for number in range(len(plan.chunks))]
        audio = group.create_task(encode_audio(path, plan, out, limits=LIMITS))
    for name, body in package(plan, [task.result() for task in chunks], audio.result()).items():
        (out / name).write_bytes(body)


def ffmpeg(path: Path, plan: Plan) -> list[str]:
    """One command for the same ladder."""
    count = len(plan.rungs)
    split = f"[0:v]split={count}" + "".join(f"[s{n}]" for n in range(count))
    scales = [f"[s{n}]scale={r.width}:{r.height}:flags=bicubic[v{n}]" for n, r in enumerate(plan.rungs)]
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-i",
        str(path),
        "-filter_complex",
        ";".join([split, *scales]),
    ]
    length = f"{plan.options.segment_seconds:g}"
    for number, rung in enumerate(plan.rungs):
        command += ["-map", f"[v{number}]", "-map", "0:a", "-c:v", "libx264", "-preset", plan.options.preset]
        command += [
            "-crf",
            str(plan.options.quality),
            "-maxrate",
            str(rung.bit_rate),
            "-bufsize",
            str(2 * rung.bit_rate),
        ]
        command += ["-x264-params", "keyint=infinite:scenecut=0", "-force_key_frames", f"expr:gte(t,n_forced*{length})"]
        command += ["-forced-idr", "1", "-c:a", "copy", "-f", "hls", "-hls_time", length, "-hls_playlist_type", "vod"]
        command += ["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", f"{rung.name}-init.mp4"]
        command += ["-hls_segment_filename", f"{rung.name}-%d.m4s", f"{rung.name}.m3u8"]
    return command


def table(title: str, ours: list[Cost], theirs: list[Cost]) -> None:
    shown = Table(title, ("", "wall s", "CPU s", "MB", *(f"PSNR {name}" for name in RUNGS)))
    for name, costs_ in (("ours", ours), ("ffmpeg, one command", theirs)):
        seen = costs_[-1].pictures
        shown.add(
            name,
            median(x.wall for x in costs_),
            median(x.cpu for x in costs_),
            median(x.bytes / 1e6 for x in costs_),
            *(f"{seen[rung].decibels:.2f}" for rung in RUNGS),
        )
    shown.show()
    for rung in RUNGS:
        mine, other = ours[-1].pictures[rung].settings, theirs[-1].pictures[rung].settings
        differ = {key: (mine.get(key), other.get(key)) for key in mine | other if mine.get(key) != other.get(key)}
        if differ or not mine:
            say(f"  {rung}: x264's settings differ (ours, ffmpeg's): {differ or 'it tells none'}")
    say("  MB is of all files; ffmpeg's have the sound once in every rung.")
