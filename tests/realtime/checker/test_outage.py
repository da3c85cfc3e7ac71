"""Redis away for a while at the server's own time-outs: two whole processes, and clients that stay.

The half minute of the issue by hand: `CHECKER_OUTAGE=30 bin/test tests/realtime/checker/test_outage.py -s`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.realtime.checker.test_nothing_is_lost import Run, judge
from tests.servers.redis import RedisServer
from tests.support import eventually

OUTAGE = float(os.environ.get("CHECKER_OUTAGE", "3"))


@pytest.fixture
async def run(
    tmp_path: Path, environment: dict[str, str], redis_url: str, redis_server: RedisServer
) -> AsyncIterator[Run]:
    async with AsyncExitStack() as undo:
        run = Run("outage", tmp_path, environment, redis_server)
        await run.start(undo)
        yield run


@pytest.mark.timeout(120 + 2 * OUTAGE)
@pytest.mark.parametrize("how", ["killed", "stands still"])
async def test_clients_stay_are_told_and_miss_nothing(
    run: Run,
    redis_server: RedisServer,
    database_url: str,
    how: str,
    record_property: Callable[[str, object], None],
) -> None:
    async with asyncio.TaskGroup() as clients:
        for client in run.clients:
            clients.create_task(client.run())
        await eventually(lambda: all(talker.figures["acknowledged"] for talker in run.talkers))
        before = _figures(run)
        if how == "killed":
            await asyncio.to_thread(redis_server.close)
        else:
            _signal(redis_server, signal.SIGSTOP)
        try:
            await eventually(lambda: all(talker.figures["notice degraded"] for talker in run.talkers))
            told = _figures(run)
            await asyncio.sleep(OUTAGE)
            meanwhile = _figures(run)["acknowledged"] - told["acknowledged"]
        finally:
            if how == "killed":
                await asyncio.to_thread(redis_server.start)
            else:
                _signal(redis_server, signal.SIGCONT)
        await eventually(lambda: all(talker.figures["notice restored"] for talker in run.talkers))
        await run.settle()
    figures = f"{how} for {OUTAGE:g} s: {meanwhile} acknowledged meanwhile; {run.figures()}"
    print(figures)  # noqa: T201 -- shown with a failure
    record_property("figures", figures)
    assert meanwhile > 0
    assert before["begun"] == len(run.clients)
    for talker in run.talkers:
        assert {name: count for name, count in talker.figures.items() if name in ("connections", "begun anew")} == {
            "connections": 1
        }
    for listener in run.listeners:
        assert listener.figures["streams"] == 1
    await judge(run, database_url)


def _figures(run: Run) -> Counter[str]:
    return sum((client.figures for client in run.clients), Counter[str]())


def _signal(server: RedisServer, number: int) -> None:
    assert server.process is not None
    server.process.send_signal(number)
