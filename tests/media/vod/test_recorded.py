"""What of a recording its video is made of, and what is left to be made: a journal in, stretches and work out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import av
import pytest

from media.package.cmaf import fragment
from media.package.journal import Closed, FollowLine, Head, Init, Line, Lost, PieceLine, SegmentLine, encode
from media.vod import engine
from media.vod.facts import VideoFacts
from media.vod.options import Options
from media.vod.packaging import MANIFEST, MULTIVARIANT, package_stretches
from media.vod.recorded import PICTURE, SOUND, STILLS, Copy, Looked, Recorded, Work, recorded, retimed, work_of
from media.vod.results import Made, Segment
from media.vod.stretches import Stretch
from tests.media.vod.conftest import Make

OPTIONS = Options(chunk_seconds=4.0)
H264, AAC_CODEC, OPUS = "avc1.64001f", "mp4a.40.2", "opus"


def init(letter: str, number: int, width: int = 0, height: int = 0, codec: str = H264, scale: int = 90_000) -> Init:
    name = f"{letter}-init-{number}.mp4"
    channels = 0 if width else 2
    return Init(
        name, number, letter, codec, scale, f"{letter}{width}", width, height, 25.0 if width else 0.0, 0, channels
    )


def segment(
    msn: int, *, session: int = 0, video: str = "v-init-0.mp4", audio: str = "a-init-0.mp4", gap: bool = False
) -> SegmentLine:
    """Two seconds; a new session begins its timeline a hundred seconds later."""
    start = 2 * msn + 100 * session
    pieces = {
        "v": PieceLine(start * 90_000, 180_000, 90_000, 1000, gap, "" if gap else video),
        "a": PieceLine(start * 48_000, 96_000, 48_000, 100, gap, "" if gap else audio),
    }
    return SegmentLine(msn, session, 100.0 * session, float(start), False, 0.3, pieces)


def follow(msn: int, letter: str) -> FollowLine:
    scale = 90_000 if letter[0] == "v" else 48_000
    return FollowLine(msn, letter, PieceLine(2 * msn * scale, 2 * scale, scale, 300, False, f"{letter}-init-0.mp4"))


def journal(lines: Iterable[Line], *, following: int) -> bytes:
    return b"\n".join(encode(line) for line in (Head(0.0, 4), *lines, Closed(following))) + b"\n"


def looked(width: int, height: int) -> Looked:
    facts = VideoFacts(
        0, "h264", "High", width, height, width, height, 0, "yuv420p", 8, 25.0, False, False, "", 1_000_000, 0, 1,
        (1, 90_000), 50, (0,), True, True, 10,
    )  # fmt: skip
    return Looked(facts, 7200)


def pictures(found: Recorded, sizes: list[tuple[int, int]]) -> list[Work]:
    work = work_of(found.stretches, found.looks, [looked(*size) for size in sizes], OPTIONS)
    return [one for one in work if one.kind == PICTURE]


TRACKS = (init("v", 0, 854, 480), init("a", 0, codec=AAC_CODEC, scale=48_000))


def test_what_the_live_ladder_made_is_taken_where_it_is_whole() -> None:
    lines: list[Line] = [*TRACKS, init("v-360p", 0, 640, 360), init("v-240p", 0, 426, 240)]
    lines += [segment(msn) for msn in range(4)]
    lines += [follow(msn, "v-360p") for msn in range(4)] + [follow(msn, "v-240p") for msn in (0, 1, 3)]
    found = recorded(journal(lines, following=4), OPTIONS)
    assert (found.segments, found.clean, len(found.stretches)) == (4, True, 1)
    assert {made.letter for made in found.stretches[0].renditions} == {"v-360p", "v-480p", "a"}
    assert Copy("v-360p-2.m4s", "v-360p-2.m4s") in found.copies
    assert Copy("v-init-0.mp4", "v-480p-init-1.mp4") in found.copies
    assert len(found.copies) == 3 * 5
    chunks = pictures(found, [(854, 480)])
    assert [one.rungs for one in chunks] == [("240p",), ("240p",)], "what has a hole is made anew, in chunks"
    assert chunks[1].files == ("v-480p-init-1.mp4", "v-480p-2.m4s", "v-480p-3.m4s")
    plan = chunks[1].plan
    # on the timeline of the recording: shown when the recorded picture is, without pictures sent ahead
    assert (plan.first, plan.origin, plan.lead) == (2, 4 * 90_000 + 7200, 0)
    assert plan.boundaries == (0, 180_000 - 1800, 360_000)


def test_sessions_holes_and_sizes_are_stretches() -> None:
    lines: list[Line] = [*TRACKS, init("v", 1, 426, 240)]
    lines += [segment(0), segment(1), segment(2, gap=True), segment(3), Lost(3), segment(4)]
    lines += [segment(5, session=1, video="v-init-1.mp4"), segment(6, session=1, video="v-init-1.mp4")]
    found = recorded(journal(lines, following=7), OPTIONS)
    assert [len(stretch.seconds) for stretch in found.stretches] == [2, 1, 2]
    assert [stretch.first for stretch in found.stretches] == [0, 2, 3]
    assert Copy("v-4.m4s", "v-480p-2.m4s") in found.copies, "what was lost leaves no hole in the numbers"
    # the smaller picture stands for the larger sizes too
    small = found.stretches[2]
    assert {made.letter for made in small.renditions} == {"v-240p", "v-360p", "v-480p", "a"}
    assert {made.width for made in small.renditions if made.letter[0] == "v"} == {426}
    chunks = pictures(found, [(854, 480), (854, 480), (426, 240)])
    assert {one.rungs for one in chunks} == {("240p", "360p")}
    assert [one.plan.first for one in chunks] == [0, 2]

    files = package_stretches(found.stretches)
    assert set(files) == {MULTIVARIANT, MANIFEST, "v-480p.m3u8", "a.m3u8"}, "only what is whole can be chosen"
    for name in ("v-480p.m3u8", "a.m3u8"):
        text = files[name].decode()
        assert (text.count("#EXT-X-DISCONTINUITY"), text.count("#EXT-X-MAP"), text.count("#EXTINF")) == (2, 3, 5)
    manifest = files[MANIFEST].decode()
    assert manifest.count("<Period ") == 3
    assert 'mediaPresentationDuration="PT10S"' in manifest
    assert '<Period id="p2" start="PT6S" duration="PT4S">' in manifest
    assert f'presentationTimeOffset="{110 * 90_000}"' in manifest


def test_opus_has_aac_beside_it() -> None:
    opus = init("a", 0, codec=OPUS, scale=48_000)
    lines: list[Line] = [TRACKS[0], opus, init("a", 1, codec=AAC_CODEC, scale=48_000)]
    lines += [segment(0), segment(1), segment(2, session=1, audio="a-init-1.mp4")]
    found = recorded(journal(lines, following=3), OPTIONS)
    first, second = found.stretches
    assert [made.letter for made in first.renditions if made.letter[0] == "a"] == ["a"]
    assert [made.letter for made in second.renditions if made.letter[0] == "a"] == ["a", "a-aac"]
    work = work_of(found.stretches, found.looks, [looked(854, 480)] * 2, OPTIONS)
    (sound,) = [one for one in work if one.kind == SOUND]
    assert sound.files == ("a-init-1.mp4", "a-0.m4s", "a-1.m4s")
    assert (sound.plan.sound, sound.plan.init_name("a-aac"), sound.plan.segments) == ("a-aac", "a-aac-init-1.mp4", 2)
    assert work[0].kind == STILLS


def test_what_cannot_be_looked_at_is_left_as_it_is() -> None:
    found = recorded(journal([*TRACKS, segment(0)], following=1), OPTIONS)
    assert work_of(found.stretches, found.looks, [None], OPTIONS) == []
    assert recorded(b"", OPTIONS).stretches == ()
    assert recorded(b"\xff\x00{}\n" + journal([], following=0), OPTIONS).stretches == ()
    assert not recorded(journal([*TRACKS, segment(0)], following=1) + encode(segment(1)) + b"\n", OPTIONS).clean


def test_a_segment_is_moved_in_time() -> None:
    parts = [b"".join(fragment(n, 1, 900 + n * 10, [10], [b"x" * 9], [True], None)[0]) for n in range(2)]
    moved = retimed(b"".join(parts), -900)
    times = []
    at = moved.find(b"tfdt")
    while at >= 0:
        times.append(struct.unpack_from(">Q", moved, at + 8)[0])
        at = moved.find(b"tfdt", at + 4)
    assert times == [0, 10]
    assert retimed(moved, 900) == b"".join(parts)
    for broken in (b"\0\0\0\4moof", b"\0\0\1\0moof", parts[0][:40]):
        with pytest.raises(ValueError, match="box"):
            retimed(broken, 5)


async def test_aac_beside_opus_sounds_when_opus_does(make: Make, tmp_path: Path) -> None:
    """On the timeline of the recording, which begins anywhere, in as many segments as there are of Opus."""
    flags = "empty_moov+default_base_moof+frag_keyframe"
    opus = make("opus.mp4", "-vn", "-c:a", "libopus", "-ac", "2", "-movflags", flags)
    source = tmp_path / "moved.mp4"
    source.write_bytes(retimed(opus.read_bytes(), 100 * 48_000))
    made = Made(
        "a", "opus", 48_000, "a-init-1.mp4",
        tuple(Segment(n, (100 + 2 * n) * 48_000, 96_000, 1) for n in range(2)), sample_rate=48_000, channels=2,
    )  # fmt: skip
    (work,) = work_of([Stretch(100 * 90_000, 0, (2.0, 2.0), (made,))], [None], [None], OPTIONS)
    result = await engine.encode_audio(source, work.plan, tmp_path)
    assert [(one.number, one.start) for one in result.rendition.segments] == [(0, 4_800_000), (1, 4_896_256)]
    assert result.files == ("a-aac-init-1.mp4", "a-aac-0.m4s", "a-aac-1.m4s")
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(b"".join((tmp_path / name).read_bytes() for name in result.files))
    loud = []
    with av.open(str(joined)) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            at = float(frame.pts * frame.time_base)
            heard = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples]
            if max(map(abs, heard)) > 0.1 and (not loud or at > loud[-1] + 0.5):
                loud.append(at)
    assert loud == pytest.approx([100, 101, 102, 103], abs=0.03)
