"""`POST /live/start` with an Idempotency-Key, and a server that is killed on the way: one broadcast, one answer.

The moments are met from outside, through PostgreSQL: a lock that the effect needs, and one that its COMMIT needs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.server.streaming.conftest import ServerProcess, User
from tests.support import eventually

BODY = {"title": "Once"}
AT_COMMIT = """
    create function wait_at_commit() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(42); return null; end $$;
    create constraint trigger wait_at_commit after insert on broadcasts deferrable initially deferred
        for each row execute function wait_at_commit();
"""


@pytest.fixture
async def outside(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@asynccontextmanager
async def holding(dsn: str, lock: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(lock)
            yield
    finally:
        await connection.close()


async def ask(user: User, key: str) -> tuple[int, Any, bool]:
    headers = {"Authorization": f"Bearer {user.token}", "Idempotency-Key": key}
    async with user.http.post(user.server.url + "/api/v1/live/start", json=BODY, headers=headers) as answer:
        return answer.status, await answer.json(), "Idempotency-Replayed" in answer.headers


def kill(server: ServerProcess, how: signal.Signals) -> None:
    assert server._process is not None
    server._process.send_signal(how)


async def lost(request: asyncio.Task[tuple[int, Any, bool]]) -> None:
    with pytest.raises(aiohttp.ClientError):
        await request


@pytest.fixture
async def ids(outside: asyncpg.Connection[asyncpg.Record]) -> Callable[[], Awaitable[list[str]]]:
    async def ask_for() -> list[str]:
        return [str(row["id"]) for row in await outside.fetch("select id from broadcasts")]

    return ask_for


@pytest.fixture
async def waits(outside: asyncpg.Connection[asyncpg.Record]) -> Callable[[str], Awaitable[None]]:
    async def until(statement: str) -> None:
        async def there() -> Any:
            return await outside.fetchval(
                """select true from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock' and query ilike $1""",
                statement,
            )

        await eventually(there, what=f"{statement} waits")

    return until


async def test_killed_before_the_commit_it_is_done_by_the_next(
    server: ServerProcess,
    streamer: User,
    database_url: str,
    ids: Callable[[], Awaitable[list[str]]],
    waits: Callable[[str], Awaitable[None]],
) -> None:
    # a transaction sees one state of pg_stat_activity, so another connection looks there
    async with holding(database_url, "lock table broadcasts in exclusive mode"):
        request = asyncio.create_task(ask(streamer, "k1"))
        await waits("%insert into broadcasts%")  # its key and the channel are written already
        await server.stop(signal.SIGKILL)
        await lost(request)
    await server.start()
    status, body, replayed = await ask(streamer, "k1")
    assert (status, replayed, await ids()) == (201, False, [body["id"]])
    assert body["stream_key"]
    assert await ask(streamer, "k1") == (201, body, True)
    assert await ids() == [body["id"]]


@pytest.mark.parametrize("committed", [True, False])
async def test_killed_at_the_commit_the_next_gets_its_answer(
    server: ServerProcess,
    streamer: User,
    outside: asyncpg.Connection[asyncpg.Record],
    ids: Callable[[], Awaitable[list[str]]],
    waits: Callable[[str], Awaitable[None]],
    committed: bool,
) -> None:
    """committed: the process is stopped while its COMMIT is done, and killed before it learns of that. Else it is
    killed while PostgreSQL is still committing."""
    await outside.execute(AT_COMMIT)
    await outside.execute("select pg_advisory_lock(42)")
    request = asyncio.create_task(ask(streamer, "k1"))
    await waits("COMMIT%")
    assert await ids() == []
    if committed:
        kill(server, signal.SIGSTOP)
    else:
        await server.stop(signal.SIGKILL)
    await outside.execute("select pg_advisory_unlock(42)")
    await eventually(ids, what="the broadcast is committed")
    assert not request.done() or not committed  # nobody was answered
    if committed:
        await server.stop(signal.SIGKILL)
    await lost(request)
    await server.start()
    status, body, replayed = await ask(streamer, "k1")
    assert (status, replayed, await ids()) == (201, True, [body["id"]])
    assert body["stream_key"]
    assert body["stream_key"] in body["ingest"]["rtmp"]
