"""What a target takes: Opus as it is or as AAC, a picture or none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from media.broadcast import Broadcast, Derived
from media.egress import restream_feed
from media.egress.restream import PushState
from media.samples import Codec, Kind, Sample, Track
from media.transcode.sounds import Sounds
from tests.media.egress.pushing import (
    OPUS,
    Film,
    Serve,
    Stage,
    film,
    gate,
    quick,
    scripted,
    serve,
    stage,
    to,
)
from tests.media.ingest.conftest import OpenGate, flv, media_folder, until
from tests.media.sound import tone, tone_at
from tests.support import eventually

__all__ = ["film", "flv", "gate", "media_folder", "quick", "serve", "stage"]  # fixtures


class HandMade:
    """Where AAC comes from, by the hand of the test."""

    def __init__(self) -> None:
        self.derived: Derived | None = None
        self.released = 0

    def want(self, broadcast: Broadcast, codec: Codec) -> HandMade:
        assert codec is Codec.AAC
        self.derived = broadcast.derive("aac")
        return self

    def release(self) -> None:
        self.released += 1


def opus(film: Film) -> list[Sample]:
    return [s if s.track == 1 else s._replace(data=b"\xfc\xff\xfe") for s in film.samples]


async def without_opus(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Our server, as one of those who know nothing of Enhanced RTMP."""
    there, onward = await asyncio.open_connection("127.0.0.1", port)

    async def back() -> None:
        while data := await there.read(65536):
            for name in (b"Opus", b"av01", b"hvc1", b"vp09"):
                data = data.replace(name, b"none")
            writer.write(data)

    task = asyncio.create_task(back())
    try:
        while data := await reader.read(65536):
            onward.write(data)
            await onward.drain()
    finally:
        task.cancel()
        onward.close()


async def test_opus_goes_as_it_is_to_a_target_that_says_so(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish(stage.film.tracks[0], OPUS)
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.session.samples(opus(stage.film))
    await until(lambda: gate.publishers and gate.publishers[0].of(2) and gate.publishers[0].of(1))
    assert [t.codec for t in gate.publishers[0].tracks] == [Codec.H264, Codec.OPUS]
    assert gate.publishers[0].tracks[1].config == OPUS.config
    assert pusher.note == ""


async def test_opus_becomes_aac_for_a_target_that_takes_none(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    sounds = HandMade()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], OPUS)
        pusher = stage.push(to(port), sounds=sounds)
        await stage.listening(pusher)
        assert sounds.derived is not None
        sounds.derived.track(stage.film.tracks[1])
        stage.session.samples(stage.film.of(1))
        sounds.derived.samples(stage.film.of(2))
        await until(lambda: gate.publishers and gate.publishers[0].of(2) and gate.publishers[0].of(1))
        there = gate.publishers[0]
        assert [t.codec for t in there.tracks] == [Codec.H264, Codec.AAC]
        # a picture of another size: its new header goes out, and the sound that is made goes on
        picture = replace(stage.film.tracks[0], config=stage.film.tracks[0].config + b"\x00")
        stage.session.track(picture)
        stage.session.samples([s for s in stage.film.shifted(2) if s.track == 1])
        heard = len(there.of(2))
        sounds.derived.samples([s for s in stage.film.shifted(2) if s.track == 2])
        await until(lambda: len(there.of(1)) == 2 * len(stage.film.of(1)) and len(there.of(2)) > heard + 50)
        assert [t.config for t in there.tracks if t.id == 1] == [stage.film.tracks[0].config, picture.config]
        assert pusher.note == ""
        await pusher.close()
        assert sounds.released == 1
        assert len(gate.publishers) == 1


async def test_real_opus_is_aac_at_the_target_where_it_was(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    sounds = Sounds(1)
    track, packets = tone(Codec.OPUS)
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], track)
        pusher = stage.push(to(port), sounds=sounds)
        await stage.listening(pusher)
        derived = stage.broadcast.derived["aac"]
        await until(lambda: sounds.describe()["running"])
        played = 0.0

        async def heard() -> bool:
            """The film again and again, until its sound is made and comes through."""
            nonlocal played
            scale = {1: 90_000, 2: 48_000}
            for sample in sorted([*stage.film.of(1), *packets], key=lambda s: s.dts / scale[s.track]):
                moved = int(played * scale[sample.track])
                stage.session.samples([sample._replace(dts=sample.dts + moved, pts=sample.pts + moved)])
            played += 2
            return bool(gate.publishers and len(gate.publishers[0].of(2)) > 100)

        await eventually(heard, every=0.3)
        there = gate.publishers[0]
        assert [t.codec for t in there.tracks] == [Codec.H264, Codec.AAC]
        assert tone_at(there.tracks[1], there.of(2)) is not None
        assert derived.current is not None
        assert pusher.note == ""
        await pusher.close()
    stage.broadcast.end("over")
    await sounds.close()


async def test_without_anybody_who_makes_aac_the_picture_goes_alone_and_it_is_said(
    stage: Stage, gate: OpenGate, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restream_feed, "SOUND_WAIT", 0.1)
    server = await serve()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(stage.film.tracks[0], OPUS)
        alone, waited = stage.push(to(port)), stage.push(to(port), sounds=HandMade())
        for pusher in (alone, waited):
            await stage.listening(pusher)
            await until(lambda pusher=pusher: "sound needs AAC" in pusher.note)
        stage.session.samples(opus(stage.film))
        await until(lambda: len(gate.publishers) == 2 and all(p.of(1) for p in gate.publishers))
        assert all(t.kind is Kind.VIDEO for p in gate.publishers for t in p.tracks)


async def test_a_picture_that_a_target_does_not_take_is_not_sent(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    async with scripted(lambda r, w: without_opus(r, w, server.port)) as port:
        stage.publish(Track(1, Codec.AV1, 90_000, b"\x81\x00\x0c\x00", "av01.0.00M.08", 320, 180), stage.film.tracks[1])
        pusher = stage.push(to(port))
        await until(lambda: pusher.finished)
        assert pusher.state is PushState.REFUSED
        assert "does not say that it takes AV1" in pusher.error
        assert not gate.publishers[0].of(1)
