"""Units of work: what joins them, what does not, and what follows their commit."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import asyncpg
import pytest

from storage.postgres import Database, after_commit


@pytest.fixture
async def table(database: Database) -> Database:
    async with database.acquire() as connection:
        await connection.execute("create table t (n int primary key)")
    return database


async def put(database: Database, n: int, told: list[int] | None = None, fail: bool = False) -> None:
    async with database.transaction() as connection:
        await connection.execute("insert into t values ($1)", n)
        if told is not None:
            after_commit(lambda: told.append(n))
        if fail:
            raise ZeroDivisionError


async def seen(database: Database) -> list[int]:
    """What is committed, asked by a task of its own."""

    async def ask() -> list[int]:
        async with database.acquire() as connection:
            return [row["n"] for row in await connection.fetch("select n from t order by n")]

    return await asyncio.create_task(ask())


async def test_all_of_a_task_is_one_transaction(table: Database) -> None:
    told: list[int] = []
    async with table.unit() as connection:
        await put(table, 1, told)
        async with table.acquire() as same:
            assert same is connection
            assert await same.fetchval("select count(*) from t") == 1
        assert (await seen(table), told) == ([], [])
    assert (await seen(table), told) == ([1], [1])
    with suppress(ZeroDivisionError):
        async with table.unit():
            await put(table, 2, told)
            raise ZeroDivisionError
    assert (await seen(table), told) == ([1], [1])


async def test_a_transaction_inside_is_a_savepoint(table: Database) -> None:
    told: list[int] = []
    async with table.unit():
        await put(table, 1, told)
        with pytest.raises(ZeroDivisionError):
            await put(table, 2, told, fail=True)
        with pytest.raises(asyncpg.UniqueViolationError):
            await put(table, 1, told)
        await put(table, 3, told)
    assert (await seen(table), told) == ([1, 3], [1, 3])


async def test_a_unit_inside_a_unit_belongs_to_it(table: Database) -> None:
    told: list[int] = []
    with suppress(ZeroDivisionError):
        async with table.unit():
            async with table.unit():
                await put(table, 1, told)
            assert told == []
            raise ZeroDivisionError
    assert (await seen(table), told) == ([], [])


async def test_tasks_that_are_started_inside_do_not_join(table: Database) -> None:
    told: list[int] = []
    with suppress(ZeroDivisionError):
        async with table.unit():
            await put(table, 1, told)
            await asyncio.gather(put(table, 2, told), put(table, 3, told))
            assert await seen(table) == [2, 3]
            raise ZeroDivisionError
    assert (await seen(table), sorted(told)) == ([2, 3], [2, 3])


async def test_a_task_that_outlives_the_unit_has_its_own_connection(table: Database) -> None:
    go_on = asyncio.Event()

    async def later() -> None:
        await go_on.wait()
        await put(table, 2)

    async with table.unit():
        task = asyncio.create_task(later())
    go_on.set()
    await task
    assert await seen(table) == [2]


async def test_after_commit_outside_a_unit(table: Database) -> None:
    told: list[int] = []
    after_commit(lambda: told.append(0))
    assert told == [0]
    async with table.transaction() as connection:
        await connection.execute("insert into t values (1)")
        after_commit(lambda: told.append(1))
        assert told == [0]
    assert told == [0, 1]
    with pytest.raises(ZeroDivisionError):
        await put(table, 2, told, fail=True)
    assert told == [0, 1]


async def test_another_database_is_another_transaction(table: Database, database_url: str) -> None:
    other = Database(database_url, max_size=1)
    await other.start()
    with suppress(ZeroDivisionError):
        async with table.unit():
            await put(table, 1)
            await put(other, 2)
            raise ZeroDivisionError
    await other.close()
    assert await seen(table) == [2]


async def test_what_follows_a_commit_may_fail_alone(table: Database, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []
    with caplog.at_level(logging.ERROR):
        async with table.unit():
            after_commit(lambda: told.append(1 // 0))
            await put(table, 1, told)
    assert (await seen(table), told) == ([1], [1])
    assert "what was to follow a commit failed" in caplog.text
