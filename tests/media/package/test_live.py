"""LivePackage through its front door: playlists, waiting, discontinuities, restarts, memory. Rules of RFC 8216bis are
quoted in short above the assert that holds them."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import re
from types import SimpleNamespace

import pytest

from media.package.answer import Answer
from media.package.journal import SegmentLine, read
from media.package.live import LivePackage, PackageOptions
from media.package.recording import recording_from_journal


def now(package: LivePackage, name: str, **query: object) -> Answer:
    answer = package.answer(name, {f"_HLS_{key}": str(value) for key, value in query.items()})
    assert isinstance(answer, Answer), "it was expected to be there at once"
    return answer


def text(answer: Answer) -> str:
    assert answer.status == 200
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    if answer.gzip is not None:
        assert gzip.decompress(answer.gzip) == body
    return body.decode()


async def later(package: LivePackage, name: str, **query: object) -> asyncio.Task[Answer]:
    answer = package.answer(name, {f"_HLS_{key}": str(value) for key, value in query.items()})
    assert inspect.isawaitable(answer), "it was expected to wait"
    before = package.waiting.count
    task = asyncio.ensure_future(answer)
    while package.waiting.count == before and not task.done():
        await asyncio.sleep(0)
    return task


async def live(package: LivePackage, kit: SimpleNamespace, clock: object, seconds: float, **how: object) -> None:
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(seconds, **how), clock)


async def test_a_live_playlist(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    await live(package, kit, clock, 9.01)
    lines = text(now(package, "v.m3u8")).splitlines()
    assert lines[0] == "#EXTM3U"
    control = next(x for x in lines if x.startswith("#EXT-X-SERVER-CONTROL"))
    # 4.4.3.8: HOLD-BACK is at least three target durations, PART-HOLD-BACK at least twice and better three times the
    # part target, the skip boundary at least six target durations
    assert "HOLD-BACK=12.0" in control
    assert "PART-HOLD-BACK=0.63" in control
    assert "CAN-SKIP-UNTIL=24.0" in control
    assert "#EXT-X-PART-INF:PART-TARGET=0.21" in lines
    assert not any("INDEPENDENT-SEGMENTS" in x for x in lines)
    assert [x for x in lines if x.endswith(".m4s")] == [f"v-{n}.m4s" for n in range(4)]
    # 4.4.4.9: tags that apply to a segment stand before its first part
    parts = [n for n, x in enumerate(lines) if x.startswith("#EXT-X-PART:")]
    assert lines.index('#EXT-X-MAP:URI="v-init-0.mp4"') < parts[0]
    assert sum(x.startswith("#EXT-X-PROGRAM-DATE-TIME") for x in lines) == 5
    assert lines[-2] == '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="v-4.5.m4s"'
    assert lines[-1] == '#EXT-X-RENDITION-REPORT:URI="a.m3u8",LAST-MSN=4,LAST-PART=4'
    # 6.2.2: parts more than three target durations from the end are no longer listed
    await kit.feed(package, kit.made_up(20.0, start=10.0), clock)
    lines = text(now(package, "v.m3u8")).splitlines()
    oldest = next(x for x in lines if x.startswith("#EXT-X-PART:"))
    assert int(re.search(r"v-(\d+)", oldest)[1]) >= 15 - 12 / 2 - 1


async def test_the_multivariant_playlist_tells_the_truth(
    package: LivePackage, kit: SimpleNamespace, clock: object
) -> None:
    package.on_tracks((kit.video_track(), kit.audio_track()))
    waiting = await later(package, "index.m3u8")
    await kit.feed(package, kit.made_up(6.0, size=10_000), clock)
    assert (await waiting).status == 200
    index = text(now(package, "index.m3u8"))
    assert 'CODECS="avc1.42c01e,mp4a.40.2"' in index
    assert "RESOLUTION=1280x720" in index
    assert "FRAME-RATE=30.000" in index
    average = int(re.search(r"AVERAGE-BANDWIDTH=(\d+)", index)[1])
    # 30 frames of 10 kB and 47 of 2.5 kB, and the boxes around them
    assert 3_300_000 < average < 3_500_000
    assert int(re.search(r"[:,]BANDWIDTH=(\d+)", index)[1]) >= average


async def test_blocking_reload(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    samples = kit.made_up(12.0, audio=0)
    package.on_tracks((kit.video_track(),))
    await kit.feed(package, samples[:180], clock)  # 6 s: segments 0, 1 and all parts of 2
    assert package.renditions["v"].edge.msn == 2
    assert package.renditions["v"].edge.parts == 10
    # 6.2.5.2: what is there, or is no longer there, is answered at once and in whole
    for msn in (0, 1):
        assert "v-0.m4s" in text(now(package, "v.m3u8", msn=msn))
    assert "v-2.3.m4s" in text(now(package, "v.m3u8", msn=2, part=3))
    # a segment without a part number is waited for until it is closed
    segment = await later(package, "v.m3u8", msn=2)
    many = [await later(package, "v.m3u8", msn=3, part=0) for _ in range(50)]
    hinted = await later(package, "v-3.0.m4s")
    assert 'PRELOAD-HINT:TYPE=PART,URI="v-3.0.m4s"' in text(now(package, "v.m3u8"))
    many[0].cancel()  # one that hangs up takes nobody with it
    await kit.feed(package, samples[180:185], clock)
    assert "\nv-2.m4s\n" in text(await segment)
    assert not many[1].done()
    await kit.feed(package, samples[185:186], clock)
    answers = await asyncio.gather(*many[1:])
    assert all(a.body is answers[0].body for a in answers)
    assert "v-3.0.m4s" in text(answers[0])
    assert (await hinted).body == now(package, "v-3.0.m4s").body
    # a part after the last of its segment is the first part of the next
    assert "v-3.0.m4s" in text(now(package, "v.m3u8", msn=2, part=10))
    beyond = await later(package, "v.m3u8", msn=3, part=4)
    await kit.feed(package, samples[186:240], clock)
    assert "v-3.4.m4s" in text(await beyond)


async def test_directives_out_of_range(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    await live(package, kit, clock, 5.0)
    # 6.2.5.2: _HLS_part without _HLS_msn is a bad request
    assert now(package, "v.m3u8", part=1).status == 400
    # more than two beyond the last segment (1), or beyond the advance part limit, is a bad request
    assert now(package, "v.m3u8", msn=4).status == 400
    assert now(package, "v.m3u8", msn=2, part=40).status == 400
    assert now(package, "v.m3u8", msn="x").status == 400
    assert now(package, "v.m3u8", msn=2, part=-1).status == 400
    assert now(package, "v.m3u8", msn="9" * 30).status == 400
    assert now(package, "../etc/passwd").status == 404
    assert now(package, "v-999.m4s").status == 404
    assert now(package, "v-2.40.m4s").status == 404
    # 6.2.5.2: once nothing more can come the directives are ignored
    package.on_end()
    assert "#EXT-X-ENDLIST" in text(now(package, "v.m3u8", msn=99, part=7))


async def test_a_wait_is_bounded(shelf: object, kit: SimpleNamespace, clock: object) -> None:
    package = LivePackage(PackageOptions(target_duration=4), shelf, clock)
    await live(package, kit, clock, 5.0)
    task = await later(package, "v.m3u8", msn=3)
    # 6.2.5.2: after three target durations without what was asked for: service unavailable
    assert package.waiting._patience == 12
    package.waiting.release(found=False)
    assert (await task).status == 503


async def test_at_the_end_only_endlist_is_gained(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    await live(package, kit, clock, 8.0)
    package.on_interrupted()
    before = text(now(package, "v.m3u8")).splitlines()
    waiting = await later(package, "v.m3u8", msn=4, part=0)
    package.on_end()
    after = text(now(package, "v.m3u8")).splitlines()
    # 6.2.1: a playlist may only be appended to, and its sequence never goes back
    assert [x for x in before if "PRELOAD-HINT" not in x] == [x for x in after if x != "#EXT-X-ENDLIST"]
    assert "#EXT-X-ENDLIST" in text(await waiting)


async def test_delta_updates(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    await live(package, kit, clock, 200.0)
    full = text(now(package, "v.m3u8")).splitlines()
    for value in ("YES", "v2"):
        delta = text(now(package, "v.m3u8", skip=value)).splitlines()
        (skip,) = [x for x in delta if x.startswith("#EXT-X-SKIP")]
        skipped = int(skip.split("=")[1])
        kept = [x for x in delta if x.endswith(".m4s")]
        # 6.2.5.1: segments further from the end than the skip boundary are replaced by EXT-X-SKIP, all others stay
        assert skipped + len(kept) == sum(x.endswith(".m4s") for x in full)
        assert full[-len(kept) :] == delta[-len(kept) :]
        assert 24 <= 2 * len(kept) <= 28
    assert len(now(package, "v.m3u8", skip="YES").body) * 1.5 < len(now(package, "v.m3u8").body)


async def test_another_publisher_is_a_discontinuity(
    package: LivePackage, kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace
) -> None:
    await live(package, kit, clock, 5.0)
    package.on_interrupted()
    clock.now += 20.0
    package.on_tracks((kit.video_track(width=640, codec_string="avc1.64001e"), kit.audio_track()))
    await kit.feed(package, kit.made_up(5.0, start=777.0), clock)
    lines = text(now(package, "v.m3u8")).splitlines()
    at = lines.index("#EXT-X-DISCONTINUITY")
    assert lines[at + 1] == '#EXT-X-MAP:URI="v-init-1.mp4"'
    assert [x for x in lines if x.endswith(".m4s")] == [f"v-{n}.m4s" for n in range(5)]
    times = [run.decode_time / 90_000 for n in range(5) for run in kit.fragments(shelf.files[f"v-{n}.m4s"])]
    assert times == sorted(times), "the timeline goes on"
    assert 24.9 < times[-1] < 30.1, "and leaves room for the time without a publisher"
    assert text(now(package, "a.m3u8")).count('URI="a-init-0.mp4"') == 2
    manifest = text(now(package, "index.mpd"))
    assert manifest.count("<Period ") == 2


async def test_a_track_that_is_lost_becomes_gaps_and_one_that_is_gained_joins(
    package: LivePackage, kit: SimpleNamespace, clock: object
) -> None:
    await live(package, kit, clock, 5.0)
    package.on_tracks((kit.video_track(),))
    assert package.renditions["v"].next == package.renditions["a"].next
    await kit.feed(package, kit.made_up(5.0, audio=0), clock)
    sound = text(now(package, "a.m3u8"))
    assert sound.count("#EXT-X-GAP") == 2
    assert "PRELOAD-HINT" not in sound
    assert 'AUDIO="audio"' not in text(now(package, "index.m3u8"))
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await kit.feed(package, kit.made_up(5.0), clock)
    picture, sound = text(now(package, "v.m3u8")), text(now(package, "a.m3u8"))
    # 6.2.4: matching content has matching discontinuity sequence numbers
    assert picture.count("#EXT-X-DISCONTINUITY\n") == sound.count("#EXT-X-DISCONTINUITY\n") == 2
    assert 'AUDIO="audio"' in text(now(package, "index.m3u8"))


async def test_a_long_broadcast_keeps_its_window_and_its_memory(
    shelf: SimpleNamespace, kit: SimpleNamespace, clock: object
) -> None:
    package = LivePackage(PackageOptions(dvr_seconds=120, record=False), shelf, clock)
    await live(package, kit, clock, 600.0, size=200)
    full = text(now(package, "v.m3u8"))
    first = int(re.search(r"MEDIA-SEQUENCE:(\d+)", full)[1])
    listed = [x for x in full.splitlines() if x.endswith(".m4s")]
    assert listed == [f"v-{n}.m4s" for n in range(first, 299)]
    assert 120 <= 2 * len(listed) <= 160
    in_memory = sum(
        len(c) for s in package.segments.values() for p in s.pieces.values() for x in p.parts for c in x.chunks
    )
    assert in_memory < 4 * 2 * (30 * 200 + 47 * 50) * 2
    assert len(package.segments) < 80
    assert "v-0.m4s" in shelf.removed
    # 6.2.2: what left the window can be had for as long again
    assert f"v-{first - 10}.m4s" not in shelf.removed
    # all that is listed can be had: parts and segments of the edge, old segments, parts only the shelf has
    for name in re.findall(r"[va]-[\d.]+m4s", full):
        answer = package.answer(name, {}) if 'PRELOAD-HINT:TYPE=PART,URI="' + name not in full else None
        if answer is not None:
            answer = answer if isinstance(answer, Answer) else await answer
            assert answer.status == 200, name
    old = re.search(r"v-\d+\.0\.m4s", full)[0]
    answer = package.answer(old, {})
    assert inspect.isawaitable(answer)
    assert (await answer).body == shelf.files[old.replace(".0.m4s", ".m4s")][
        : len((await package.answer(old, {})).body)
    ]


async def test_what_the_spool_lost_is_a_gap(
    package: LivePackage, kit: SimpleNamespace, clock: object, shelf: SimpleNamespace
) -> None:
    package.on_tracks((kit.video_track(),))
    samples = kit.made_up(20.0, audio=0)
    await kit.feed(package, samples[:90], clock)
    shelf.full = True
    await kit.feed(package, samples[90:130], clock)
    shelf.full = False
    await kit.feed(package, samples[130:], clock)
    lines = text(now(package, "v.m3u8")).splitlines()
    assert lines[lines.index("v-1.m4s") - 2] == "#EXT-X-GAP"
    assert lines.count("#EXT-X-GAP") == 1
    package.on_end()
    recording = await package.finish()
    assert recording.segments == 9
    assert "#EXT-X-GAP" in shelf.files["recording-v.m3u8"].decode()


async def test_a_restart_after_a_kill(kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace) -> None:
    package = LivePackage(PackageOptions(), shelf, clock)
    await live(package, kit, clock, 9.01)
    served = dict(shelf.files)
    lines = await shelf.journal()  # kill -9: nothing is closed, segment 4 is open
    clock.now += 8.0
    again = LivePackage(PackageOptions(), shelf, clock)
    again.resume(lines + b'{"line":"segm')
    assert text(now(again, "v.m3u8")).count("#EXT-X-GAP") == 1
    assert "v-4.m4s" in text(now(again, "v.m3u8"))
    await live(again, kit, clock, 5.01)
    lines_now = text(now(again, "v.m3u8")).splitlines()
    assert [x for x in lines_now if x.endswith(".m4s")] == [f"v-{n}.m4s" for n in range(7)]
    assert lines_now[lines_now.index("v-4.m4s") - 2] == "#EXT-X-GAP"
    assert {name: shelf.files[name] for name in served} == served, "no name is used for other bytes"
    answer = again.answer("v-1.m4s", {})
    assert inspect.isawaitable(answer)
    assert (await answer).body == served["v-1.m4s"]
    assert '#EXT-X-MAP:URI="v-init-0.mp4"' in lines_now
    again.on_end()
    recording = await again.finish()
    assert recording.segments == 7 - 1 + 1
    assert recording.duration_s == pytest.approx(8 + 5 + 2, abs=0.1)


async def test_a_deploy_loses_nothing(kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace) -> None:
    package = LivePackage(PackageOptions(), shelf, clock)
    await live(package, kit, clock, 5.0)
    waiting = await later(package, "v.m3u8", msn=3)
    await package.close()
    assert (await waiting).status == 503
    assert shelf.flushes == 1
    again = LivePackage(PackageOptions(), shelf, clock)
    again.resume(await shelf.journal())
    await live(again, kit, clock, 5.0)
    lines = text(now(again, "v.m3u8")).splitlines()
    assert "#EXT-X-GAP" not in lines
    assert "#EXT-X-DISCONTINUITY" in lines
    assert again.describe()["part_target"] == 0.21


async def test_a_crashed_broadcast_is_closed_from_its_journal(
    package: LivePackage, kit: SimpleNamespace, clock: object, shelf: SimpleNamespace
) -> None:
    await live(package, kit, clock, 9.0)
    recording, files = recording_from_journal(await shelf.journal())
    assert recording.duration_s == pytest.approx(8.0, abs=0.05)
    assert set(files) == {"recording.m3u8", "recording-v.m3u8", "recording-a.m3u8", "recording.mpd"}
    body = files["recording-v.m3u8"].decode()
    assert body.endswith("#EXT-X-ENDLIST\n")
    assert "PLAYLIST-TYPE:VOD" in body
    assert recording_from_journal(b"")[1] == {}
    assert [x.msn for x in read(await shelf.journal()) if isinstance(x, SegmentLine)] == [0, 1, 2, 3]


async def test_answers_say_how_long_they_may_be_kept(package: LivePackage, kit: SimpleNamespace, clock: object) -> None:
    await live(package, kit, clock, 9.0)
    for name, kind in (("v-3.m4s", "video/mp4"), ("a-3.1.m4s", "audio/mp4"), ("v-init-0.mp4", "video/mp4")):
        answer = now(package, name)
        assert answer.max_age == 31_536_000
        assert answer.content_type == kind
    assert now(package, "v.m3u8").max_age == 1
    assert now(package, "v.m3u8") is now(package, "v.m3u8"), "the second request is one look-up"
    assert now(package, "index.mpd").content_type == "application/dash+xml"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text(now(package, "time")))


async def test_a_takeover_uses_no_name_that_the_dead_machine_may_have_shown(
    kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace
) -> None:
    package = LivePackage(PackageOptions(), shelf, clock)
    await live(package, kit, clock, 5.01)  # 0 and 1 are closed, 2 is open; it goes on, but its journal does not
    clock.now += 10.0
    again = LivePackage(PackageOptions(), shelf, clock)
    await again.restore(from_elsewhere=True)
    lines = text(now(again, "v.m3u8")).splitlines()
    gaps = [lines[n + 2] for n, line in enumerate(lines) if line == "#EXT-X-GAP"]
    assert gaps[0] == "v-2.m4s"
    assert len(gaps) >= 1 + (5.01 - 4 + 10) / 2
    assert again.next == 2 + len(gaps)
    await live(again, kit, clock, 3.0)
    assert f"v-{2 + len(gaps)}.m4s" in text(now(again, "v.m3u8"))
