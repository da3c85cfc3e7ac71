"""The pool: transactions, limits, a server that goes and comes back."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from storage.postgres import AWAY, Database, DatabaseUnavailable
from tests.support import eventually, free_port


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.postgres.database._WAIT_SECONDS", 0.2)
    monkeypatch.setattr("storage.postgres.database._CONNECT_SECONDS", 0.2)


async def test_a_transaction_is_all_or_nothing(queue: Database) -> None:
    async with queue.transaction() as connection:
        await connection.execute("CREATE TABLE t (n int)")

    async def fail() -> None:
        async with queue.transaction() as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with queue.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM t") == 0
        await connection.execute("INSERT INTO t VALUES (1)")
    async with queue.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM t") == 1


async def test_all_connections_in_use_is_said(queue_url: str) -> None:
    database = Database(queue_url, max_size=1)
    await database.start()
    async with database.acquire():
        with pytest.raises(DatabaseUnavailable, match="no free connection"):
            async with database.acquire():
                raise AssertionError("there was only one")
        assert database.describe() == {"connections": 1, "idle": 0, "limit": 1}
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await database.close()


async def test_the_servers_time_outs_are_set(queue: Database) -> None:
    async with queue.acquire() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "30s"
        assert await connection.fetchval("SHOW lock_timeout") == "10s"
        assert await connection.fetchval("SHOW timezone") == "UTC"


async def test_cut_connections_are_replaced(queue: Database, queue_url: str) -> None:
    admin = await asyncpg.connect(queue_url)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await admin.close()

    async def works() -> bool:
        try:
            async with queue.acquire() as connection:
                return bool(await connection.fetchval("SELECT 1") == 1)
        except AWAY:
            return False

    await eventually(works)


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:{port}/none", "postgresql://[", "mysql://x/y"])
async def test_no_server_is_said_in_words(dsn: str) -> None:
    database = Database(dsn.format(port=free_port()), max_size=1)
    with pytest.raises(DatabaseUnavailable):
        await database.start()
    await database.close()


async def test_no_such_database_is_said_at_once(postgres_server: str) -> None:
    before, _, query = postgres_server.partition("?")
    database = Database(f"{before.rsplit('/', 1)[0]}/none?{query}", max_size=1)
    with pytest.raises(DatabaseUnavailable, match=r"DATABASE_URL.*none"):
        await database.start()


async def test_many_callers_share_few_connections(queue: Database) -> None:
    async def one(n: int) -> int:
        async with queue.acquire() as connection:
            return int(await connection.fetchval("SELECT $1::int", n))

    assert await asyncio.gather(*(one(n) for n in range(100))) == list(range(100))
