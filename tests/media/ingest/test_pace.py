"""What a publisher may send, by a clock that the tests set."""

from __future__ import annotations

from media.ingest.pace import MAX_FRAMES, Pace

MEGABIT = 125_000


def push(pace: Pace, seconds: int, megabits: float, start: int = 0) -> list[str]:
    """The complaints about a steady push that begins at `start` s."""
    received = int(start * megabits * MEGABIT)
    said = []
    for tick in range(seconds * 100):
        received += int(megabits * MEGABIT / 100)
        if received >= pace.next_look and (reason := pace.excess(received, start + tick / 100)):
            said.append(reason)
    return said


def test_a_stream_at_the_highest_rate_goes_on_and_one_above_it_does_not() -> None:
    assert push(Pace(60, 0.0), 600, 59.9) == []
    assert push(Pace(60, 0.0), 60, 90)[0] == "the encoder sends 90 Mbit/s, at most 60 Mbit/s are taken"
    assert push(Pace(0, 0.0), 60, 9000) == []


def test_what_an_encoder_has_buffered_may_come_at_once() -> None:
    pace = Pace(60, 0.0)
    assert pace.excess(30_000_000, 0.1) == ""
    assert pace.excess(30_000_000 + 7 * 7_500_000, 7.0) == ""
    assert "at most 60" in pace.excess(30_000_000 + 15 * 7_500_000, 7.1)


def test_frames_are_counted_however_small_they_are() -> None:
    pace = Pace(60, 0.0)
    assert pace.crowd(MAX_FRAMES, 0.1) == ""
    assert pace.crowd(MAX_FRAMES + 1, 0.1) == f"{MAX_FRAMES + 1} frames within 10 s; at most {MAX_FRAMES}"
    pace, frames = Pace(60, 0.0), 0
    for second in range(3600):
        frames += 1000
        assert pace.crowd(frames, float(second)) == ""
