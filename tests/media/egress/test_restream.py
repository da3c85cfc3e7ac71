"""A broadcast pushed on: to our own server, to ffmpeg, over TLS, and again when it broke off."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from media.egress import restream
from media.egress.restream import Pusher, PushState
from media.ingest.gate import Refused
from tests.media.egress.pushing import (
    OPTIONS,
    SECRET,
    Serve,
    Stage,
    film,
    gate,
    quick,
    serve,
    stage,
    to,
)
from tests.media.ingest.conftest import OpenGate, flv, media_folder, until
from tests.server.streaming.test_rtmps import certificate
from tests.support import free_port

__all__ = ["film", "flv", "gate", "media_folder", "quick", "serve", "stage"]  # fixtures


async def test_every_frame_arrives_with_its_times_and_its_b_frames(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish()
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.play()
    film = stage.film
    await until(lambda: gate.publishers and len(gate.publishers[0].of(2)) >= len(film.of(2)) - 1)
    (there,) = gate.publishers
    assert there.request is not None
    assert there.request.key == SECRET.partition("?")[0]  # the rest is a query to our server
    for sent, got in zip(film.tracks, there.tracks, strict=True):
        assert (got.codec, got.config, got.width) == (sent.codec, sent.config, sent.width)
    first = there.of(1)[0]
    for sent, got in zip(film.of(1), there.of(1), strict=True):
        assert (got.data, got.key) == (sent.data, sent.key)
        for one, other in ((got.dts, sent.dts), (got.pts, sent.pts)):
            assert abs((one - first.dts) - (other - film.of(1)[0].dts)) <= 2 * 90
    assert any(s.pts > s.dts + 90 for s in there.of(1))  # there were B-frames
    assert pusher.state is PushState.PUSHING
    assert pusher.sent_bytes > sum(len(s.data) for s in film.samples) * 0.9
    assert pusher.error == ""
    stage.broadcast.end("over")
    await until(lambda: pusher.finished)
    await until(lambda: there.closed)
    assert there.closed is not None
    assert there.closed[1]  # the target was told that it is over
    assert pusher.state is PushState.STOPPED


async def test_the_publishers_return_is_one_stream_to_the_target(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    stage.publish().close("lost", clean=False)
    stage.publish()
    pusher = stage.push(to(server.port))
    await stage.listening(pusher)
    stage.play()
    await until(lambda: pusher.state is PushState.PUSHING)
    stage.session.close("lost", clean=False)
    assert pusher.state is PushState.WAITING
    stage.publish(replace(stage.film.tracks[0], config=stage.film.tracks[0].config + b"\x00"), stage.film.tracks[1])
    await until(lambda: pusher.state is PushState.PUSHING)
    await until(lambda: gate.publishers and len(gate.publishers[0].of(1)) == 2 * len(stage.film.of(1)))
    (there,) = gate.publishers
    times = [s.dts for s in there.of(1)]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[-1] - times[0] < 6 * 90_000  # it went on where it was, with no jump of the target's clock
    assert [t.config for t in there.tracks if t.id == 1] == [
        stage.film.tracks[0].config, stage.film.tracks[0].config + b"\x00",
    ]  # fmt: skip
    assert pusher.reconnects == 0


async def test_ffmpeg_writes_what_it_was_pushed(stage: Stage, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "got.flv"
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/live/{SECRET}",
        "-c", "copy", str(path),
    )  # fmt: skip
    try:
        stage.publish()
        pusher = stage.push(to(port))
        await stage.listening(pusher)
        for _ in range(3):
            stage.play()
            await asyncio.sleep(0)
        stage.broadcast.end("over")
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_packets", "-show_format", str(path)]
    read = await asyncio.to_thread(subprocess.run, probe, check=True, capture_output=True, timeout=30)
    told = json.loads(read.stdout)
    counted = {one["codec_type"]: (one["codec_name"], int(one["nb_read_packets"])) for one in told["streams"]}
    film = stage.film
    assert counted["video"] == ("h264", 3 * len(film.of(1)))
    assert counted["audio"][0] == "aac"
    assert counted["audio"][1] >= 3 * len(film.of(2)) - 2
    assert 5.5 < float(told["format"]["duration"]) < 6.5


async def test_tls_wants_a_certificate_that_it_can_believe(
    stage: Stage, gate: OpenGate, serve: Serve, tmp_path: Path
) -> None:
    chain, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    server = await serve(tls=context)
    stage.publish()
    stranger = stage.push(to(server.tls_port, ssl.create_default_context()))
    await until(lambda: stranger.state is PushState.RETRYING)
    assert "certificate" in stranger.error
    trusted = stage.push(to(server.tls_port, ssl.create_default_context(cafile=str(chain))))
    await stage.listening(trusted)
    stage.play()
    await until(lambda: gate.publishers and gate.publishers[0].of(1))
    assert trusted.state is PushState.PUSHING


async def test_a_key_that_is_refused_is_not_tried_again(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    gate.refuse = Refused("unknown_key", f"Unknown stream key {SECRET}. Copy it again.")
    stage.publish()
    pusher = stage.push(to(server.port))
    await until(lambda: pusher.finished)
    assert pusher.state is PushState.REFUSED
    assert "Unknown stream key" in pusher.error
    assert SECRET not in pusher.error


async def test_a_target_that_is_busy_is_tried_until_it_is_free(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    server = await serve()
    gate.refuse = Refused("in_use", "This stream key is live already from another encoder. Stop that one first.")
    stage.publish()
    pusher = stage.push(to(server.port))
    await until(lambda: pusher.state is PushState.RETRYING)
    assert "live already" in pusher.error
    gate.refuse = None
    await stage.listening(pusher)
    stage.play()
    await until(lambda: pusher.state is PushState.PUSHING)
    assert pusher.error == ""


async def test_a_target_that_comes_back_is_pushed_to_again(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    port = free_port()
    stage.publish()
    pusher = stage.push(to(port))
    await until(lambda: pusher.state is PushState.RETRYING)
    assert pusher.error == "nobody listens at the target's address and port"
    server = await serve(port)
    await stage.listening(pusher)
    stage.play()
    await until(lambda: gate.publishers and gate.publishers[0].of(1))
    await server.close()
    await until(lambda: pusher.state is PushState.RETRYING)
    await serve(port)
    await stage.listening(pusher)
    stage.play()
    await until(lambda: len(gate.publishers) > 1 and gate.publishers[-1].of(1))
    assert pusher.reconnects == 1


async def test_pauses_grow_to_the_longest_and_no_further(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restream, "FIRST_PAUSE", 0.01)
    pauses: list[float] = []

    def changed(pusher: Pusher) -> None:
        if pusher.state is PushState.RETRYING:
            pauses.append(pusher.next_try_at - time.time())

    stage.publish()
    pusher = stage.push(to(free_port()), options=replace(OPTIONS, most_pause=0.08), on_change=changed)
    await until(lambda: len(pauses) > 6)
    await pusher.close()
    assert pauses[0] <= 0.01
    assert max(pauses[4:]) > 0.03
    assert max(pauses) <= 0.08
