"""A picture that changes: in size, as senders by WebRTC do when their network does, where timeline and players go on;
and in codec, in a recording. Real media, read by the ffmpeg program."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from itertools import pairwise
from types import SimpleNamespace

import av
import pytest

from media.package.answer import Answer
from media.package.live import LivePackage
from media.samples import Sample, Track

SIZES = [(320, 180), (160, 90), (320, 180)]
SECONDS = (2.6, 1.8, 2.6)
"""How long each size is sent: the change comes within a segment."""


@pytest.fixture(scope="module", params=["libx264", "libvpx-vp9"])
def stays(request: pytest.FixtureRequest, kit: SimpleNamespace) -> list[tuple[tuple[Track, ...], list[Sample]]]:
    """Sound that goes on, and the picture in one size after the other: tracks, and what is sent of them."""
    sound = kit.encode(sum(SECONDS), video="", audio="aac")
    options = {"bf": "0"} if request.param == "libx264" else {}
    found, at = [], 0.0
    for size, seconds in zip(SIZES, SECONDS, strict=True):
        picture = kit.encode(seconds, video=request.param, audio="", size=size, options=options)
        shift = round(at * 90_000)
        samples = [s._replace(dts=s.dts + shift, pts=s.pts + shift) for s in picture.samples]
        samples += [s for s in sound.samples if at <= s.dts / 48_000 < at + seconds]
        samples.sort(key=lambda s: s.dts / (90_000 if s.track == 1 else 48_000))
        found.append((picture.tracks + sound.tracks, samples))
        at += seconds
    return found


def text(package: LivePackage, name: str) -> str:
    answer = package.answer(name, {})
    assert isinstance(answer, Answer)
    assert answer.status == 200
    return answer.body.decode() if isinstance(answer.body, bytes) else b"".join(answer.body).decode()


async def probed(url: str) -> list[tuple[float, int]]:
    """When each picture is shown, s, and how wide it is; nothing may be wrong with any of them."""
    ffprobe = shutil.which("ffprobe")
    assert ffprobe, "the ffmpeg program is needed: apt-get install ffmpeg"
    start = ["-live_start_index", "0"] if url.endswith("m3u8") else []
    process = await asyncio.create_subprocess_exec(
        ffprobe, "-v", "error", *start, "-select_streams", "v", "-show_entries", "frame=pts_time,width",
        "-of", "csv=p=0", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert not err, err.decode()
    rows = [line.split(",") for line in out.decode().split()]
    return [(float(row[0]), int(row[1])) for row in rows]


async def test_a_new_size_is_a_new_map_and_no_discontinuity(
    package: LivePackage,
    kit: SimpleNamespace,
    clock: SimpleNamespace,
    stays: list[tuple[tuple[Track, ...], list[Sample]]],
) -> None:
    package.on_tracks(stays[0][0])
    for number, (tracks, samples) in enumerate(stays):
        if number:
            package.on_change(tracks)
        await kit.feed(package, samples, clock)
    package.on_end()
    await package.finish()
    playlist = text(package, "v.m3u8")
    assert "DISCONTINUITY\n" not in playlist
    # a configuration that was there before is known
    maps = ["v-init-0.mp4", "v-init-1.mp4", "v-init-0.mp4"]
    assert re.findall(r'EXT-X-MAP:URI="([^"]+)"', playlist) == maps
    # sound is cut at the same moments, and has one configuration
    assert text(package, "a.m3u8").count("EXT-X-MAP") == 1
    lengths = [[float(x) for x in re.findall(r"EXTINF:([\d.]+)", text(package, n))] for n in ("v.m3u8", "a.m3u8")]
    assert lengths[0] == pytest.approx([2.0, 0.6, 1.8, 2.0, 0.6], abs=0.05)
    assert lengths[1] == pytest.approx(lengths[0], abs=0.05)
    # a manifest has one Period, whose init segment serves: key frames carry what changed
    recorded = package.shelf.files["recording.mpd"].decode()
    assert recorded.count("<Period ") == 1
    assert re.findall(r'initialization="(v-[^"]+)"', recorded) == maps[:1]

    # the ffmpeg program reads one init segment alone
    pictures = sum(s.track == 1 for _, samples in stays for s in samples)
    async with kit.served(package) as address:
        for name in ("index.m3u8", "recording.m3u8", "recording.mpd"):
            shown = await probed(f"{address}/{name}")
            assert len(shown) == pictures, name
            assert max(after[0] - before[0] for before, after in pairwise(shown)) < 0.05, name
            widths = [size[0] for size, seconds in zip(SIZES, SECONDS, strict=True) for _ in range(round(30 * seconds))]
            assert [width for _, width in shown] == widths, name


async def test_a_change_that_is_not_a_key_frame_yet_waits_for_one(
    package: LivePackage, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    samples = kit.made_up(8.0, gop=2.0, audio=0)
    package.on_tracks((kit.video_track(),))
    package.on_change((kit.video_track(width=640),))  # before the first frame
    await kit.feed(package, samples[:10], clock)
    package.on_change((kit.video_track(width=320),))  # while the frame rate is measured
    package.on_change((kit.video_track(width=160),))  # and at once another
    await kit.feed(package, samples[10:], clock)
    package.on_interrupted()
    playlist = text(package, "v.m3u8")
    assert "DISCONTINUITY\n" not in playlist
    assert re.findall(r'EXT-X-MAP:URI="([^"]+)"', playlist) == ["v-init-1.mp4", "v-init-2.mp4"]
    assert "RESOLUTION=160x720" in text(package, "index.m3u8")
    # frames between the change and its key frame cannot be shown
    runs = [run for n in range(package.next) for run in kit.fragments(package.shelf.files[f"v-{n}.m4s"])]
    assert sum(len(run.payloads) for run in runs) == 10 + 180
    sets = bytes((0, 0, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 0, 0, 0, 2, 0x68, 0xCE))
    keys = [p for run in runs for p, key in zip(run.payloads, run.keys, strict=True) if key]
    assert [key.startswith(sets) for key in keys] == [True] * 4


async def test_a_recording_of_two_codecs_names_both_and_is_read_to_its_end(
    package: LivePackage, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    """An encoder by RTMP that goes on by WebRTC, where it has another codec and another size."""
    first = await asyncio.to_thread(kit.encode, 3.5, options={"bf": "0"})
    second = await asyncio.to_thread(kit.encode, 2.5, video="libvpx-vp9", audio="libopus", size=(160, 90))
    for media in (first, second):
        package.on_tracks(media.tracks)
        await kit.feed(package, media.samples, clock)
        package.on_interrupted()
        clock.now += 3.0
    # live the edge is what players need to be able to play
    assert f'CODECS="{second.tracks[0].codec_string},opus"' in text(package, "index.m3u8")
    package.on_end()
    recording = await package.finish()
    assert recording.tracks == ("avc1.64001f", "vp09.00.31.08", "mp4a.40.2", "opus")
    playlist = package.shelf.files["recording.m3u8"].decode()
    assert 'CODECS="avc1.64001f,vp09.00.31.08,mp4a.40.2,opus"' in playlist
    assert "RESOLUTION=320x180" in playlist
    assert package.shelf.files["recording.mpd"].decode().count("<Period ") == 2
    assert package.shelf.files["recording-a.m3u8"].decode().count("#EXT-X-DISCONTINUITY\n") == 1
    # (Chromium plays such a recording from its beginning to its end: tests/e2e/test_codecs.py)
    for number, media in enumerate((first, second)):
        names = [f"v-init-{number}.mp4", *(f"v-{msn}.m4s" for msn in (2 * number, 2 * number + 1))]
        with av.open(io.BytesIO(b"".join(package.shelf.files[name] for name in names))) as container:
            assert len(list(container.decode(video=0))) == sum(s.track == 1 for s in media.samples)
