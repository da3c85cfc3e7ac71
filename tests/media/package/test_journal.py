"""Journals as crashes, full disks and bit rot leave them: nothing in one may raise, and no name is used twice."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from types import SimpleNamespace

import pytest

from media.package.answer import Answer
from media.package.history import History, read_history
from media.package.journal import Closed, Init, Lost, SegmentLine, encode, read
from media.package.live import LivePackage, PackageOptions
from media.package.recording import recording_from_journal


def playlist(package: LivePackage, name: str) -> list[str]:
    answer = package.answer(name, {})
    assert isinstance(answer, Answer)
    assert isinstance(answer.body, bytes)
    return answer.body.decode().splitlines()


def media_of(lines: list[str]) -> list[str]:
    return [x for x in lines if x.endswith(".m4s")]


def gaps_of(lines: list[str]) -> list[str]:
    return [lines[n + 2] for n, x in enumerate(lines) if x == "#EXT-X-GAP"]


@pytest.fixture
async def lines(kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace) -> list[bytes]:
    """The journal of segments 0 to 5 of both tracks, and nothing else: segment 6 was open at the end."""
    package = LivePackage(PackageOptions(), shelf, clock)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(13.01), clock)
    return (await shelf.journal()).splitlines()


def resumed(kit: SimpleNamespace, clock: SimpleNamespace, journal: bytes) -> LivePackage:
    package = LivePackage(PackageOptions(), kit.MemoryShelf(), clock)
    package.resume(journal)
    return package


def without(lines: list[bytes], *msns: int) -> bytes:
    kept = [x for x in lines if not any(isinstance(y, SegmentLine) and y.msn in msns for y in read(x))]
    return b"\n".join(kept) + b"\n"


@pytest.mark.parametrize("letters", ["v", "a", "va"])
async def test_segments_of_a_configuration_that_was_lost_are_gaps(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes], letters: str
) -> None:
    journal = b"\n".join(x for x in lines if not any(isinstance(y, Init) and y.letter in letters for y in read(x)))
    package = resumed(kit, clock, journal)
    for letter in "va":
        listed = playlist(package, f"{letter}.m3u8")
        assert media_of(listed) == [f"{letter}-{n}.m4s" for n in range(7)]
        assert len(gaps_of(listed)) == (7 if letter in letters else 1)
    recording, files = recording_from_journal(journal)
    assert recording.segments == (0 if letters == "va" else 6)
    assert bool(files) == (letters != "va")
    if files:
        other = "a" if letters == "v" else "v"
        assert f"recording-{other}.m3u8" in files
        assert f"recording-{letters}.m3u8" not in files
        assert files["recording.mpd"].count(b"<AdaptationSet") == 1
    # and it goes on, with names of its own
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(4.1), clock)
    assert media_of(playlist(package, "v.m3u8"))[-2:] == ["v-7.m4s", "v-8.m4s"]
    for letter in letters:
        assert f'#EXT-X-MAP:URI="{letter}-init-0.mp4"' not in playlist(package, f"{letter}.m3u8"), "a name used before"


async def test_missing_segments_are_gaps_and_numbers_stay(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes]
) -> None:
    journal = without(lines, 2, 3)
    package = resumed(kit, clock, journal)
    for letter in "va":
        listed = playlist(package, f"{letter}.m3u8")
        assert "#EXT-X-MEDIA-SEQUENCE:0" in listed
        # 6.2.2: the number of a segment is that of the first plus its place in the list
        assert media_of(listed) == [f"{letter}-{n}.m4s" for n in range(7)]
        assert gaps_of(listed) == [f"{letter}-{n}.m4s" for n in (2, 3, 6)]
    recording, files = recording_from_journal(journal)
    assert recording.segments == 4
    assert recording.duration_s == pytest.approx(12.0, abs=0.1)
    for letter in "va":
        listed = files[f"recording-{letter}.m3u8"].decode().splitlines()
        assert media_of(listed) == [f"{letter}-{n}.m4s" for n in range(6)]
        assert gaps_of(listed) == [f"{letter}-{n}.m4s" for n in (2, 3)]


@pytest.mark.parametrize("last", [Lost(8), Closed(9)])
async def test_numbers_given_up_at_the_end_are_not_used_again(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes], last: Lost | Closed
) -> None:
    package = resumed(kit, clock, b"\n".join([*lines, encode(last)]))
    opened = isinstance(last, Lost)  # after a kill one more was open
    listed = playlist(package, "v.m3u8")
    assert media_of(listed) == [f"v-{n}.m4s" for n in range(9 + opened)]
    assert gaps_of(listed) == [f"v-{n}.m4s" for n in range(6, 9 + opened)]
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(2.5), clock)
    assert media_of(playlist(package, "v.m3u8"))[-1] == f"v-{9 + opened}.m4s"


async def test_the_lines_may_come_in_another_order_and_twice(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes]
) -> None:
    shuffled = lines * 2
    random.Random(1).shuffle(shuffled)
    assert recording_from_journal(b"\n".join(shuffled)) == recording_from_journal(b"\n".join(lines))
    assert playlist(resumed(kit, clock, b"\n".join(shuffled)), "v.m3u8") == playlist(
        resumed(kit, clock, b"\n".join(lines)), "v.m3u8"
    )


async def test_a_journal_without_its_head_still_tells_what_names_were_used(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes]
) -> None:
    package = resumed(kit, clock, b"\n".join(lines[1:]))
    assert playlist(package, "v.m3u8")[8:] == playlist(resumed(kit, clock, b"\n".join(lines)), "v.m3u8")[8:]
    only_inits = resumed(kit, clock, b"\n".join(x for x in lines if any(isinstance(y, Init) for y in read(x))))
    only_inits.on_tracks((kit.video_track(width=640), kit.audio_track()))
    await kit.feed(only_inits, kit.made_up(4.1), clock)
    assert media_of(playlist(only_inits, "v.m3u8"))[0] == "v-1.m4s"


@pytest.mark.parametrize("seed", range(40))
async def test_no_journal_raises(kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes], seed: int) -> None:
    chance = random.Random(seed)
    damaged = list(lines)
    for _ in range(chance.randint(1, 6)):
        damaged.insert(chance.randrange(len(damaged) + 1), _damage(chance, chance.choice(lines)))
        if chance.random() < 0.5:
            damaged.pop(chance.randrange(len(damaged)))
    journal = b"\n".join(damaged)
    recording_from_journal(journal)
    package = resumed(kit, clock, journal)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(4.1), clock)
    for name in ("v.m3u8", "a.m3u8", "index.m3u8", "index.mpd"):
        answer = package.answer(name, {})
        assert isinstance(answer, Answer)
        assert answer.status == 200


_WILD = (0, -1, 1, 7, 10**6, 2**40, 2**63, 10**30, 1e308, -1e308, "", "x", "v-init-9.mp4", None, [], {}, True, "\n#X")


def _damage(chance: random.Random, line: bytes) -> bytes:
    way = chance.randrange(5)
    if way == 0:
        return line[: chance.randrange(len(line))]
    if way == 1:
        return line[: chance.randrange(len(line))] + line
    if way == 2:
        return chance.choice([b"[" * 100_000, b"\xff\xfe", b"\0" * 50, b'"x"', b"[]", b"{}", b'{"line":"closed"}'])
    given = json.loads(line)
    key = chance.choice([x for x in given if x != "line"])
    if isinstance(given[key], dict) and chance.random() < 0.8:
        inner = given[key]["v"]
        inner[chance.randrange(len(inner))] = chance.choice(_WILD)
    else:
        given[key] = chance.choice(_WILD)
    return json.dumps(given).encode()


async def test_a_damaged_number_does_not_list_a_million_gaps(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes]
) -> None:
    last = next(iter(read(lines[-1])))
    assert isinstance(last, SegmentLine)
    last.msn = 10**9
    journal = b"\n".join([*lines, encode(last)])
    assert len(recording_from_journal(journal)[1]["recording-v.m3u8"]) < 10_000
    package = resumed(kit, clock, journal)
    assert media_of(playlist(package, "v.m3u8"))[-1] == f"v-{10**9 + 1}.m4s"
    assert len(media_of(playlist(package, "v.m3u8"))) < 100


async def test_more_configurations_than_are_kept(kit: SimpleNamespace, clock: SimpleNamespace) -> None:
    """The one that stays in use is not forgotten because it is the oldest."""
    package = LivePackage(PackageOptions(), kit.MemoryShelf(), clock)
    for n in range(70):
        package.on_tracks((kit.video_track(width=320 + 2 * n), kit.audio_track()))
        await asyncio.sleep(0)
    await kit.feed(package, kit.made_up(4.1), clock)
    assert media_of(playlist(package, "v.m3u8")) == ["v-0.m4s", "v-1.m4s"]


async def test_a_recording_says_the_largest_picture_that_it_has(kit: SimpleNamespace, clock: SimpleNamespace) -> None:
    """A browser makes its picture smaller when the network wants it; no player is to stop at that."""
    shelf = kit.MemoryShelf()
    package = LivePackage(PackageOptions(), shelf, clock)
    for width in (320, 640, 480):
        package.on_tracks((kit.video_track(width=width), kit.audio_track()))
        await kit.feed(package, kit.made_up(4.1), clock)
    package.on_end()
    _, files = recording_from_journal(b"\n".join(shelf.lines))
    assert b"RESOLUTION=640x" in files["recording.m3u8"]
    assert files["recording-v.m3u8"].count(b"#EXT-X-DISCONTINUITY\n#EXT-X-MAP:") == 2


async def test_a_long_broadcast_is_resumed_beside_the_loop(
    kit: SimpleNamespace, clock: SimpleNamespace, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    monkeypatch.setattr(kit.MemoryShelf, "remove", lambda *_: pytest.fail("the shelf belongs to the loop"))

    def noted(journal: bytes) -> History:
        threads.append(threading.current_thread())
        return read_history(journal)

    monkeypatch.setattr("media.package.live.read_history", noted)
    segments = [x for x in read(b"\n".join(lines)) if isinstance(x, SegmentLine)]
    long = [x for x in lines if not any(isinstance(y, SegmentLine) for y in read(x))]
    for n in range(5000):
        line = segments[n % 6]
        line.msn, line.at = n, clock.now - 10_000 + 2 * n
        line.session, hole = n // 4980, 3600 * (n >= 4980)  # an hour's break near the end
        line.discontinuity = n == 4980
        for piece in line.pieces.values():
            piece.start = (2 * n + hole) * piece.scale
        long.append(encode(line))
    shelf = kit.MemoryShelf()
    shelf.lines = list(long)
    package = LivePackage(PackageOptions(dvr_seconds=120, record=False), shelf, clock)
    await package.restore()
    assert threads[0] is not threading.main_thread()
    straight = LivePackage(PackageOptions(dvr_seconds=120), kit.MemoryShelf(), clock)
    straight.resume(b"\n".join(long))
    assert playlist(package, "v.m3u8") == playlist(straight, "v.m3u8")
    assert media_of(playlist(package, "v.m3u8"))[-1] == "v-5000.m4s"
    assert len(shelf.lines) == len(long) + 1, "the gap of the open segment was written"
    assert isinstance(next(iter(read(shelf.lines[-1]))), SegmentLine)
