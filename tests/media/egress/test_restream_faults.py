"""Targets that misbehave in every way: told in words, tried again, and a burden to nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from media.egress.restream import PushState
from tests.media.egress.pushing import (
    OPTIONS,
    Script,
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

__all__ = ["film", "flv", "gate", "media_folder", "quick", "serve", "stage"]  # fixtures


def says(*words: bytes, forever: bool = False) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        for word in words:
            writer.write(word)
        while forever:
            writer.write(words[-1])
            await writer.drain()
        await writer.drain()

    return script


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


GREETING = b"\x03" + bytes(2 * 1536)
PING = b"\x02\x00\x00\x00\x00\x00\x06\x04\x00\x00\x00\x00\x00\x06\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (hangs, "did not let us publish within 0.3 s"),
        (resets, "broke the connection|hung up"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks HTTP"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "use rtmps"),
        (says(b"\x07garbage"), "does not speak RTMP"),
        (says(GREETING, b"\xff" * 4096), "does not speak RTMP as it should"),
        (says(GREETING, b"\x03" + bytes(3) + b"\xff\xff\xff\x14" + bytes(4)), "does not speak RTMP as it should"),
        (says(GREETING, PING * 1000, forever=True), "more than a server of RTMP has reason to|did not let us"),
        (says(GREETING), "hung up|broke the connection"),
    ],
    ids=["hangs", "resets", "http", "tls", "garbage", "chunks", "huge", "floods", "leaves"],
)
async def test_targets_that_misbehave_are_told_in_words_and_tried_again(
    stage: Stage, gate: OpenGate, serve: Serve, script: Script, words: str
) -> None:
    server = await serve()
    async with scripted(script) as port:
        stage.publish()
        good = stage.push(to(server.port))
        bad = stage.push(to(port), options=replace(OPTIONS, timeout=0.3))
        await stage.listening(good)
        await until(lambda: bad.state is PushState.RETRYING)
        assert any(part in bad.error for part in words.split("|")), bad.error
        stage.play()
        await until(lambda: gate.publishers and len(gate.publishers[0].of(1)) == len(stage.film.of(1)))
        assert good.dropped == 0
        await bad.close()
        assert bad.state is PushState.STOPPED


async def test_a_slow_target_loses_frames_up_to_a_key_frame_and_no_other_does(
    stage: Stage, gate: OpenGate, serve: Serve
) -> None:
    server = await serve()
    relay = await serve()
    halted = asyncio.Event()
    halted.set()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between the pusher and a real server; while halted nothing is read."""
        there, onward = await asyncio.open_connection("127.0.0.1", relay.port)

        async def back() -> None:
            while data := await there.read(65536):
                writer.write(data)

        task = asyncio.create_task(back())
        try:
            while True:
                await halted.wait()
                if not (data := await reader.read(65536)):
                    return
                onward.write(data)
                await onward.drain()
        finally:
            task.cancel()
            onward.close()

    async with scripted(slow) as port:
        stage.publish()
        good = stage.push(to(server.port), key="good")
        bad = stage.push(to(port), key="slow", options=replace(OPTIONS, queue=100_000, timeout=30))
        await stage.listening(good)
        await stage.listening(bad)
        stage.play()
        await until(lambda: bad.state is PushState.PUSHING and good.state is PushState.PUSHING)
        halted.clear()
        plays = 0
        while not bad.dropped:  # until every buffer between here and there is full
            stage.play()
            plays += 1
            assert plays < 3000
            if plays % 4 == 0:
                await until(lambda: good._queue is None or not good._queue._queue)
        assert bad._queue is not None
        assert bad._queue._size <= 100_000
        assert good.dropped == 0
        halted.set()
        there = next(p for p in gate.publishers if p.request is not None and p.request.key == "slow")
        before = len(there.of(1))
        await until(lambda: not bad._queue._queue if bad._queue else False)
        stage.play()
        await until(lambda: len(there.of(1)) > before and bad.state is PushState.PUSHING)
        await until(lambda: there.of(1)[-1].data == stage.film.of(1)[-1].data)
        assert bad.describe()["dropped"]


async def test_a_target_that_takes_nothing_is_left(stage: Stage, gate: OpenGate, serve: Serve) -> None:
    relay = await serve()

    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A real server until it lets the publisher in; then nobody reads."""
        there, onward = await asyncio.open_connection("127.0.0.1", relay.port)

        async def back() -> None:
            while data := await there.read(65536):
                writer.write(data)

        task = asyncio.create_task(back())
        try:
            while not gate.publishers:
                onward.write(await reader.read(65536))
                await asyncio.sleep(0.01)
            await asyncio.Event().wait()
        finally:
            task.cancel()
            onward.close()

    async with scripted(stops) as port:
        stage.publish()
        pusher = stage.push(to(port), options=replace(OPTIONS, timeout=0.5))
        await stage.listening(pusher)
        for _ in range(400):
            stage.play()
            await asyncio.sleep(0.002)
            if pusher.state is PushState.RETRYING:
                break
        await until(lambda: pusher.error)
        assert "took nothing for 0.5 s" in pusher.error
