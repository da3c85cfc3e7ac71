from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from media.ingest import sweep as module
from media.ingest.sweep import FEW, Sweep
from tests.media.ingest.conftest import until


class Pipe:
    """A source that counts what it reads."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.got = 0
        self.broken = False

    def fileno(self) -> int:
        return self.ours.fileno()

    def on_readable(self, now: float) -> None:
        if self.broken:
            raise RuntimeError("broken on purpose")
        self.got += len(self.ours.recv(100))


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    made = [Pipe() for _ in range(8)]
    yield made
    for pipe in made:
        pipe.ours.close()
        pipe.theirs.close()


@pytest.mark.parametrize("slice", [0.0, 1.0])
async def test_all_are_read_however_many_there_are(
    pipes: list[Pipe], slice: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", slice)  # 0: a turn of the loop for each source
    sweep = Sweep(0.002)
    sweep.start()
    inside: list[Pipe] = []
    try:
        for turn in (*pipes, *pipes[: FEW - 2], *pipes[-2:]):
            if turn in inside:
                inside.remove(turn)
                sweep.remove(turn)
            else:
                inside.append(turn)
                sweep.add(turn)
            for _ in range(3):
                before = [p.got for p in inside]
                for pipe in inside:
                    pipe.theirs.send(b"x")
                await until(lambda inside=inside, before=before: [p.got for p in inside] == [n + 1 for n in before])
    finally:
        sweep.close()


async def test_down_to_few_and_up_again(pipes: list[Pipe]) -> None:
    sweep = Sweep(0.002)
    sweep.start()
    try:
        for _ in range(3):
            for pipe in pipes:
                sweep.add(pipe)
                pipe.theirs.send(b"x")
            await until(lambda: len({p.got for p in pipes}) == 1 and pipes[0].got)
            for pipe in pipes:
                sweep.remove(pipe)
        assert sweep.describe()["sources"] == 0
    finally:
        sweep.close()


async def test_one_that_fails_is_taken_off_alone(pipes: list[Pipe], caplog: pytest.LogCaptureFixture) -> None:
    sweep = Sweep(0.002)
    sweep.start()
    try:
        for pipe in pipes:
            sweep.add(pipe)
        pipes[0].broken = True
        for pipe in pipes:
            pipe.theirs.send(b"x")
        await until(lambda: all(p.got for p in pipes[1:]))
        await until(lambda: sweep.describe()["sources"] == len(pipes) - 1)
        assert "taken off" in caplog.text
        await asyncio.sleep(0)
    finally:
        sweep.close()
