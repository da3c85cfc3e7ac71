"""Sound in another codec: exact in time, on demand, and a child that may die, hang or be wanted too often."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from media.broadcast import Broadcast, PublisherSession
from media.samples import Codec, Sample, Track
from media.transcode.sounds import Conversion, Sounds, SoundsBusy
from tests.media.sound import tone, tone_at
from tests.media.test_broadcast import VIDEO, Log, frame, request
from tests.support import eventually

FEW_MS = 0.003


class Take:
    """A reader that keeps what it is given."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.samples: list[Sample] = []
        self.interrupted = 0
        self.ended = False

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self.tracks += tracks

    def on_samples(self, batch: Sequence[Sample]) -> None:
        self.samples += batch

    def on_interrupted(self) -> None:
        self.interrupted += 1

    def on_end(self) -> None:
        self.ended = True


def start(broadcast: Broadcast, sound: Track) -> PublisherSession:
    session = broadcast.open(request())
    session.track(VIDEO)
    session.track(sound)
    session.samples([frame(1, 0, key=True)])
    return session


def conversion_of(sounds: Sounds, broadcast: Broadcast, codec: Codec) -> Conversion:
    return sounds._conversions[broadcast.id, codec]


async def running(conversion: Conversion) -> None:
    await eventually(lambda: conversion._ready)


@pytest.fixture
async def sounds() -> AsyncIterator[Sounds]:
    made = Sounds(2, linger=0.0)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("source", "rate", "wanted"),
    [(Codec.AAC, 48_000, Codec.OPUS), (Codec.AAC, 44_100, Codec.OPUS), (Codec.OPUS, 48_000, Codec.AAC)],
)
async def test_sound_is_heard_when_it_was(sounds: Sounds, source: Codec, rate: int, wanted: Codec) -> None:
    track, samples = tone(source, rate=rate)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    lease = sounds.want(broadcast, wanted)
    lease.derived.add(take)
    await running(conversion_of(sounds, broadcast, wanted))
    for sample in samples:
        session.samples([sample])
    length = 960 if wanted is Codec.OPUS else 1024
    # nothing is kept back but what the codecs themselves need: less than four frames
    due = samples[-1].dts / rate - 4 * 1024 / 48_000
    await eventually(lambda: take.samples and take.samples[-1].dts / 48_000 > due)
    assert [t.codec for t in take.tracks] == [wanted]
    before, after = tone_at(track, samples), tone_at(take.tracks[0], take.samples)
    assert before is not None
    assert after is not None
    assert abs(after - before) < FEW_MS
    assert {b.dts - a.dts for a, b in zip(take.samples, take.samples[1:], strict=False)} == {length}
    assert {s.duration for s in take.samples} == {length}
    lease.release()
    lease.release()
    await eventually(lambda: take.ended)


async def test_missing_sound_is_silence_and_what_follows_stands_where_it_stood(sounds: Sounds) -> None:
    track, samples = tone(Codec.AAC)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    await running(conversion_of(sounds, broadcast, Codec.OPUS))
    session.samples([*samples[:10], *samples[20:30], *samples[31:]])  # 213 ms, and a frame
    await eventually(lambda: len(take.samples) * 960 > 1.8 * 48_000)
    before, after = tone_at(track, samples), tone_at(take.tracks[0], take.samples)
    assert before is not None
    assert after is not None
    assert abs(after - before) < FEW_MS
    assert {b.dts - a.dts for a, b in zip(take.samples, take.samples[1:], strict=False)} == {960}


async def test_a_long_hole_is_a_hole(sounds: Sounds) -> None:
    track, samples = tone(Codec.AAC, seconds=4.0, at=3.0)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    await running(conversion_of(sounds, broadcast, Codec.OPUS))
    session.samples([*samples[:40], *samples[80:]])
    await eventually(lambda: take.samples and take.samples[-1].dts > 3.8 * 48_000)
    steps = sorted(b.dts - a.dts for a, b in zip(take.samples, take.samples[1:], strict=False))
    assert steps[0] > 0
    assert steps[-1] > 0.7 * 48_000
    before, after = tone_at(track, samples), tone_at(take.tracks[0], take.samples)
    assert before is not None
    assert after is not None
    assert abs(after - before) < FEW_MS


async def test_a_killed_child_is_replaced_and_the_clock_goes_on(
    sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.transcode.stream_child.BACKOFF_SECONDS", (0.0,))
    track, samples = tone(Codec.AAC)
    broadcast, take, own = Broadcast("b", Log()), Take(), Take()
    broadcast.add(own)
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    conversion = conversion_of(sounds, broadcast, Codec.OPUS)
    await running(conversion)
    session.samples(samples[:30])
    await eventually(lambda: len(take.samples) > 20)
    pid = conversion.describe()["child"]["pid"]  # type: ignore[index]
    os.kill(pid, signal.SIGKILL)
    session.samples(samples[30:35])  # nobody is there to make anything of them
    await eventually(lambda: conversion._child.restarts == 1 and conversion._ready)
    session.samples(samples[35:])
    await eventually(lambda: take.samples[-1].dts > 1.8 * 48_000)
    assert len(own.samples) == len(samples) + 1
    assert not own.interrupted
    assert len(take.tracks) == 1
    assert not take.interrupted
    before, after = tone_at(track, samples), tone_at(take.tracks[0], take.samples)
    assert before is not None
    assert after is not None
    assert abs(after - before) < FEW_MS


async def test_a_new_timeline_has_nothing_of_the_old_one(sounds: Sounds) -> None:
    track, samples = tone(Codec.AAC)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    await running(conversion_of(sounds, broadcast, Codec.OPUS))
    session.samples(samples[50:])
    session.restart()
    session.samples(samples[:20])
    await eventually(lambda: len(take.samples) > 10)
    assert max(s.dts for s in take.samples) < 21 * 1024


async def test_a_publisher_who_sends_the_codec_himself_is_not_converted(sounds: Sounds) -> None:
    track, samples = tone(Codec.OPUS, seconds=0.5)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    lease = sounds.want(broadcast, Codec.OPUS)
    lease.derived.add(take)
    conversion = conversion_of(sounds, broadcast, Codec.OPUS)
    await running(conversion)
    session.samples(samples)
    session.close("switches", clean=True)
    other, more = tone(Codec.AAC, seconds=0.5)
    start(broadcast, other).samples(more)
    await eventually(lambda: len(take.samples) > 10)
    assert len(take.samples) <= len(more) * 1024 // 960 + 1


async def test_it_runs_while_somebody_wants_it_and_no_more_than_allowed() -> None:
    sounds = Sounds(1, linger=0.05)
    try:
        broadcast, other = Broadcast("b", Log()), Broadcast("c", Log())
        first, second = sounds.want(broadcast, Codec.OPUS), sounds.want(broadcast, Codec.OPUS)
        assert first.derived is second.derived
        conversion = conversion_of(sounds, broadcast, Codec.OPUS)
        with pytest.raises(SoundsBusy):
            sounds.want(other, Codec.OPUS)
        await running(conversion)
        pid = conversion.describe()["child"]["pid"]  # type: ignore[index]
        first.release()
        await asyncio.sleep(0.1)
        assert not conversion.over
        second.release()
        third = sounds.want(broadcast, Codec.OPUS)  # before it ended
        await asyncio.sleep(0.1)
        assert not conversion.over
        third.release()
        await eventually(lambda: conversion.over and not sounds._ending)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not broadcast.derived
        lease = sounds.want(other, Codec.OPUS)
        other.end("over")
        assert lease.derived.closed
        lease.release()
        assert sounds.describe()["running"] == []
    finally:
        await sounds.close()


async def test_a_child_that_takes_nothing_is_replaced_and_the_parent_never_waits(
    sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.transcode.stream_child.HUNG_SECONDS", 0.0)
    track, samples = tone(Codec.AAC, seconds=0.5)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    conversion = conversion_of(sounds, broadcast, Codec.OPUS)
    conversion._child._most = 65_536
    await running(conversion)
    pid = conversion.describe()["child"]["pid"]  # type: ignore[index]
    os.kill(pid, signal.SIGSTOP)
    times = 0
    while not conversion._child.restarts:
        times += 1
        session.samples([Sample(2, times * 1024, times * 1024, True, bytes(20_000), 1024)])
        await asyncio.sleep(0.001)
    assert conversion._child.dropped
    await running(conversion)
    session.samples([s._replace(dts=s.dts + 2_000_000) for s in samples])
    await eventually(lambda: bool(take.samples))


async def test_garbage_costs_only_itself(sounds: Sounds) -> None:
    track, samples = tone(Codec.AAC, seconds=1.0, at=0.5)
    broadcast, take = Broadcast("b", Log()), Take()
    session = start(broadcast, track)
    sounds.want(broadcast, Codec.OPUS).derived.add(take)
    conversion = conversion_of(sounds, broadcast, Codec.OPUS)
    await running(conversion)
    session.samples([s._replace(data=os.urandom(200)) if 5 <= n < 10 else s for n, s in enumerate(samples)])
    await eventually(lambda: take.samples and take.samples[-1].dts > 0.8 * 48_000)
    assert conversion._child.restarts == 0
