"""Derived renditions in the package: beside the source, cut where it is, and never in its way."""

from __future__ import annotations

import asyncio
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import av
import pytest

from media.broadcast import Broadcast, Derived, PublisherSession
from media.package.answer import Answer
from media.package.followers import HELD_SAMPLES, Offer
from media.package.live import LivePackage, PackageOptions
from media.package.recording import recording_from_journal
from media.samples import Codec, Kind, Sample, Track
from media.transcode.sound import config_of
from tests.media.test_broadcast import Log, request

AAC = Track(2, Codec.AAC, 48_000, config_of(Codec.AAC, 2), "mp4a.40.2", sample_rate=48_000, channels=2)
NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}


def in_order(
    session: PublisherSession, samples: Sequence[Sample], derived: Sequence[tuple[Derived, Sequence[Sample], float]]
) -> list[tuple[float, Callable[[Sequence[Sample]], None], Sample]]:
    """When each sample comes, who takes it, and the sample."""
    scales = {1: 90_000, 2: 48_000}
    events = [(s.dts / scales[s.track], session.samples, s) for s in samples]
    for to, some, late in derived:
        events += [(s.dts / scales[s.track] + late, to.samples, s) for s in some]
    return sorted(events, key=lambda event: event[0])


class Stage(NamedTuple):
    """A broadcast on its way into a package."""

    kit: SimpleNamespace
    broadcast: Broadcast
    package: LivePackage
    shelf: SimpleNamespace
    clock: SimpleNamespace

    def open(self, *tracks: Track) -> PublisherSession:
        session = self.broadcast.open(request())
        for track in tracks or (self.kit.video_track(), self.opus):
            session.track(track)
        return session

    @property
    def opus(self) -> Track:
        changes = {"codec": Codec.OPUS, "codec_string": "opus", "config": config_of(Codec.OPUS, 2)}
        track: Track = self.kit.audio_track(**changes)
        return track

    async def run(
        self,
        session: PublisherSession,
        samples: Sequence[Sample],
        derived: Sequence[tuple[Derived, Sequence[Sample], float]] = (),
    ) -> None:
        """In the order of real time; what is derived comes so many seconds later than its time says."""
        events = await asyncio.to_thread(in_order, session, samples, derived)
        begin = self.clock.now - events[0][0]
        for number, (at, give, sample) in enumerate(events):
            self.clock.now = max(self.clock.now, begin + at)
            give([sample])
            if number % 10 == 0:
                await asyncio.sleep(0)

    def text(self, name: str) -> str:
        answer = self.package.answer(name, {})
        assert isinstance(answer, Answer), f"{name} waits"
        assert answer.status == 200, name
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def lines(self, letter: str) -> list[str]:
        return self.text(f"{letter}.m3u8").splitlines()

    def segments(self, letter: str) -> dict[int, bool]:
        """msn -> whether it has media."""
        lines = self.lines(letter)
        found = {}
        for n, line in enumerate(lines):
            if match := re.fullmatch(rf"{letter}-(\d+)\.m4s", line):
                found[int(match[1])] = "#EXT-X-GAP" not in lines[n - 2 : n]
        return found


@pytest.fixture
def stage(kit: SimpleNamespace, shelf: SimpleNamespace, clock: SimpleNamespace) -> Stage:
    return on_stage(kit, shelf, clock)


def on_stage(kit: SimpleNamespace, shelf: SimpleNamespace, clock: SimpleNamespace, **options: object) -> Stage:
    broadcast = Broadcast("b", Log())
    maker = options.pop("maker", None)
    package = LivePackage(PackageOptions(**options), shelf, clock, maker=maker)  # type: ignore[arg-type]
    broadcast.add(package)
    broadcast.follow(package.followers)
    return Stage(kit, broadcast, package, shelf, clock)


def sound(seconds: float, start: float = 0.0) -> list[Sample]:
    first = -(-int(start * 48_000) // 1024)
    return [
        Sample(2, n * 1024, n * 1024, True, b"a" * 300, 1024) for n in range(first, int((start + seconds) * 46.875))
    ]


def cut(samples: Sequence[Sample], start: float, end: float = 1e9) -> list[Sample]:
    return [s for s in samples if start <= s.dts / (90_000 if s.track == 1 else 48_000) < end]


def decoded(stage: Stage, letter: str) -> list[tuple[float, float]]:
    """(first, last) presentation times of each segment with media, by the timeline."""
    found = []
    lines = stage.lines(letter)
    init = stage.shelf.files[re.search(r'MAP:URI="([^"]+)"', "\n".join(lines))[1]]  # type: ignore[index]
    for msn, there in stage.segments(letter).items():
        if there:
            with av.open(io.BytesIO(init + stage.shelf.files[f"{letter}-{msn}.m4s"])) as file:
                times = [
                    float(p.pts * p.time_base) for p in file.demux(file.streams[0]) if p.size and p.pts is not None
                ]
                found.append((times[0], times[-1]))
    return found


def mpd(stage: Stage) -> ET.Element:
    return ET.fromstring(stage.text("index.mpd"))


async def test_aac_beside_opus(stage: Stage) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: derived.track(AAC) and None)
    await stage.run(session, await asyncio.to_thread(stage.kit.made_up, 13.0), [(derived, sound(12.8), 0.07)])
    assert stage.segments("v") == {n: True for n in range(6)}
    assert stage.segments("a-aac") == {n: True for n in range(6)}
    # cut where the source is: less than a frame off
    for ours, theirs in zip(
        stage.package.followers.renditions["a-aac"].pieces,
        stage.package.renditions["v"].pieces,
        strict=True,
    ):
        assert abs(ours.start / ours.scale - theirs.start / theirs.scale) < 0.022
        assert abs(ours.at - theirs.at) < 0.022
    lines = stage.lines("a-aac")
    assert '#EXT-X-MAP:URI="a-aac-init-0.mp4"' in lines
    assert any(x.startswith("#EXT-X-PART:") and 'URI="a-aac-6.0.m4s"' in x for x in lines)
    assert any('PRELOAD-HINT:TYPE=PART,URI="a-aac-6.' in x for x in lines)
    assert {re.search(r'REPORT:URI="([^"]+)"', x)[1] for x in lines if "REPORT" in x} == {"v.m3u8", "a.m3u8"}  # type: ignore[index]
    assert any('URI="a-aac.m3u8",LAST-MSN=6' in x for x in stage.lines("v") if "REPORT" in x)
    # what is in the playlist can be had, as the journal says it was written
    for n in range(6):
        answer = stage.package.answer(f"a-aac-{n}.m4s", {})
        answer = answer if isinstance(answer, Answer) else await answer
        assert answer.status == 200
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        assert body == stage.shelf.files[f"a-aac-{n}.m4s"]
    assert (await_now(stage.package.answer("a-aac-6.0.m4s", {}))).content_type == "audio/mp4"
    # each segment's media is where the segment says
    for number, (first, last) in enumerate(await asyncio.to_thread(decoded, stage, "a-aac")):
        assert abs(first - 2 * number) < 0.022
        assert abs(last - 2 * number - 2) < 0.044


def await_now(answer: object) -> Answer:
    assert isinstance(answer, Answer)
    return answer


async def test_the_multivariant_playlist_and_the_manifest_list_it(stage: Stage) -> None:
    session = stage.open()
    aac = stage.broadcast.derive("aac", listed=True)
    small = stage.broadcast.derive("480p", listed=True)
    track = stage.kit.video_track(width=854, height=480)
    source = await asyncio.to_thread(stage.kit.made_up, 9.0, size=4000)
    session.samples(source[:2])
    aac.track(AAC)
    small.track(track)
    pictures = [s._replace(data=s.data[:1000]) for s in source if s.track == 1]
    await stage.run(session, source[2:], [(aac, sound(9.0), 0.07), (small, pictures, 0.3)])
    index = stage.text("index.m3u8")
    media = re.findall(r'#EXT-X-MEDIA:.*GROUP-ID="([^"]+)".*URI="([^"]+)"', index)
    assert media == [("audio", "a.m3u8"), ("audio-aac", "a-aac.m3u8")]
    variants = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(.*)", index)
    assert [uri for _, uri in variants] == ["v.m3u8", "v-480p.m3u8"] * 2
    assert 'CODECS="avc1.42c01e,opus"' in variants[0][0]
    assert 'AUDIO="audio"' in variants[0][0]
    assert "RESOLUTION=854x480" in variants[1][0]
    assert 'CODECS="avc1.42c01e,mp4a.40.2"' in variants[3][0]
    assert 'AUDIO="audio-aac"' in variants[3][0]
    rates = [int(re.search(r"[:,]?\bBANDWIDTH=(\d+)", about)[1]) for about, _ in variants]  # type: ignore[index]
    assert rates[0] > rates[1] > 100_000
    assert stage.segments("v-480p") == {n: True for n in range(4)}
    [period] = mpd(stage).findall("m:Period", NS)
    sets = period.findall("m:AdaptationSet", NS)
    assert [[r.get("id") for r in s.findall("m:Representation", NS)] for s in sets] == [
        ["v", "v-480p"],
        ["a"],
        ["a-aac"],
    ]
    for one in sets:
        for representation in one.findall("m:Representation", NS):
            template = representation.find("m:SegmentTemplate", NS)
            assert template is not None
            number = int(template.get("startNumber", ""))
            for n, s in enumerate(template.iter("{urn:mpeg:dash:schema:mpd:2011}S"), number):
                name = str(template.get("media")).replace("$Number$", str(n))
                run = stage.kit.fragments(stage.shelf.files[name])[0]
                assert run.decode_time == int(s.get("t", ""))


async def test_a_layer_that_is_ahead_of_the_source_is_cut_at_its_boundaries_too(stage: Stage) -> None:
    """Simulcast: the layer's key frame may come a moment before the source's."""
    session = stage.open(stage.kit.video_track())
    layer = stage.broadcast.derive("m", listed=True)
    source = await asyncio.to_thread(stage.kit.made_up, 9.0, audio=0)
    session.samples(source[:1])
    await asyncio.sleep(0)
    session._release()
    layer.track(stage.kit.video_track(width=640, height=360))
    await stage.run(session, source[1:], [(layer, source, -0.1)])
    assert stage.segments("v-m") == {n: True for n in range(4)}
    for ours, theirs in zip(
        stage.package.followers.renditions["v-m"].pieces, stage.package.renditions["v"].pieces, strict=True
    ):
        assert (ours.start, ours.duration) == (theirs.start, theirs.duration)
        assert ours.parts[0].independent


async def test_it_joins_leaves_and_comes_back(stage: Stage) -> None:
    session = stage.open()
    source = await asyncio.to_thread(stage.kit.made_up, 31.0)

    await stage.run(session, cut(source, 0, 5.0))
    derived = stage.broadcast.derive("aac", listed=True)
    derived.track(AAC)
    await stage.run(session, cut(source, 5.0, 11.0), [(derived, sound(6.0, 5.0), 0.07)])
    derived.close()
    await stage.run(session, cut(source, 11.0, 21.0))
    assert stage.segments("a-aac") == {
        1: False,
        2: True,
        3: True,
        4: True,
        5: True,
        6: False,
        7: False,
        8: False,
        9: False,
    }
    again = stage.broadcast.derive("aac", listed=True)
    again.track(AAC)
    await stage.run(session, cut(source, 21.0, 31.0), [(again, sound(10.0, 21.0), 0.07)])
    there = stage.segments("a-aac")
    assert [n for n in there if there[n]] == [2, 3, 4, 5, 10, 11, 12, 13, 14]
    assert list(there) == list(range(1, 15))
    assert stage.segments("v") == {n: True for n in range(15)}
    # the manifest has the newest row without a hole
    representation = mpd(stage).find(".//m:Representation[@id='a-aac']/m:SegmentTemplate", NS)
    assert representation is not None
    assert representation.get("startNumber") == "10"
    # its first picture is where its sound begins, not where the segment does
    first, _ = (await asyncio.to_thread(decoded, stage, "a-aac"))[0]
    assert abs(first - 5.0) < 0.022


async def test_what_left_the_window_is_no_longer_listed(
    kit: SimpleNamespace, shelf: SimpleNamespace, clock: SimpleNamespace
) -> None:
    stage = on_stage(kit, shelf, clock, dvr_seconds=20)
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True)
    source = await asyncio.to_thread(stage.kit.made_up, 7.0)
    session.samples(source[:2])
    derived.track(AAC)
    await stage.run(session, cut(source[2:], 0, 6), [(derived, sound(5.0), 0.07)])
    derived.close()
    assert "a-aac.m3u8" in stage.text("index.m3u8")
    session.restart()
    await stage.run(session, await asyncio.to_thread(stage.kit.made_up, 100.0))
    assert "a-aac" not in stage.text("index.m3u8")
    assert await_now(stage.package.answer("a-aac.m3u8", {})).status == 404


async def test_one_that_stands_still_holds_nobody_up(stage: Stage) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True)
    source = await asyncio.to_thread(stage.kit.made_up, 21.0)
    session.samples(source[:2])
    derived.track(AAC)
    await stage.run(session, source[2:], [(derived, sound(5.0), 0.07)])  # then its child hangs
    assert stage.segments("v") == {n: True for n in range(10)}
    there = stage.segments("a-aac")
    assert there == {n: n < 3 for n in range(9)}
    assert stage.package.describe()["lost_files"] == 0


async def test_sound_goes_on_while_the_picture_stands_still(stage: Stage) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: derived.track(AAC) and None)
    source = [s for s in await asyncio.to_thread(stage.kit.made_up, 21.0) if s.track == 2 or s.dts < 3 * 90_000]
    await stage.run(session, source, [(derived, sound(20.9), 0.07)])
    assert not all(stage.segments("v").values())
    there = stage.segments("a-aac")
    assert there == {n: True for n in range(len(stage.segments("a")))}
    assert stage.package.followers.following[0].dropped == 0


async def test_what_never_fits_the_clock_is_bounded(stage: Stage) -> None:
    """A source of samples whose clock is far ahead of the publisher's."""
    session = stage.open()
    derived = stage.broadcast.derive("480p", listed=True)
    source = await asyncio.to_thread(stage.kit.made_up, 9.0)
    session.samples(source[:2])
    derived.track(stage.kit.video_track(width=854, height=480))
    ahead = [s._replace(dts=s.dts + 90_000_000, pts=s.pts + 90_000_000) for s in source if s.track == 1]
    for _ in range(8):
        derived.samples(ahead)
        await asyncio.sleep(0)
        assert len(stage.package.followers.following[0]._held) <= HELD_SAMPLES
    await stage.run(session, source[2:])
    assert stage.segments("v") == {n: True for n in range(4)}
    assert "v-480p" not in stage.text("index.m3u8")


async def test_a_new_timeline_is_a_discontinuity_in_all(stage: Stage) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: derived.track(AAC) and None)
    source = await asyncio.to_thread(stage.kit.made_up, 7.0)
    await stage.run(session, source, [(derived, sound(7.0), 0.07)])
    session.close("gone", clean=False)
    session = stage.open()
    await stage.run(session, source, [(derived, sound(7.0), 0.07)])
    session.close("gone", clean=False)
    for letter in ("v", "a", "a-aac"):
        assert stage.segments(letter) == {n: True for n in range(8)}, letter
        lines = stage.lines(letter)
        at = lines.index("#EXT-X-DISCONTINUITY")
        assert lines.index(f"{letter}-3.m4s") < at < lines.index(f"{letter}-4.m4s")
    # what its encoder still had of the old timeline is not in the new one
    assert all(b[0] >= a[1] for a, b in pairwise(await asyncio.to_thread(decoded, stage, "a-aac")))


async def test_a_restart_continues_it(stage: Stage, kit: SimpleNamespace) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: derived.track(AAC) and None)
    await stage.run(session, await asyncio.to_thread(kit.made_up, 9.0), [(derived, sound(9.0), 0.07)])
    before = stage.segments("a-aac")
    # killed: no line says that it was closed
    other = on_stage(kit, stage.shelf, stage.clock)
    await other.package.restore()
    assert other.segments("a-aac") == before
    assert other.package.followers.renditions["a-aac"].first == 0
    session = other.open()
    again = other.broadcast.derive("aac", listed=True, on_timeline=lambda: again.track(AAC) and None)
    await other.run(session, await asyncio.to_thread(kit.made_up, 7.0), [(again, sound(7.0), 0.07)])
    session.close("gone", clean=False)
    there = other.segments("a-aac")
    assert there == {n: n != 4 for n in range(9)}  # 4 was open when it was killed
    assert other.segments("v") == there
    lines = other.lines("a-aac")
    assert lines.index("#EXT-X-DISCONTINUITY") < lines.index("a-aac-4.m4s")


async def test_the_recording_has_what_was_there_all_along(stage: Stage, kit: SimpleNamespace) -> None:
    session = stage.open()
    aac = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: aac.track(AAC) and None)
    late = stage.broadcast.derive("late", listed=True, on_timeline=lambda: late.track(AAC) and None)
    await stage.run(
        session, await asyncio.to_thread(kit.made_up, 20.0), [(aac, sound(20.0), 0.07), (late, sound(8.0, 12.0), 0.07)]
    )
    stage.broadcast.end("over")
    await stage.package.finish()
    recording, files = await asyncio.to_thread(recording_from_journal, await stage.shelf.journal())
    assert recording.tracks == ("avc1.42c01e", "opus", "mp4a.40.2")
    assert set(files) == {
        "recording.m3u8", "recording-v.m3u8", "recording-a.m3u8", "recording-a-aac.m3u8", "recording.mpd",
    }  # fmt: skip
    index = files["recording.m3u8"].decode()
    assert 'GROUP-ID="audio-aac"' in index
    assert "recording-a-aac.m3u8" in index
    assert "late" not in index
    listed = re.findall(r"^a-aac-\d+\.m4s$", files["recording-a-aac.m3u8"].decode(), re.M)
    assert listed == [f"a-aac-{n}.m4s" for n in range(10)]
    assert "#EXT-X-GAP" not in files["recording-a-aac.m3u8"].decode()
    assert abs(recording.duration_s - 20.0) < 0.1
    assert b'id="a-aac"' in files["recording.mpd"]
    answer = stage.package.answer("recording-a-aac.m3u8", {})
    answer = answer if isinstance(answer, Answer) else await answer
    assert answer.body == files["recording-a-aac.m3u8"]


async def test_a_loss_of_its_files_is_a_gap_in_it_alone(stage: Stage, kit: SimpleNamespace) -> None:
    session = stage.open()
    derived = stage.broadcast.derive("aac", listed=True, on_timeline=lambda: derived.track(AAC) and None)
    given_up = stage.shelf.given_up
    source = await asyncio.to_thread(kit.made_up, 11.0)
    await stage.run(session, cut(source, 0, 9), [(derived, sound(9.0), 0.07)])
    stage.shelf.given_up = lambda: [*given_up(), (("a-aac-1.m4s",), b"")]
    await stage.run(session, cut(source, 9), [(derived, sound(2.0, 9.0), 0.07)])
    assert stage.segments("a-aac") == {n: n != 1 for n in range(5)}
    assert stage.segments("v") == {n: True for n in range(5)}


class OnDemand:
    """A Maker of AAC that notes who wants it."""

    def __init__(self) -> None:
        self.wanted = 0
        self.released = 0
        self.busy = False

    def offers(self, tracks: tuple[Track, ...]) -> Sequence[Offer]:
        return [Offer("aac", Kind.AUDIO, "mp4a.40.2", 128_000, channels=2)]

    def want(self, name: str) -> Callable[[], None] | None:
        assert name == "aac"
        if self.busy:
            return None
        self.wanted += 1
        return self._release

    def _release(self) -> None:
        self.released += 1


async def test_what_is_offered_is_made_when_its_playlist_is_asked_for(
    kit: SimpleNamespace, shelf: SimpleNamespace, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = OnDemand()
    stage = on_stage(kit, shelf, clock, maker=maker)
    session = stage.open()
    source = await asyncio.to_thread(kit.made_up, 40.0)
    await stage.run(session, cut(source, 0, 5))
    assert "a-aac.m3u8" in stage.text("index.m3u8")
    assert 'CODECS="avc1.42c01e,mp4a.40.2"' in stage.text("index.m3u8")
    assert not maker.wanted
    assert "a-aac" not in stage.text("v.m3u8")
    maker.busy = True
    assert await_now(stage.package.answer("a-aac.m3u8", {})).status == 404
    maker.busy = False
    first = stage.package.answer("a-aac.m3u8", {})
    assert not isinstance(first, Answer)
    waiting = asyncio.ensure_future(first)
    await asyncio.sleep(0)
    assert maker.wanted == 1
    derived = stage.broadcast.derive("aac", listed=True)
    derived.track(AAC)
    await stage.run(session, cut(source, 5, 5.6), [(derived, sound(0.5, 5.0), 0.0)])
    answer = await waiting
    assert answer.status == 200
    assert b"#EXT-X-PART:DURATION=" in answer.body  # type: ignore[operator]
    assert b"#EXT-X-GAP\n#EXTINF:" in answer.body  # type: ignore[operator]  # a whole segment, for ffmpeg's sake
    assert maker.wanted == 1
    assert not maker.released
    # nobody asks any more
    monkeypatch.setattr("media.package.followers.UNASKED_SECONDS", -1.0)
    await stage.run(session, cut(source, 5.6))
    assert maker.released == 1
    stage.broadcast.end("over")
    assert maker.released == 1
