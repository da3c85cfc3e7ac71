"""In the manner of Jepsen: whole server processes, clients that write and read, and everything that can go wrong.

The faults, and what the clients do, are decided by a seed (when they meet is not). A longer run, or another one:
`CHECKER_SECONDS=600 CHECKER_SEED=5 bin/test tests/realtime/checker/test_nothing_is_lost.py -s`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.realtime.checker.clients import Listener, Talker, entry
from tests.realtime.checker.faulty import Faults
from tests.realtime.checker.proxy import Proxy
from tests.realtime.checker.record import Entry, Record
from tests.realtime.checker.verdict import faults, unneeded
from tests.server.streaming.conftest import ServerProcess
from tests.servers.redis import RedisServer
from tests.support import eventually, free_port

SECONDS = float(os.environ.get("CHECKER_SECONDS", "6"))
SEED = os.environ.get("CHECKER_SEED", "20261120")
TALKERS, LISTENERS, PEOPLE = 12, 2, 6
RECOVER_LIMIT = 500  # HubOptions.recover_limit


class Run:
    """The nodes with the network before them, the people and their broadcast, and the clients."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], redis: RedisServer | None) -> None:
        self.seed = f"{SEED} {name}"
        self.record = Record()
        self._redis = redis
        names = "ab" if redis is not None else "a"
        self.nodes = [
            ServerProcess(
                folder / node,
                environment
                | {
                    "HTTP_PORT": str(free_port()),
                    "RTMP_PORT": str(free_port()),
                    "RTC_PORT": "0",
                    "NODE_ID": node,
                    "REDIS_URL": redis.url if redis is not None else "",
                    "CHAT_INTERVAL": "0",
                    "CHAT_BURST": "1000000",
                    "RATE_LIMIT_READ": "1000000/minute",
                },
            )
            for node in names
        ]
        self.proxies = [Proxy(int(node.environment["HTTP_PORT"])) for node in self.nodes]
        self.faults = Faults(self.nodes, self.proxies, Random(self.seed), redis)
        self.talkers: list[Talker] = []
        self.listeners: list[Listener] = []
        self.room = ""

    @property
    def clients(self) -> list[Talker | Listener]:
        return [*self.talkers, *self.listeners]

    async def start(self, undo: AsyncExitStack) -> None:
        for node in self.nodes:
            undo.push_async_callback(node.stop)
            await node.start()
        for proxy in self.proxies:
            undo.push_async_callback(proxy.close)
            await proxy.start()
        # a connection of its own for each request: what the proxies cut is never in a pool
        self.http = await undo.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        )
        tokens = {f"person{number}": await self._register(f"person{number}") for number in range(PEOPLE)}
        started = await self._call("POST", "/api/v1/live/start", tokens["person0"], {"title": "The room"})
        self.room = started["id"]
        people = list(tokens.items())
        for number in range(TALKERS):
            author, token = people[number % PEOPLE]
            name = f"t{number}"
            self.talkers.append(
                Talker(
                    name,
                    author,
                    token,
                    f"live:{self.room}",
                    self.record,
                    http=self.http,
                    address=self._address,
                    packed=number % 2 == 1,
                    seed=f"{self.seed} {name}",
                    pause=0.06,
                )
            )
        for number in range(LISTENERS):
            name = f"l{number}"
            self.listeners.append(
                Listener(
                    name,
                    f"live:{self.room}",
                    self.record,
                    http=self.http,
                    address=self._address,
                    seed=f"{self.seed} {name}",
                )
            )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as all_of_them:
            for client in self.clients:
                all_of_them.create_task(client.run())
            await self.faults.run(SECONDS)
            await self.settle()

    async def settle(self) -> None:
        """Nobody begins anything new; returns when all have seen all there is, and have stopped."""
        for talker in self.talkers:
            talker.quiet.set()
        for talker in self.talkers:
            await asyncio.wait_for(talker.silent.wait(), 30)
        head = (await self.log())[-1].offset
        await eventually(
            lambda: all(sight.place is not None and sight.place[1] >= head for sight in self.record.sights),
            what="every client at the end of the log",
        )
        for client in self.clients:
            client.stop()

    async def log(self) -> list[Entry]:
        """The whole log over HTTP, page after page, from each node in turn."""
        entries: list[Entry] = []
        at, number = 0, 0
        while True:
            node = self.nodes[number % len(self.nodes)]
            number += 1
            url = f"{node.url}/api/v1/live/{self.room}/chat"
            async with self.http.get(url, params={"since": at, "limit": 100}) as answer:
                assert answer.status == 200, await answer.text()
                page = await answer.json()
            entries += [entry(item["offset"], item["data"]) for item in page["items"]]
            self.epoch: str = page["epoch"]
            if page["offset"] >= page["head"]:
                return entries
            assert page["offset"] > at
            at = page["offset"]

    def figures(self) -> str:
        clients = sum((client.figures for client in self.clients), Counter[str]())
        attempts = sum(sent.attempts for sent in self.record.sent)
        seen = sum(len(sight.events) for sight in self.record.sights)
        return (
            f"seed {self.seed!r}, faults {dict(self.faults.done)}, {len(self.record.sent)} messages in {attempts}"
            f" attempts, {seen} things seen, clients {dict(sorted(clients.items()))}"
        )

    def _address(self, chance: Random) -> str:
        return f"http://127.0.0.1:{chance.choice(self.proxies).port}"

    async def _register(self, name: str) -> str:
        body = {"email": f"{name}@example.org", "username": name, "password": "correct horse battery"}
        token: str = (await self._call("POST", "/api/v1/auth/register", "", body))["access_token"]
        return token

    async def _call(self, method: str, path: str, token: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(method, self.nodes[0].url + path, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return await answer.json()


@pytest.fixture
async def begin(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as undo:

        async def begin(name: str, redis: RedisServer | None = None) -> Run:
            run = Run(name, tmp_path, environment, redis)
            await run.start(undo)
            return run

        yield begin


async def judge(run: Run, database_url: str) -> None:
    log = await run.log()
    assert faults(run.record, run.epoch, log) == []
    assert unneeded(run.record, RECOVER_LIMIT) == []
    for talker in run.talkers:
        assert talker.figures["acknowledged"] > 0
        assert talker.figures["answered internal"] == 0
    assert all(sent.acks or sent.refused for sent in run.record.sent)
    # what stands on disk is what was read
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            """select l.log_offset, m.id, m.text from chat_log l join chat_messages m on m.id = l.message_id
            where l.room_id = $1 order by 1""",
            run.room,
        )
    finally:
        await connection.close()
    assert [tuple(map(str, row)) for row in rows] == [(str(e.offset), e.id, e.text) for e in log]


@pytest.mark.timeout(120 + 2 * SECONDS)
async def test_one_process(
    begin: Callable[..., Any], database_url: str, record_property: Callable[[str, object], None]
) -> None:
    run: Run = await begin("one process")
    try:
        await run.run()
    finally:
        print(run.figures())  # noqa: T201 -- shown with a failure: the seed
    await judge(run, database_url)
    record_property("figures", run.figures())


@pytest.mark.timeout(120 + 2 * SECONDS)
async def test_two_processes_and_redis(
    begin: Callable[..., Any],
    database_url: str,
    redis_url: str,
    redis_server: RedisServer,
    record_property: Callable[[str, object], None],
) -> None:
    run: Run = await begin("two processes", redis_server)
    try:
        await run.run()
    finally:
        print(run.figures())  # noqa: T201 -- shown with a failure: the seed
    await judge(run, database_url)
    record_property("figures", run.figures())
