"""Real media through the package and back: PyAV reads the files, the ffmpeg program plays the URLs."""

from __future__ import annotations

import asyncio
import io
import shutil
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from media.package.live import LivePackage, PackageOptions
from media.samples import Kind

CODECS = [
    ("libx264", "aac", 48_000),
    ("libx264", "aac", 44_100),
    ("libx265", "aac", 48_000),
    ("libvpx-vp9", "libopus", 48_000),
    ("libaom-av1", "libopus", 48_000),
    ("libx264", "", 0),
    ("", "aac", 48_000),
]


def play(package: LivePackage, media: SimpleNamespace) -> None:
    package.on_tracks(media.tracks)
    for sample in media.samples:
        package.on_samples([sample])
    package.on_end()


@pytest.mark.parametrize(("video", "audio", "rate"), CODECS)
async def test_every_frame_is_read_back_with_its_times(
    package: LivePackage, shelf: SimpleNamespace, kit: SimpleNamespace, video: str, audio: str, rate: int
) -> None:
    media = kit.encode(5.0, video=video, audio=audio, rate=rate or 48_000)
    play(package, media)
    recording = await package.finish()
    assert recording.duration_s == pytest.approx(5.0, abs=0.1)
    for track in media.tracks:
        letter = "v" if track.kind is Kind.VIDEO else "a"
        names = [f"{letter}-{n}.m4s" for n in range(recording.segments)]
        data = shelf.files[f"{letter}-init-0.mp4"] + b"".join(shelf.files[name] for name in names)
        mine = [s for s in media.samples if s.track == track.id]
        with av.open(io.BytesIO(data)) as container:
            packets = [p for p in container.demux(container.streams[0]) if p.size]
        assert [bytes(p) for p in packets] == [s.data for s in mine]
        shift = packets[0].pts - mine[0].pts
        # both tracks are moved by the same time, so their offset stays
        assert shift / track.timescale == 0.0
        assert [p.pts - shift for p in packets] == [s.pts for s in mine]
        if track.kind is Kind.VIDEO:
            assert [p.is_keyframe for p in packets] == [s.key for s in mine]
        with av.open(io.BytesIO(data)) as container:
            frames = list(container.decode(container.streams[0]))
        if track.kind is Kind.VIDEO:
            assert len(frames) == len(mine)
            assert (frames[0].width, frames[0].height) == (track.width, track.height)


async def test_the_ffmpeg_program_plays_the_live_and_the_recorded_playlists(
    shelf: SimpleNamespace, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.fail("the ffmpeg program is needed: apt-get install ffmpeg")
    package = LivePackage(PackageOptions(), shelf, clock)
    media = kit.encode(7.0)
    play(package, media)
    await package.finish()

    async with kit.served(package) as address:
        for name in ("index.m3u8", "recording.m3u8", "recording.mpd"):
            start = ["-live_start_index", "0"] if name.endswith("m3u8") else []
            process = await asyncio.create_subprocess_exec(
                ffprobe, "-v", "error", *start, "-show_entries", "packet=codec_type,pts_time,size", "-of", "csv=p=0",
                f"{address}/{name}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, err.decode()
            assert b"rror" not in err, err.decode()
            rows = [line.split(",") for line in out.decode().split() if line]
            for track in media.tracks:
                sizes = {len(s.data) for s in media.samples if s.track == track.id}
                count = sum(s.track == track.id for s in media.samples)
                got = [r for r in rows if r[0] == track.kind]
                # ffmpeg's DASH demuxer leaves out the frame that is shown after the declared end: with B-frames all
                # pictures are shown a frame later than they are decoded
                missing = 1 if name.endswith("mpd") and track.kind is Kind.VIDEO else 0
                assert count - missing <= len(got) <= count, (name, track.id)
                assert {int(r[2]) for r in got} <= sizes
            first = {i: min(float(r[1]) for r in rows if r[0] == i) for i in Kind}
            true = {t.kind: min(s.pts for s in media.samples if s.track == t.id) / t.timescale for t in media.tracks}
            # sound and picture keep their distance to within a sample
            assert abs((first[Kind.VIDEO] - first[Kind.AUDIO]) - (true[Kind.VIDEO] - true[Kind.AUDIO])) < 1024 / 48_000


async def test_colour_and_pixel_shape_stand_in_the_init_segment(
    package: LivePackage, shelf: SimpleNamespace, kit: SimpleNamespace
) -> None:
    options = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:sar=4/3:scenecut=0"}
    play(package, kit.encode(1.0, audio="", options=options))
    await package.finish()
    data = shelf.files["v-init-0.mp4"]
    assert b"pasp" + bytes((0, 0, 0, 4, 0, 0, 0, 3)) in data
    assert b"colrnclx" + bytes((0, 1, 0, 1, 0, 1, 0)) in data
    with av.open(io.BytesIO(data + shelf.files["v-0.m4s"])) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
