"""Where parts and segments are cut, on made-up samples: the rules must hold whatever the encoder sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.package.segmenter import HELD_BYTES, PART_BYTES, SEGMENT_BYTES, Cuts, Segmenter
from media.package.timing import fits, frame_duration, part_target
from media.samples import VIDEO_TIMESCALE, Sample

CUTS = Cuts(segment=2.0, target=4, part=0.2)


@dataclass
class Listed:
    msn: int
    seconds: float
    independent: bool
    data: bytes


@dataclass
class Seen:
    """A Sink that writes down what it is told, and after which sample."""

    target: float = 0.0
    parts: dict[str, list[Listed]] = field(default_factory=lambda: {"v": [], "a": []})
    segments: dict[str, list[tuple[int, int, int, bool, bool]]] = field(default_factory=lambda: {"v": [], "a": []})
    boundaries: dict[int, float] = field(default_factory=dict)

    def on_part_target(self, seconds: float) -> None:
        assert not self.parts["v"]
        assert not self.parts["a"]
        self.target = seconds

    def on_part(
        self, letter: str, msn: int, start: int, seconds: float, independent: bool, chunks: list[bytes], size: int
    ) -> None:
        data = b"".join(chunks)
        assert len(data) == size
        self.parts[letter].append(Listed(msn, seconds, independent, data))

    def on_boundary(self, msn: int, end: float) -> None:
        assert msn not in self.boundaries
        self.boundaries[msn] = end

    def on_segment(self, letter: str, msn: int, start: int, duration: int, *, gap: bool, forced: bool) -> None:
        self.segments[letter].append((msn, start, duration, gap, forced))


def run(samples: list[Sample], kit: SimpleNamespace, *, base: float = 0.0, **tracks: object) -> tuple[Segmenter, Seen]:
    seen = Seen()
    both = []
    if any(s.track == 1 for s in samples):
        both.append(("v", kit.video_track(frame_rate=tracks.get("rate", 0.0))))
    if any(s.track == 2 for s in samples):
        both.append(("a", kit.audio_track()))
    segmenter = Segmenter(both, seen, CUTS, msn=0, base=base)
    for sample in samples:
        assert segmenter.push([sample]) == 1
    segmenter.flush()
    return segmenter, seen


def check_rules(seen: Seen, samples: list[Sample], kit: SimpleNamespace, dropped: int = 0) -> None:
    """dropped: how many samples of sound at the very start may be missing, being older than the first picture."""
    for letter, id, scale in (("v", 1, VIDEO_TIMESCALE), ("a", 2, 48_000)):
        mine = [s for s in samples if s.track == id]
        if not mine:
            continue
        parts, segments = seen.parts[letter], seen.segments[letter]
        assert [s[0] for s in segments] == list(range(len(segments))), "every segment is closed once, in order"
        for number, part in enumerate(parts):
            # RFC 8216bis 4.4.4.9: a part is never longer than the part target ...
            assert part.seconds <= seen.target + 1e-6
            last = number + 1 == len(parts) or parts[number + 1].msn != part.msn
            # ... and at least 85 % of it, unless it is the last of its segment
            assert part.seconds >= 0.85 * seen.target - 1e-4 or last
        for _, _, duration, _, _ in segments:
            # 4.4.3.1: EXTINF, rounded to the nearest integer, is at most the target duration
            assert round(duration / scale) <= 4
            assert duration > 0
        for (_, start, duration, _, _), (_, following, _, _, _) in pairwise(segments):
            assert start + duration == following, "a segment begins where the last one ended"
        if letter == "v":
            mine = mine[next(n for n, s in enumerate(mine) if s.key) :]
        shift = None
        got = []
        at = -1
        for part in parts:
            (piece,) = kit.fragments(part.data)
            if at >= 0 and piece.decode_time < at:
                pytest.fail("decode times went back")
            at = piece.decode_time
            assert part.independent == (letter == "a" or any(piece.keys)), "INDEPENDENT=YES means a key frame is in it"
            for duration, offset, key, data in zip(
                piece.durations, piece.offsets, piece.keys, piece.payloads, strict=True
            ):
                assert duration > 0
                got.append((at + offset, key, data))
                at += duration
        assert len(mine) - len(got) in ((0, dropped) if letter == "a" else (0,)), "every frame is there once"
        mine = mine[len(mine) - len(got) :]
        for (pts, key, data), sample in zip(got, mine, strict=True):
            shift = pts - sample.pts if shift is None else shift
            assert data == sample.data
            assert key == sample.key
            # video to the tick; audio within half a frame, as its frames follow each other without holes
            assert abs(pts - sample.pts - shift) <= (0 if letter == "v" else 512)


def test_an_ordinary_stream_has_parts_of_whole_frames_listed_with_their_last_frame(kit: SimpleNamespace) -> None:
    seen = Seen()
    segmenter = Segmenter([("v", kit.video_track())], seen, CUTS, msn=0, base=0.0)
    for number, sample in enumerate(kit.made_up(4.0, audio=0)):
        segmenter.push([sample])
        assert len(seen.parts["v"]) == (number + 1) // 6, "listed within the call that brought the sixth frame"
    assert seen.target == 0.21
    assert {round(p.seconds, 4) for p in seen.parts["v"]} == {0.2}


@pytest.mark.parametrize("fps", [5, 10, 12, 15, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 120])
@pytest.mark.parametrize("milliseconds", [False, True])
def test_usual_frame_rates(kit: SimpleNamespace, fps: float, milliseconds: bool) -> None:
    samples = kit.made_up(9.0, fps=fps, milliseconds=milliseconds)
    segmenter, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert segmenter.forced == 0
    assert 0.15 <= seen.target <= 0.3
    assert len(seen.segments["v"]) == 5
    # the audio of segment n begins within a frame of its video
    for video, audio in zip(seen.segments["v"][1:], seen.segments["a"][1:], strict=True):
        assert abs(video[1] / VIDEO_TIMESCALE - audio[1] / 48_000) <= 1024 / 48_000 + 1 / fps


def test_a_long_group_of_pictures_is_cut_at_the_target_duration_without_a_claim(kit: SimpleNamespace) -> None:
    samples = kit.made_up(25.0, gop=10.0)
    segmenter, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert segmenter.forced == 5
    starts = [next(p for p in seen.parts["v"] if p.msn == n).independent for n in range(len(seen.segments["v"]))]
    assert starts == [True, False, False, True, False, False, True, False]


def test_segments_end_at_the_first_key_frame_after_two_seconds(kit: SimpleNamespace) -> None:
    samples = kit.made_up(12.0, gop=1.5)
    _, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert [s[2] for s in seen.segments["v"][:-1]] == [270_000] * 3


def test_audio_alone_and_video_alone(kit: SimpleNamespace) -> None:
    for samples in (kit.made_up(9.0, video=False), kit.made_up(9.0, audio=0)):
        _, seen = run(samples, kit)
        check_rules(seen, samples, kit)
        letter = "v" if samples[0].track == 1 else "a"
        assert len(seen.segments[letter]) == 5


def test_a_picture_that_stands_still_becomes_gaps_while_sound_goes_on(kit: SimpleNamespace) -> None:
    samples = kit.made_up(24.0)
    samples = [s for s in samples if s.track == 2 or not 5.0 < s.dts / VIDEO_TIMESCALE < 20.0]
    _, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert sum(gap for *_, gap, _ in seen.segments["v"]) >= 2
    assert not any(gap for *_, gap, _ in seen.segments["a"])


def test_sound_that_goes_missing_becomes_gaps(kit: SimpleNamespace) -> None:
    samples = kit.made_up(24.0)
    samples = [s for s in samples if s.track == 1 or not 5.0 < s.dts / 48_000 < 20.0]
    _, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert sum(gap for *_, gap, _ in seen.segments["a"]) >= 2


def test_video_before_its_first_key_frame_is_left_out(kit: SimpleNamespace) -> None:
    samples = kit.made_up(8.0)[20:]
    segmenter, seen = run(samples, kit)
    check_rules(seen, samples, kit)
    assert segmenter.counts()["discarded"] > 0
    assert seen.parts["v"][0].independent


def test_a_long_silence_asks_for_a_new_timeline(kit: SimpleNamespace) -> None:
    segmenter = Segmenter([("v", kit.video_track())], Seen(), CUTS, msn=0, base=0.0)
    first = kit.made_up(3.0, audio=0)
    later = kit.made_up(3.0, audio=0, start=60.0)
    assert segmenter.push([*first, *later]) == len(first)
    assert segmenter.flush() == 2


def test_decode_times_that_do_not_rise_are_dropped_and_counted(kit: SimpleNamespace) -> None:
    samples = kit.made_up(3.0, audio=0)
    twice = [s for sample in samples for s in (sample, sample)]
    segmenter, seen = run(twice, kit)
    check_rules(seen, samples, kit)
    assert segmenter.counts()["dropped"] == len(samples)


@st.composite
def streams(draw: st.DrawFn) -> list[Sample]:
    """Frames of any rate with jitter and pauses, B-frames, key frames anywhere, audio of any lead or lag."""
    fps = draw(st.sampled_from([5, 12, 24, 25, 30, 50, 60]))
    seconds = draw(st.sampled_from([1, 4, 9, 14]))
    jitter = draw(st.sampled_from([0.0, 0.001, 0.3, 0.9])) / fps
    random = Random(draw(st.integers(0, 2**32)))
    pause_share = draw(st.sampled_from([0.0, 0.0, 0.01, 0.05]))
    longest_pause = draw(st.sampled_from([0.1, 0.5, 3.0, 9.0]))
    key_share = draw(st.sampled_from([0.0, 0.01, 0.02, 0.2, 1.0]))
    reorder = draw(st.sampled_from([0, 2]))
    samples: list[tuple[float, Sample]] = []
    at, last = draw(st.sampled_from([0.0, 1000.0])), -1
    begin = at
    for n in range(int(seconds * fps)):
        dts = max(last + 1, round((at + jitter * random.random()) * VIDEO_TIMESCALE))
        last = dts
        offset = random.randrange(-reorder, reorder + 1) * VIDEO_TIMESCALE // fps
        key = n == 0 or random.random() < key_share
        samples.append((at, Sample(1, dts, dts + offset, key, n.to_bytes(4, "big"))))
        at += 1 / fps
        if random.random() < pause_share:
            at += longest_pause * random.random()
    if draw(st.booleans()):
        lead = draw(st.sampled_from([-0.4, -0.03, 0.0, 0.03, 0.4]))
        noise = draw(st.sampled_from([0, 40]))
        first = round(begin * 48_000)
        for n in range(int((at - begin) * 48_000 / 1024)):
            dts = first + 1024 * n + random.randrange(noise + 1)
            samples.append((dts / 48_000 + lead, Sample(2, dts, dts, True, n.to_bytes(4, "big"), 1024)))
    samples.sort(key=lambda pair: pair[0])
    return [s for _, s in samples]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(streams())
def test_the_rules_hold_for_any_stream(kit: SimpleNamespace, samples: list[Sample]) -> None:
    segmenter, seen = run(samples, kit)
    check_rules(seen, samples, kit, segmenter.counts()["dropped"])


def test_the_part_target_suits_both_tracks() -> None:
    assert part_target(0.2, 1 / 30, 1024 / 48_000, 4) == 0.21
    for fps in (5, 10, 12, 15, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60):
        for audio in (1024 / 48_000, 1024 / 44_100, 1024 / 22_050, 0.02, 0.06, None):
            target = part_target(0.2, 1 / fps, audio, 4)
            assert fits(target, 1 / fps, 0.001)
            assert audio is None or fits(target, audio, 0)
            assert target <= 0.45


def test_the_frame_duration_is_the_claimed_rate_when_it_is_true() -> None:
    assert frame_duration(0.0334, 30.0) == 1 / 30
    assert frame_duration(0.0334, 60.0) == pytest.approx(1 / 29.97, rel=0.002)
    assert frame_duration(0.7, 30.0) == 0.7


class Watched(Sample):
    """A sample that counts how often its time is read: the work that measuring is."""

    reads = 0

    @property
    def dts(self) -> int:
        Watched.reads += 1
        return self[1]


@pytest.mark.parametrize("track", [1, 2])
def test_frames_that_all_have_one_moment_are_measured_in_a_bounded_number_of_looks(
    kit: SimpleNamespace, track: int
) -> None:
    seen = Seen()
    segmenter = Segmenter([("v", kit.video_track()), ("a", kit.audio_track())], seen, CUTS, msn=0, base=0.0)
    Watched.reads = 0
    count = 3000
    for number in range(count):
        segmenter.push([Watched(track, 900_000 + number, 900_000 + number, number == 0, b"x")])
    assert Watched.reads <= 20 * count
    assert seen.target > 0, "the measuring ended although no time passed"
    segmenter.flush()
    assert sum(len(kit.fragments(p.data)[0].payloads) for p in seen.parts["va"[track - 1]]) == count


def test_bytes_that_are_held_are_bounded_when_no_time_passes(kit: SimpleNamespace) -> None:
    seen = Seen()
    segmenter = Segmenter([("v", kit.video_track()), ("a", kit.audio_track())], seen, CUTS, msn=0, base=0.0)
    big = bytes(1 << 20)
    for number in range(60):
        segmenter.push([Sample(1, 900_000 + number, 900_000 + number, True, big)])
        assert seen.target > 0 or (number + 1) * len(big) < HELD_BYTES
        done = sum(len(p.data) for p in seen.parts["v"])
        assert (number + 1) * len(big) - done <= PART_BYTES + len(big)
    sizes = [sum(len(p.data) for p in seen.parts["v"] if p.msn == msn) for msn, *_ in seen.segments["v"]]
    assert sizes
    assert max(sizes) <= SEGMENT_BYTES + 2 * len(big)
    assert sum(sizes) > 60 * len(big) - SEGMENT_BYTES - PART_BYTES
    assert segmenter.forced == len(sizes)
    segmenter.flush()
    assert [s[0] for s in seen.segments["a"]] == [s[0] for s in seen.segments["v"]], "the tracks stay in step"


def test_sound_that_is_too_large_ends_a_segment_too(kit: SimpleNamespace) -> None:
    seen = Seen()
    segmenter = Segmenter([("v", kit.video_track()), ("a", kit.audio_track())], seen, CUTS, msn=0, base=0.0)
    big = bytes(1 << 20)
    for number in range(80):
        segmenter.push([Sample(2, 480_000 + number, 480_000 + number, True, big, 1024)])
    segmenter.flush()
    sizes = [sum(len(p.data) for p in seen.parts["a"] if p.msn == msn) for msn, *_ in seen.segments["a"]]
    assert len(sizes) >= 2
    assert max(sizes) <= SEGMENT_BYTES + 2 * len(big)
    for (_, start, duration, _, _), (_, following, _, _, _) in pairwise(seen.segments["a"]):
        assert duration > 0
        assert start + duration == following


def test_sound_that_lags_in_a_segment_that_has_ended_is_bounded(kit: SimpleNamespace) -> None:
    seen = Seen()
    segmenter = Segmenter([("v", kit.video_track()), ("a", kit.audio_track())], seen, CUTS, msn=0, base=0.0)
    segmenter.push([Sample(2, 480_000, 480_000, True, b"x", 1024)])
    segmenter.push([Sample(1, 900_000 + 3000 * n, 900_000 + 3000 * n, n % 60 == 0, b"x") for n in range(70)])
    big = bytes(1 << 20)
    for number in range(80):
        segmenter.push([Sample(2, 481_024 + number, 481_024 + number, True, big, 1024)])
    assert sum(len(p.data) for p in seen.parts["a"] if p.msn == 0) <= SEGMENT_BYTES + 2 * len(big)
    assert sum(len(p.data) for p in seen.parts["a"] if p.msn == 1) <= SEGMENT_BYTES + 2 * len(big)
