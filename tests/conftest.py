"""Fixtures for every test: a database, a Redis, an S3 server, and the guard of the event loop.

A test gets a database of its own, cloned from a template that has all migrations; the PostgreSQL behind it is shared
by the run. Redis and S3 are one per worker process: emptied, or with a new bucket, for each test.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from storage.postgres import Database
from tests.servers import postgres
from tests.servers.redis import RedisServer
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shared by all worker processes of this run, and by no other run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[str]:
    """The address of the run's PostgreSQL (its maintenance database)."""
    shared = postgres.SharedPostgres(run_folder / "postgres")
    yield shared.start()
    shared.close()


@pytest.fixture
async def empty_database_url(postgres_server: str) -> AsyncIterator[str]:
    """A database of this test with nothing in it."""
    async with _database(postgres_server, "template0") as url:
        yield url


@pytest.fixture
async def database_url(postgres_server: str, run_folder: Path) -> AsyncIterator[str]:
    """A database of this test with all migrations applied."""
    template = await postgres.template(postgres_server, run_folder / "postgres")
    async with _database(postgres_server, template) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A started Database with all migrations applied."""
    started = Database(database_url, max_size=8)
    await started.start()
    yield started
    await started.close()


class _database:
    """A fresh clone of a template, dropped at the end even when connections were left open."""

    def __init__(self, server: str, template: str) -> None:
        self._server = server
        self._template = template
        self._name = f"test_{uuid.uuid4().hex}"

    async def __aenter__(self) -> str:
        await self._execute(f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}" STRATEGY file_copy')
        return postgres.of_database(self._server, self._name)

    async def __aexit__(self, *_: object) -> None:
        await self._execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    if redis_server.process is None:
        redis_server.start()
    client = redis.asyncio.Redis.from_url(redis_server.url)
    await client.flushall()
    await client.aclose()
    return redis_server.url


@dataclass(frozen=True, slots=True)
class S3:
    """What settings call S3_ENDPOINT, S3_BUCKET and so on; `server` to take it down."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    server: S3Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server) -> S3:
    """An S3 server and the name of a bucket that no other test uses (made by the store's `start`)."""
    if s3_server.process is None:
        s3_server.start()
    bucket = f"test-{uuid.uuid4().hex[:20]}"
    return S3(s3_server.endpoint, bucket, "us-east-1", ACCESS_KEY, SECRET_KEY, s3_server)


LOOP_GUARDED = (
    "tests/realtime/",
    "tests/media/ingest/",
    "tests/media/package/",
    "tests/server/kit/",
    "tests/server/community/",
    "tests/server/identity/",
)
"""Folders whose tests run code of the event loop."""
LOOP_EXEMPT = (
    # These tests themselves work for over 50 ms in the loop: hundreds of sessions at once, a document's validation,
    # megabytes to send; under asyncio's debugger everything takes several times as long.
    "tests/realtime/test_hub.py",
    "tests/realtime/test_protocol.py",
    "tests/realtime/test_socket.py",
    # whole server processes, and all their clients in the loop of the test
    "tests/realtime/checker/",
    "tests/server/kit/test_openapi.py",
    # bodies of megabytes; tracebacks, which are read from the source files
    "tests/server/kit/test_requests.py",
    # minutes of media made up in one go, which otherwise take minutes to come; the tests decode it in the loop
    "tests/media/package/test_dash.py",
    "tests/media/package/test_journal.py::test_a_long_broadcast_is_resumed_beside_the_loop",
    "tests/media/package/test_live.py::test_delta_updates",
    "tests/media/package/test_live.py::test_a_long_broadcast_keeps_its_window_and_its_memory",
    "tests/media/package/test_media.py",
    # fifty clients in the same loop, each of which reads everything; tracebacks; tokens signed by the test
    "tests/server/community/test_chat.py::test_fifty_writers_get_dense_offsets_in_one_order_that_all_see",
    "tests/server/community/test_chat.py::test_a_fault_in_telling_neither_loses_nor_doubles",
    # thousands of requests, for each of which the debugger keeps where its tasks were made: minutes on a busy machine
    "tests/server/community/test_since.py::test_the_state_and_the_changes_after_it_are_the_state",
    "tests/server/identity/test_tokens.py::test_the_memory_is_bounded",
    "tests/media/ingest/test_rtmp.py::test_hostile_clients_cost_a_closed_connection[huge message]",
    # the client of the test, in the same loop, sends or is sent tens of megabytes
    "tests/media/ingest/test_rtmp.py::test_more_than_the_bit_rate_that_is_taken",
    "tests/server/kit/test_connections.py",
)


# First: xdist reads its marks in this same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        where = item.nodeid
        # Two browsers at once with a server each are too much for two cores: they take turns in one worker.
        if where.startswith("tests/e2e/"):
            item.add_marker(pytest.mark.xdist_group("browser"))
        # `pytest -m quick_loop`: these alone.
        asynchronous = inspect.iscoroutinefunction(getattr(item, "function", None))
        if asynchronous and where.startswith(LOOP_GUARDED) and not where.startswith(LOOP_EXEMPT):
            # A mark for fixtures would come too late here.
            item.fixturenames.append("quick_loop")  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.quick_loop)


_LOST = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """xdist's: a worker process has ended, with an error when it was not asked to."""
    if error:
        node.config.stash[_LOST] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Tests that the worker had before it are missing then: this is more than a test that failed.
    if session.config.stash.get(_LOST, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted (`record_property("figures", …)`), in whichever process."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == "figures":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector, which every guarded test runs, need not walk it each time."""
    gc.collect()
    gc.freeze()


LOOP_MOST = 0.050
"""Seconds of the processor that one step of the loop may take, half of what asyncio itself warns of; what serves a test
in its own loop (a second server's document) takes up to 40 ms on a slow machine under the debugger."""
PACE_STEPS, PACE_SECONDS = 20_000, 0.001
"""So many steps of a plain loop take so long on a core that is one's own."""


def pace() -> float:
    """How many times slower than that the core is just now, 1 to 4: a core whose other half somebody else keeps busy
    does less work in the same processor time."""
    started = time.thread_time()
    total = 0
    for number in range(PACE_STEPS):
        total += number
    return min(4.0, max(1.0, (time.thread_time() - started) / PACE_SECONDS))


@pytest.fixture
async def quick_loop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The test fails when one step of the event loop took over 50 ms of the processor, under asyncio's debugger.

    Asyncio's own warning reads the clock and blames a step for what other programs did meanwhile; the thread's
    processor time does not, also when tests run side by side; how much work the core does in that time is looked at
    when a step was too long. What waits instead of computing (a blocking call) is found by ruff's ASYNC rules.
    """
    # What PYTHONASYNCIODEBUG=1 would do: pytest-asyncio makes its loops without looking at the environment.
    asyncio.get_running_loop().set_debug(True)
    held: list[str] = []
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        took = time.thread_time() - started
        if took > LOOP_MOST and took > LOOP_MOST * pace():
            held.append(f"{took * 1000:.0f} ms: {handle!r}")  # not earlier: it wakes lazy attributes

    monkeypatch.setattr(asyncio.Handle, "_run", watched)
    # A full collection walks all that the process has loaded, and would be blamed on whoever allocates next.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    assert not held, "the event loop was held:\n" + "\n".join(held)
