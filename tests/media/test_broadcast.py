"""The broadcast: headers are waited for, publishers come and go, a bad or slow reader hurts only itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from media import broadcast as module
from media.broadcast import HELD_BYTES, HELD_SAMPLES, Broadcast
from media.ingest.gate import PublishRequest
from media.queue_reader import QueueReader
from media.samples import Codec, Sample, Track

VIDEO = Track(1, Codec.H264, 90_000, b"v", "avc1.64001f", 1280, 720, 30.0)
AUDIO = Track(2, Codec.AAC, 48_000, b"a", "mp4a.40.2", sample_rate=48_000, channels=2)


class FakeLink:
    """A connection that only remembers what it was told."""

    def __init__(self) -> None:
        self.last_received = time.monotonic()
        self.closed: list[str] = []
        self.wanted: list[str] = []
        self.can_ask = False

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def want_key(self, rendition: str = "") -> bool:
        self.wanted.append(rendition)
        return self.can_ask

    def describe(self) -> dict[str, object]:
        return {}


class Log:
    """A reader and a watcher that write down what they are told."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_tracks(self, *args: object) -> None:
        self.said.append(("tracks", tuple(t.id for t in args[0]) if isinstance(args[0], tuple) else "watcher"))

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        self.said.append(("change", tuple(t.width for t in tracks)))

    def on_samples(self, batch: Sequence[Sample]) -> None:
        self.said.append(("samples", [s.dts for s in batch]))

    def on_interrupted(self, *args: object) -> None:
        self.said.append(("interrupted", *args[1:]))

    def on_end(self) -> None:
        self.said.append("end")

    def on_live(self, broadcast: Broadcast) -> None:
        self.said.append("live")

    def on_failed(self, broadcast: Broadcast, reader: object) -> None:
        self.said.append("failed")


def request() -> PublishRequest:
    return PublishRequest("rtmp", "key", "192.0.2.7", "test", FakeLink())


def frame(track: int, dts: int, *, key: bool = False, size: int = 10) -> Sample:
    return Sample(track, dts, dts, key, b"x" * size)


async def test_samples_are_held_until_both_headers_are_there() -> None:
    watcher, reader = Log(), Log()
    broadcast = Broadcast("b", watcher)
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(AUDIO)
    session.samples([frame(2, 0), frame(2, 1024)])
    assert reader.said == []
    session.track(VIDEO)
    session.samples([frame(1, 0, key=True)])
    assert reader.said == [("tracks", (1, 2)), ("samples", [0, 1024, 0])]
    assert watcher.said == ["live"]


async def test_without_a_second_header_it_goes_on_alone_and_a_late_one_starts_a_new_timeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEADER_WAIT", 0.01)
    watcher, reader = Log(), Log()
    broadcast = Broadcast("b", watcher)
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(AUDIO)
    session.samples([frame(2, 0)])
    async with asyncio.timeout(30):
        while not reader.said:
            await asyncio.sleep(0.005)
    assert reader.said == [("tracks", (2,)), ("samples", [0])]
    session.track(VIDEO)
    session.samples([frame(1, 0, key=True)])
    assert reader.said[2:] == [("tracks", (1, 2)), ("samples", [0])]
    assert watcher.said == ["live", ("tracks", "watcher")]


@pytest.mark.parametrize(("size", "count"), [(1 << 20, HELD_BYTES >> 20), (1, HELD_SAMPLES)])
async def test_what_is_held_for_a_second_header_is_bounded(size: int, count: int) -> None:
    reader = Log()
    broadcast = Broadcast("b", Log())
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(VIDEO)
    for number in range(count):
        session.samples([frame(1, number, key=True, size=size)])
    assert reader.said == []
    session.samples([frame(1, count, key=True, size=size)])
    assert [entry[0] for entry in reader.said if isinstance(entry, tuple)] == ["tracks", "samples"]
    session.samples([frame(1, count + 1, key=True, size=size)])
    assert reader.said[-1] == ("samples", [count + 1])


async def test_an_equal_header_changes_nothing() -> None:
    reader = Log()
    broadcast = Broadcast("b", Log())
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(AUDIO)
    session.samples([frame(1, 0, key=True)])
    session.track(VIDEO)
    session.samples([frame(1, 3000)])
    assert [entry for entry in reader.said if entry[0] == "tracks"] == [("tracks", (1, 2))]


async def test_the_same_picture_in_another_size_goes_on_and_another_codec_begins_anew() -> None:
    watcher, reader = Log(), Log()
    broadcast = Broadcast("b", watcher)
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(AUDIO)
    session.samples([frame(1, 0, key=True)])
    rung = broadcast.derive("480p")
    assert rung.track(VIDEO)
    session.track(replace(VIDEO, config=b"w", width=640, height=360))
    assert reader.said[2:] == []  # it begins with its first frame
    session.samples([frame(1, 3000, key=True)])
    assert reader.said[2:] == [("change", (640, 0)), ("samples", [3000])]
    assert watcher.said == ["live", ("tracks", "watcher")]
    assert rung.current == VIDEO
    assert broadcast.last_key is not None
    assert broadcast.last_key[0].width == 640
    del reader.said[:]
    # sound is not cut where a picture begins; another codec is another stream; a clock that jumped is more than a size
    for track in (replace(AUDIO, channels=1), replace(VIDEO, codec=Codec.HEVC)):
        session.track(track)
        session.samples([frame(1, 6000, key=True)])
    session.track(replace(VIDEO, codec=Codec.HEVC, width=640))
    session.restart()
    session.samples([frame(1, 9000, key=True)])
    assert [entry for entry in reader.said if entry[0] != "samples"] == [("tracks", (1, 2))] * 3
    assert rung.current is None


async def test_a_second_publisher_takes_over_and_the_first_is_told() -> None:
    watcher = Log()
    broadcast = Broadcast("b", watcher)
    first = broadcast.open(request())
    first.track(VIDEO)
    first.track(AUDIO)
    first.samples([frame(1, 0, key=True)])
    second = broadcast.open(request())
    assert first.closed
    assert first.link.closed == ["another encoder took over"]
    first.samples([frame(1, 1)])
    assert broadcast.publisher is second
    second.track(VIDEO)
    second.track(AUDIO)
    second.samples([frame(1, 0, key=True)])
    assert watcher.said == ["live", "live"]


async def test_after_the_end_nobody_gets_in_and_readers_are_told_once() -> None:
    reader = Log()
    broadcast = Broadcast("b", Log())
    broadcast.add(reader)
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(AUDIO)
    session.samples([frame(1, 0, key=True)])
    broadcast.end("over")
    broadcast.end("over")
    assert reader.said[-1] == "end"
    assert reader.said.count("end") == 1
    with pytest.raises(RuntimeError):
        broadcast.open(request())


async def test_a_reader_that_raises_is_taken_off_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Log):
        def on_samples(self, batch: Sequence[Sample]) -> None:
            raise ValueError("broken")

    good, watcher = Log(), Log()
    broadcast = Broadcast("b", watcher)
    broadcast.add(Bad())
    broadcast.add(good)
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(AUDIO)
    session.samples([frame(1, 0, key=True)])
    session.samples([frame(1, 3000)])
    assert [entry for entry in good.said if entry[0] == "samples"] == [("samples", [0]), ("samples", [3000])]
    assert caplog.text.count("was taken off") == 1
    assert watcher.said == ["live", "failed"]


async def test_a_slow_reader_drops_to_the_next_key_frame() -> None:
    reader = QueueReader(limit_bytes=35)
    reader.on_tracks((VIDEO, AUDIO))
    reader.on_samples([frame(2, 0), frame(1, 0, key=True), frame(1, 1), frame(1, 2)])
    reader.on_samples([frame(1, 3)])  # 40 bytes: too much, all of it goes
    assert reader.dropped == 4
    reader.on_samples([frame(1, 4), frame(1, 5, key=True), frame(2, 5)])
    reader.on_end()
    got = []
    while (item := await reader.read()) is not None:
        got.append(item)
    assert got[0] == (VIDEO, AUDIO)
    assert [(s.track, s.dts) for s in got[1:] if isinstance(s, Sample)] == [(1, 5), (2, 5)]


async def test_a_publisher_that_dies_before_its_first_frame_does_not_take_its_successor_along() -> None:
    watcher, reader = Log(), Log()
    broadcast = Broadcast("b", watcher)
    broadcast.add(reader)
    broadcast.open(request()).track(VIDEO)
    second = broadcast.open(request())
    assert watcher.said == []
    second.track(VIDEO)
    second.track(AUDIO)
    second.samples([frame(1, 0, key=True)])
    assert watcher.said == ["live"]
    assert reader.said == [("tracks", (1, 2)), ("samples", [0])]


async def test_a_key_frame_is_asked_of_the_publisher_but_not_by_everybody_at_once() -> None:
    broadcast = Broadcast("b", Log())
    assert not broadcast.want_key()
    link = FakeLink()
    broadcast.open(PublishRequest("whip", "k", "127.0.0.1", "test", link))
    assert not broadcast.want_key()  # RTMP has no way to ask
    link.can_ask = True
    assert all(broadcast.want_key() for _ in range(5))
    assert broadcast.want_key("m")
    assert link.wanted == ["", "", "m"]
