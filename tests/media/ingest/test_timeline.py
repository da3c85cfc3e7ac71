from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.ingest.timeline import AHEAD_MS, START_MS, Timeline
from media.protocols.errors import TimestampError

MASK = 0xFFFFFFFF
MS = 90


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def video(timeline: Timeline, *times: int) -> list[int | None]:
    return [None if (found := timeline.video(t & MASK, 0)) is None else found[0] for t in times]


@pytest.mark.parametrize("start", [0, 1, 123456, 0x7FFFFFF0, 0x80000000, 0xFFFFFFF0])
def test_it_starts_anywhere_and_wraps(start: int) -> None:
    times = [start + 33 * i for i in range(10)]
    assert video(Timeline(), *times) == [(START_MS + 33 * i) * MS for i in range(10)]


def test_composition_offsets_may_be_negative() -> None:
    timeline = Timeline()
    found = [timeline.video(100 + 40 * i, c) for i, c in enumerate((0, 80, -40))]
    assert [(pts - dts) // MS for dts, pts in found if True] == [0, 80, -40]  # type: ignore[misc]


def test_times_that_repeat_or_go_back_a_little_still_rise() -> None:
    found = video(Timeline(), 1000, 1033, 1033, 1000, 1066)
    assert all(b > a for a, b in itertools.pairwise(found))  # type: ignore[operator]
    assert found[-1] == (START_MS + 66) * MS


def test_the_offset_of_sound_and_picture_is_kept() -> None:
    timeline = Timeline()
    assert timeline.audio(5000, 48000, 1024) == START_MS * 48
    assert timeline.video(5123, 0) == ((START_MS + 123) * MS, (START_MS + 123) * MS)
    early = Timeline()
    early.video(5000, 0)
    assert early.audio(4000, 48000, 1024) == (START_MS - 1000) * 48


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_rounded_milliseconds_do_not_show_in_sound(rate: int) -> None:
    timeline = Timeline(max_ahead=1000)
    found = [timeline.audio(i * 1024 * 1000 // rate, rate, 1024) for i in range(3000)]
    assert found == [found[0] + 1024 * i for i in range(3000)]  # type: ignore[operator]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=50, max_size=300), st.floats(-0.0005, 0.0005))
def test_sound_stays_within_half_a_frame_of_the_clock(jitter: list[int], drift: float) -> None:
    timeline = Timeline()
    before = -1
    for i, noise in enumerate(jitter):
        clock = round(i * 1024 / 48 * (1 + drift)) + noise + 100
        dts = timeline.audio(clock, 48000, 1024)
        assert dts is not None
        assert dts > before
        before = dts
        assert abs(dts - (START_MS + clock - 100 - jitter[0]) * 48) <= 512


def test_a_gap_in_sound_is_kept_and_the_count_goes_on_from_there() -> None:
    timeline = Timeline()
    first = timeline.audio(0, 48000, 1024)
    assert first is not None
    timeline.audio(21, 48000, 1024)
    after = timeline.audio(2000, 48000, 1024)
    assert after == first + 2000 * 48
    assert timeline.audio(2021, 48000, 1024) == after + 1024


@pytest.mark.parametrize("to", [1_000_000_000, 0, 50_000 + AHEAD_MS * 2, 49_000])
def test_a_jump_restarts_without_going_back(to: int) -> None:
    timeline = Timeline()
    before = video(timeline, 50_000, 50_033)
    assert not timeline.jumped
    after = video(timeline, to)
    assert timeline.jumped
    assert after[0] > before[-1]  # type: ignore[operator]
    timeline.jumped = False
    assert video(timeline, to + 33) == [after[0] + 33 * MS]  # type: ignore[operator]
    assert not timeline.jumped


def test_frames_of_the_old_clock_are_dropped_after_a_jump() -> None:
    timeline = Timeline()
    video(timeline, 50_000, 50_033)
    timeline.audio(50_010, 48000, 1024)
    at = video(timeline, 7)[0]
    assert at is not None
    assert timeline.audio(50_031, 48000, 1024) is None
    sound = timeline.audio(10, 48000, 1024)
    assert sound == (at // MS + 3) * 48


def test_muted_sound_that_comes_back_is_no_jump() -> None:
    timeline = Timeline(max_ahead=100)
    first = timeline.audio(0, 48000, 1024)
    video(timeline, *range(0, 60_000, 100))
    assert timeline.audio(60_000, 48000, 1024) == first + 60_000 * 48  # type: ignore[operator]
    assert not timeline.jumped


def test_clocks_that_never_agree_are_an_error() -> None:
    timeline = Timeline(max_ahead=1000)

    def push() -> None:
        for i in range(0, 100_000, 40):
            timeline.video(i, 0)
            timeline.audio(i + 1_000_000_000, 48000, 1024)

    with pytest.raises(TimestampError, match="jumped"):
        push()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, MASK), st.integers(-10_000, 10_000)), max_size=60))
def test_any_times_give_rising_times(messages: list[tuple[bool, int, int]]) -> None:
    timeline = Timeline()
    last = [-1, -1]
    try:
        for is_video, time, composition in messages:
            if is_video:
                found = timeline.video(time, composition)
                dts = None if found is None else found[0]
                assert found is None or found[1] >= 0
            else:
                dts = timeline.audio(time, 48000, 1024)
            if dts is not None:
                assert dts > last[is_video]
                last[is_video] = dts
    except TimestampError:
        pass


def test_media_may_not_run_ahead_of_time_by_steps_that_are_no_jump() -> None:
    timeline = Timeline(max_ahead=30, clock=Clock())
    assert None not in video(timeline, 0, 9_900, 19_800, 29_700)
    with pytest.raises(TimestampError, match=r"40 s more .* at most 30 s"):
        video(timeline, 39_600)


def test_a_stream_that_keeps_time_goes_on_for_days_though_its_clock_is_not_ours() -> None:
    clock = Clock()
    timeline = Timeline(max_ahead=30, clock=clock)
    for second in range(0, 3 * 86_400, 4):
        clock.now = 1000.0 + second / 1.0005
        timeline.video(second * 1000 & MASK, 0)
        timeline.video(second * 1000 + 40 & MASK, 0)


def test_a_buffered_start_and_a_stall_made_up_for_are_no_fault() -> None:
    clock = Clock()
    timeline = Timeline(max_ahead=30, clock=clock)
    assert None not in video(timeline, *range(0, 20_000, 100))
    clock.now += 45
    assert None not in video(timeline, *range(20_000, 70_000, 100))


def test_an_hour_without_media_time_gives_no_hour_of_it_at_once() -> None:
    clock = Clock()
    timeline = Timeline(max_ahead=30, clock=clock)
    for _ in range(3600):
        clock.now += 1
        timeline.video(0, 0)
    with pytest.raises(TimestampError, match="at most 30 s"):
        video(timeline, *range(0, 200_000, 5_000))


def test_jumps_are_counted_by_our_clock_and_not_by_the_encoder_s() -> None:
    clock = Clock()
    timeline = Timeline(max_ahead=10_000, clock=clock)

    def jump_and_run(times: int) -> None:
        for i in range(times):
            video(timeline, *[i * 1_000_000_000 + 9_900 * k for k in range(8)])

    with pytest.raises(TimestampError, match="jumped 11 times"):
        jump_and_run(20)
    timeline = Timeline(max_ahead=10_000, clock=clock)
    for i in range(40):
        clock.now += 10
        video(timeline, i * 1_000_000_000)
