"""The DASH manifests against the files they speak of."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

from media.package.answer import Answer
from media.package.live import LivePackage, PackageOptions

NS = {"d": "urn:mpeg:dash:schema:mpd:2011"}


def manifest(package: LivePackage) -> ElementTree.Element:
    answer = package.answer("index.mpd", {})
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert isinstance(answer.body, bytes)
    return ElementTree.fromstring(answer.body)


def check(mpd: ElementTree.Element, files: dict[str, bytes], kit: SimpleNamespace) -> int:
    """Every S is the file of its number, which begins at that time and lasts that long; returns how many there are."""
    count = 0
    for template in mpd.iterfind(".//d:SegmentTemplate", NS):
        number = int(template.attrib["startNumber"])
        assert template.attrib["initialization"] in files
        last = None
        for entry in template.iterfind("d:SegmentTimeline/d:S", NS):
            start, duration = int(entry.attrib["t"]), int(entry.attrib["d"])
            assert last is None or last == start
            last = start + duration
            runs = kit.fragments(files[template.attrib["media"].replace("$Number$", str(number))])
            assert runs[0].decode_time == start
            assert runs[-1].decode_time + sum(runs[-1].durations) == last
            number += 1
            count += 1
    return count


async def test_live_periods_have_the_offset_of_both_tracks(
    package: LivePackage, kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace
) -> None:
    for start in (0.0, 500.0):
        package.on_tracks((kit.video_track(), kit.audio_track()))
        await kit.feed(package, kit.made_up(80.0, start=start), clock)
        package.on_interrupted()
        clock.now += 10.0
    mpd = manifest(package)
    assert mpd.attrib["type"] == "dynamic"
    assert check(mpd, shelf.files, kit) == 160
    for period in mpd.iterfind("d:Period", NS):
        # 5.3.9.2: presentationTimeOffset is the media time shown at the start of the period, in each track's ticks
        offsets = {
            int(t.attrib["presentationTimeOffset"]) / int(t.attrib["timescale"])
            for t in period.iterfind(".//d:SegmentTemplate", NS)
        }
        assert len(offsets) == 1
        assert period.attrib["start"] == f"PT{offsets.pop():g}S"
    clocks = [t.attrib for t in mpd.iterfind("d:UTCTiming", NS)]
    assert clocks[0] == {"schemeIdUri": "urn:mpeg:dash:utc:http-iso:2014", "value": "time"}
    package.on_end()
    assert "minimumUpdatePeriod" not in manifest(package).attrib
    recording = await package.finish()
    static = ElementTree.fromstring(shelf.files["recording.mpd"])
    assert static.attrib["type"] == "static"
    assert check(static, shelf.files, kit) == 160
    assert recording.segments == 80


async def test_a_gap_begins_a_period_and_the_window_slides(
    shelf: SimpleNamespace, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    package = LivePackage(PackageOptions(dvr_seconds=120), shelf, clock)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    samples = [s for s in kit.made_up(40.0) if s.track == 2 or not 9.0 < s.dts / 90_000 < 25.0]
    await kit.feed(package, samples, clock)
    periods = manifest(package).findall("d:Period", NS)
    assert len(periods) == 3
    assert [len(p.findall("d:AdaptationSet", NS)) for p in periods] == [2, 1, 2]
    await kit.feed(package, kit.made_up(400.0, start=40.0), clock)
    mpd = manifest(package)
    assert len(mpd.findall("d:Period", NS)) == 1
    assert 2 * 60 <= check(mpd, shelf.files, kit) <= 2 * 90
