"""Wrapping numbers, sender reports, and picture and sound on one timeline."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.protocols.rtp import clock
from media.protocols.rtp.clock import SenderClock, SourceClock, Unwrapper
from media.protocols.rtp.rtcp import ReportBlock, SenderReport

NOW = 1_700_000_000.0


@given(st.integers(0, 65535), st.lists(st.integers(-32768, 32767), max_size=100))
def test_numbers_are_counted_on(first: int, steps: list[int]) -> None:
    numbers = Unwrapper(16)
    assert numbers.last == -1
    true = numbers.unwrap(first)
    assert true & 0xFFFF == first
    for step in steps:
        if true + step < 0:
            break
        true += step
        assert numbers.unwrap(true & 0xFFFF) == true
        assert numbers.last == true


@given(st.floats(0, 2**31))
def test_ntp_times_come_back(seconds: float) -> None:
    assert clock.unix_time(clock.ntp_time(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_the_round_trip_is_what_nobody_held() -> None:
    sent = clock.ntp_time(NOW)
    block = ReportBlock(1, 0, 0, 0, 0, clock.middle(sent), int(0.5 * 65536))
    assert clock.round_trip(block, clock.ntp_time(NOW + 0.58)) == pytest.approx(0.08, abs=1e-4)
    assert clock.round_trip(block._replace(last_report=0), clock.ntp_time(NOW)) is None
    assert clock.round_trip(block, clock.ntp_time(NOW + 0.2)) is None


def report(source: SourceClock, captured: float, timestamp: int, arrival: float) -> None:
    source.report(SenderReport(1, clock.ntp_time(captured), timestamp & 0xFFFFFFFF, 0, 0), arrival)


def test_a_source_without_reports_begins_where_it_arrives() -> None:
    sender = SenderClock()
    sound, picture = sender.source(48_000, leads=True), sender.source(90_000)
    assert sound.position(0xFFFFFF00, 50.0) == 0.0
    assert picture.position(7, 50.25) == 0.25
    assert sound.position(0xFFFFFF00 + 48_000 & 0xFFFFFFFF, 51.2) == 1.0
    assert picture.position(7 + 45_000, 51.0) == 0.75
    assert sound.captured(0) is None
    assert sound.last_report(51.0) == (0, 0)


@pytest.mark.parametrize("apart", [0.3, -0.3, 0.02, 0.0])
def test_picture_is_drawn_to_its_sound(apart: float) -> None:
    """Both arrive together, but the picture was taken `apart` later: after the reports it is shown so, without a
    jump, and its times never stand still."""
    sender = SenderClock()
    sound, picture = sender.source(48_000, leads=True), sender.source(90_000)
    places = []
    for i in range(300):
        at = i / 30
        sound.position(1600 * i, at)
        places.append(picture.position(0xFFFFF000 + 3000 * i & 0xFFFFFFFF, at))
        if i == 5:
            report(sound, NOW, 0, at)
            report(picture, NOW + apart, 0xFFFFF000, at)
    assert all(0.02 < later - before < 0.05 for before, later in pairwise(places))
    assert places[-1] == pytest.approx(299 / 30 + apart, abs=1e-3)


def test_reports_of_clocks_that_have_nothing_in_common_are_not_followed() -> None:
    sender = SenderClock()
    sound, picture = sender.source(48_000, leads=True), sender.source(90_000)
    for i in range(100):
        sound.position(1600 * i, i / 30)
        assert picture.position(3000 * i, i / 30) == pytest.approx(i / 30)
        if not i:
            report(sound, NOW, 0, 0.0)
            report(picture, NOW + 5000, 0, 0.0)


def test_times_of_capture_and_the_fields_of_the_next_report() -> None:
    source = SenderClock().source(90_000)
    source.position(1000, 3.0)
    report(source, NOW, 0xFFFFFFF0, 3.0)
    assert source.captured(0xFFFFFFF0 + 90_000 & 0xFFFFFFFF) == pytest.approx(NOW + 1, abs=1e-6)
    assert source.captured(0xFFFFFFF0 - 90_000) == pytest.approx(NOW - 1, abs=1e-6)
    assert source.last_report(3.5) == (clock.middle(clock.ntp_time(NOW)), 32768)
    assert source.position(1000 + 9000, 3.1) == pytest.approx(0.1)
    source.report(SenderReport(1, 0, 5, 0, 0), 4.0)
    assert source.captured(0xFFFFFFF0) == pytest.approx(NOW, abs=1e-6)
