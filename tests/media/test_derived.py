"""Derived renditions: on the publisher's clock, anew with each timeline, and nobody's trouble when they fail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from media.broadcast import MOST_DERIVED, Broadcast, Derived, PublisherSession
from media.samples import Codec, Sample, Track
from tests.media.test_broadcast import AUDIO, VIDEO, Log, frame, request

OPUS = Track(2, Codec.OPUS, 48_000, b"o", "opus", sample_rate=48_000, channels=2)


class Follows:
    """A follower that writes down what there is."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def on_derived(self, derived: Derived) -> None:
        self.said.append(("new", derived.name))

    def on_derived_gone(self, derived: Derived) -> None:
        self.said.append(("gone", derived.name))


def start(broadcast: Broadcast) -> PublisherSession:
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(AUDIO)
    session.samples([frame(1, 0, key=True)])
    return session


async def test_readers_of_a_derived_rendition_get_its_samples_and_nobody_else_does() -> None:
    broadcast, ours, others = Broadcast("b", Log()), Log(), Log()
    broadcast.add(others)
    start(broadcast)
    derived = broadcast.derive("opus")
    derived.add(ours)
    assert derived.track(OPUS)
    derived.samples([frame(2, 960), frame(2, 1920)])
    late = Log()
    derived.add(late)
    derived.samples([frame(2, 2880)])
    assert ours.said == [("tracks", (2,)), ("samples", [960, 1920]), ("samples", [2880])]
    assert late.said == [("tracks", (2,)), ("samples", [2880])]
    assert others.said == [("tracks", (1, 2)), ("samples", [0])]
    derived.remove(late)
    derived.close()
    derived.close()
    assert ours.said[-2:] == [("interrupted",), "end"]
    assert "end" not in late.said


async def test_without_a_timeline_there_is_no_track_and_samples_are_dropped() -> None:
    broadcast, reader = Broadcast("b", Log()), Log()
    derived = broadcast.derive("opus")
    derived.add(reader)
    assert not derived.track(OPUS)
    derived.samples([frame(2, 0)])
    assert (reader.said, derived.dropped) == ([], 1)


async def test_a_new_timeline_begins_it_anew_after_all_readers_know() -> None:
    broadcast, reader = Broadcast("b", Log()), Log()
    broadcast.add(reader)
    told: list[object] = []

    def begin() -> None:
        told.append(list(reader.said))
        derived.track(OPUS)

    derived = broadcast.derive("opus", on_timeline=begin)
    ours = Log()
    derived.add(ours)
    session = start(broadcast)
    assert told == [[("tracks", (1, 2))]]  # before the samples, so that its beginning is not lost
    derived.samples([frame(2, 960)])
    session.restart()
    session.samples([frame(1, 0, key=True)])
    assert ours.said == [("tracks", (2,)), ("samples", [960]), ("interrupted",), ("tracks", (2,))]
    session.close("gone", clean=False)
    derived.samples([frame(2, 1920)])  # what its encoder still had
    assert ours.said[4:] == [("interrupted",)]
    assert derived.dropped == 1
    start(broadcast)
    assert ours.said[5:] == [("tracks", (2,))]


async def test_a_publisher_that_takes_over_stops_it_until_its_own_timeline() -> None:
    broadcast, ours = Broadcast("b", Log()), Log()
    start(broadcast)
    derived = broadcast.derive("aac")
    derived.add(ours)
    derived.track(OPUS)
    broadcast.open(request())
    assert not derived.track(OPUS)
    assert ours.said == [("tracks", (2,)), ("interrupted",)]


async def test_followers_are_told_of_new_and_gone_ones() -> None:
    broadcast, early, late = Broadcast("b", Log()), Follows(), Follows()
    broadcast.follow(early)
    first = broadcast.derive("480p", listed=True)
    broadcast.follow(late)
    second = broadcast.derive("480p", listed=True)
    assert first.closed
    assert broadcast.derived == {"480p": second}
    assert early.said == [("new", "480p"), ("gone", "480p"), ("new", "480p")]
    assert late.said == early.said
    broadcast.unfollow(late)
    broadcast.end("over")
    assert second.closed
    assert not broadcast.derived
    assert early.said[3:] == [("gone", "480p")]
    assert len(late.said) == 3
    with pytest.raises(RuntimeError):
        broadcast.derive("opus")


async def test_names_and_number_are_bounded() -> None:
    broadcast = Broadcast("b", Log())
    for name in ("", "UPPER", "a-b", "x" * 13, "../v"):
        with pytest.raises(ValueError, match="no name"):
            broadcast.derive(name)
    for number in range(MOST_DERIVED):
        broadcast.derive(f"r{number}")
    with pytest.raises(ValueError, match="at most"):
        broadcast.derive("more")
    broadcast.derive("r0")  # one for one


async def test_a_source_or_a_reader_that_fails_leaves_the_broadcast_alone() -> None:
    class Bad(Log):
        def on_samples(self, batch: Sequence[Sample]) -> None:
            raise RuntimeError("broken")

    def fail() -> None:
        raise RuntimeError("broken")

    watcher = Log()
    broadcast, reader, good = Broadcast("b", watcher), Log(), Log()
    broadcast.add(reader)
    broken = broadcast.derive("480p", on_timeline=fail)
    derived = broadcast.derive("opus")
    session = start(broadcast)
    assert broken.closed
    derived.add(Bad())
    derived.add(good)
    derived.track(OPUS)
    derived.samples([frame(2, 0)])
    derived.samples([frame(2, 960)])
    session.samples([frame(1, 3000)])
    assert good.said[1:] == [("samples", [0]), ("samples", [960])]
    assert reader.said[-1] == ("samples", [3000])
    assert "failed" not in watcher.said
    described = broadcast.describe()["derived"]
    assert [d["name"] for d in described] == ["opus"]  # type: ignore[attr-defined]
