"""What a probe tells of real files, and what hostile ones get: a code, a sentence, and nothing read but themselves."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from media.vod.engine import probe
from media.vod.errors import CODES, BadSource
from media.vod.options import Limits, Options
from media.vod.plan import make_plan
from media.vod.source import sniff
from tests.media.vod.conftest import H264, HEIGHT, RATE, SECONDS, WIDTH, Make, ffmpeg
from tests.media.vod.facts import video


async def refused(source: Path, limits: Limits | None = None) -> str:
    with pytest.raises(BadSource) as error:
        await probe(source, limits)
    assert error.value.code in CODES
    assert error.value.reason.endswith(".")
    assert str(source.parent) not in error.value.reason
    return error.value.code


async def test_the_facts_of_a_plain_file(mp4: Path) -> None:
    facts = await probe(mp4)
    video, audio = facts.video, facts.audio
    assert video is not None
    assert audio is not None
    assert (facts.format, video.codec, audio.codec) == ("mp4", "h264", "aac")
    assert (video.width, video.height, video.rotation, video.hdr) == (WIDTH, HEIGHT, 0, "")
    assert (video.frames, video.frame_rate, video.variable) == (RATE * SECONDS, RATE, False)
    assert video.exact
    assert video.closed
    assert abs(facts.duration - SECONDS) < 0.1
    assert [key * video.timescale[0] / video.timescale[1] for key in video.keys] == [0, 1.6, 3.2]


async def test_of_several_tracks_the_default_one_is_taken(make: Make) -> None:
    source = make(
        "tracks.mkv", "-map", "0:v", "-map", "0:a", "-map", "0:a", *H264, "-c:a", "aac", "-ac:a:1", "2",
        "-disposition:a:0", "0", "-disposition:a:1", "default", "-metadata:s:a:1", "language=fra",
    )  # fmt: skip
    facts = await probe(source)
    assert facts.audio is not None
    assert (len(facts.audio_tracks), facts.audio.language, facts.audio.channels) == (2, "fra", 2)


async def test_a_picture_of_the_cover_is_no_video(make: Make, tmp_path: Path) -> None:
    cover, source = tmp_path / "cover.png", tmp_path / "song.m4a"
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64", "-frames:v", "1", str(cover))
    sound = make("sound.m4a", "-vn", "-c:a", "aac")
    ffmpeg("-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic",
           str(source))  # fmt: skip
    facts = await probe(source)
    assert facts.video is None
    assert make_plan(facts).rungs == ()


async def test_interlaced_and_oblong_pixels(make: Make) -> None:
    source = make("old.ts", "-vf", "setsar=4/3", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-an")
    facts = await probe(source)
    assert facts.video is not None
    assert facts.video.interlaced
    assert (facts.video.width, facts.video.height) == (301, HEIGHT), "MPEG-2 knows the shape 2.21:1 and none wider"


async def test_what_is_too_long_or_too_large(mp4: Path) -> None:
    assert await refused(mp4, Limits(longest=2.0)) == "too_long"
    assert await refused(mp4, Limits(longest_side=WIDTH - 1)) == "too_large_picture"
    assert await refused(mp4, Limits(most_pixels=WIDTH * HEIGHT - 1)) in ("too_large_picture", "damaged")


def with_size(source: Path, target: Path, side: int) -> Path:
    data = bytearray(source.read_bytes())
    at = data.index(b"avc1") + 4 + 24
    data[at : at + 4] = struct.pack(">HH", side, side)
    target.write_bytes(data)
    return target


async def test_a_head_that_claims_a_huge_picture_costs_nothing(mp4: Path, tmp_path: Path) -> None:
    bomb = with_size(mp4, tmp_path / "bomb.mp4", 60_000)
    try:
        facts = await probe(bomb)
    except BadSource as error:
        assert error.code in ("too_large_picture", "damaged")  # noqa: PT017 either answer is right
    else:
        assert facts.video is not None
        assert (facts.video.coded_width, facts.video.coded_height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n", "not_a_video"),
        ("list.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not_a_video"),
        ("manifest.mp4", b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>', "not_a_video"),
        ("subtitle.mp4", b"1\n00:00:00,000 --> 00:00:05,000\nhello\n", "not_a_video"),
        ("session.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "not_a_video"),
        ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(200), "not_a_video"),
        ("still.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0) + bytes(200), "not_a_video"),
        ("noise.mp4", bytes(range(256)) * 64, "not_a_video"),
        ("empty.mp4", b"", "no_media"),
        ("head.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0), "damaged"),
        ("head.mkv", b"\x1a\x45\xdf\xa3\x80" + bytes(100), "damaged"),
        ("head.avi", b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(100), "damaged"),
    ],
)  # fmt: skip
async def test_what_is_no_video(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    assert await refused(source) == code


async def test_a_film_whose_frames_are_in_another_file_reads_nothing_of_it(make: Make, tmp_path: Path) -> None:
    """QuickTime's data references: ffmpeg follows them when it is told to, so the file made here is one that works."""
    whole = make("plain.mov", *H264, "-an")
    data = whole.read_bytes()
    other = tmp_path / "other.mov"
    other.write_bytes(data)
    referring = tmp_path / "referring.mov"
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    referring.write_bytes(pointed(data[:begin] + bytes(end - begin) + data[end:], other))
    read = [
        "ffmpeg",
        "-v",
        "error",
        "-enable_drefs",
        "1",
        "-use_absolute_path",
        "1",
        "-i",
        str(referring),
        "-f",
        "null",
        "-",
    ]
    assert subprocess.run(read, capture_output=True, timeout=60, check=False).stderr == b""  # noqa: ASYNC221
    assert await refused(referring) == "damaged"


def pointed(data: bytes, other: Path) -> bytes:
    """The file with its data reference replaced by an alias of another file."""
    path = str(other).encode()
    name = other.name.encode()
    alias = bytes(10) + bytes((4,)) + b"disk".ljust(27, b"\0") + bytes(12)
    alias += bytes((len(name),)) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    alias += struct.pack(">hH", 2, len(path)) + path + bytes(len(path) % 2)
    alias += struct.pack(">hH", 18, len(path)) + path + bytes(len(path) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    dref = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry

    def boxes(part: bytes) -> bytes:
        out, at = b"", 0
        while at + 8 <= len(part):
            size, kind = struct.unpack_from(">I4s", part, at)
            body = part[at + 8 : at + size]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                body = boxes(body)
            out += dref if kind == b"dref" else struct.pack(">I4s", 8 + len(body), kind) + body
            at += size
        return out

    return boxes(data)


async def test_a_file_that_ends_too_early(make: Make, mp4: Path, tmp_path: Path) -> None:
    for source, share, wanted in (
        (mp4, 0.6, "damaged"),  # its index was at the end
        (make("streamed.mp4", *H264, "-an", "-movflags", "+faststart"), 0.6, ""),
        (make("cut.ts", "-c:v", "mpeg2video", "-an"), 0.6, ""),
    ):
        data = source.read_bytes()
        cut = tmp_path / source.name
        cut.write_bytes(data[: int(len(data) * share)])
        if wanted:
            assert await refused(cut) == wanted
            continue
        facts = await probe(cut)
        assert facts.video is not None
        assert 0.3 * SECONDS < facts.duration < SECONDS
        assert facts.truncated == (facts.format == "mp4")


def test_the_ladder() -> None:
    """By the box of 16:9 that a picture fills, lying or upright, and never above the source."""

    def rungs(width: int, height: int, rate: int = 50_000_000, **options: object) -> list[tuple[str, int, int]]:
        plan = make_plan(video(width, height, rate), replace(Options(), **options))
        return [(rung.name, rung.width, rung.height) for rung in plan.rungs]

    assert [name for name, _, _ in rungs(3840, 2160)] == ["240p", "360p", "480p", "720p", "1080p", "1440p", "2160p"]
    assert rungs(1920, 800)[-2:] == [("720p", 1280, 534), ("1080p", 1920, 800)]
    assert rungs(720, 1280)[-1] == ("720p", 720, 1280)
    assert rungs(1280, 718)[-1] == ("720p", 1280, 718)
    assert rungs(1366, 768)[-1] == ("720p", 1280, 720)
    assert rungs(160, 90) == [("240p", 160, 90)]
    assert [name for name, _, _ in rungs(1920, 1080, highest="480p")] == ["240p", "360p", "480p"]
    plan = make_plan(video(1920, 1080, 600_000))
    assert [rung.bit_rate for rung in plan.rungs] == [400_000, 600_000, 600_000, 600_000, 600_000]


def test_chunks_are_whole_segments_and_cover_the_video() -> None:

    plan = make_plan(video(1280, 720, 5_000_000, seconds=1000.5))
    assert plan.boundaries[0] == 0
    assert plan.boundaries[-1] == round(1000.5 * 90_000)
    assert [chunk.first for chunk in plan.chunks] == [15 * number for number in range(len(plan.chunks))]
    assert sum(chunk.count for chunk in plan.chunks) == plan.segments
    assert all(before.end == after.start for before, after in zip(plan.chunks, plan.chunks[1:], strict=False))


@pytest.mark.parametrize("head", [b"", b"\x00", b"G" * 3, b"RIFF", bytes(4096)])
def test_short_heads_are_no_video(head: bytes) -> None:
    with pytest.raises(BadSource):
        sniff(head)
