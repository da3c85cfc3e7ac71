"""Who is behind an id: looked up once for many lists, and never long out of date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from server.identity.people import People
from server.kit.ids import uuid7
from storage.postgres import Connection, Database


class Counting(Database):
    """The same database, which counts how often it is asked."""

    asked = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        self.asked += 1
        async with super().acquire() as connection:
            yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Counting]:
    started = Counting(database_url, max_size=2)
    await started.start()
    yield started
    await started.close()


@pytest.fixture
async def ada(database: Counting) -> UUID:
    id = uuid7()
    async with database.acquire() as connection:
        await connection.execute(
            "insert into users (id, username, display_name, email, email_key, password_hash, created_at)"
            " values ($1, 'ada', 'Ada', 'ada@example.org', 'ada@example.org', 'none', now())",
            id,
        )
    database.asked = 0
    return id


async def test_the_second_list_asks_nobody_until_the_memory_is_old(database: Counting, ada: UUID) -> None:
    moment = [0.0]
    people = People(database, seconds=2.0, clock=lambda: moment[0])
    assert (await people.get({ada}))[ada].username == "ada"
    assert (await people.get([ada]))[ada].username == "ada"
    assert database.asked == 1
    async with database.acquire() as connection:
        await connection.execute("update users set username = 'lovelace' where id = $1", ada)
    moment[0] = 2.5
    assert (await people.get({ada}))[ada].username == "lovelace"


async def test_what_changed_here_is_seen_at_once_and_who_is_gone_is_not_kept(database: Counting, ada: UUID) -> None:
    people = People(database)
    nobody = uuid7()
    assert set(await people.get({ada, nobody})) == {ada}
    async with database.acquire() as connection:
        await connection.execute("update users set username = 'lovelace' where id = $1", ada)
    people.forget(ada)
    assert (await people.get({ada}))[ada].username == "lovelace"
    assert await people.get(()) == {}


async def test_the_memory_is_bounded(database: Counting, ada: UUID) -> None:
    people = People(database, most=0)
    assert set(await people.get({ada})) == {ada}
    database.asked = 0
    await people.get({ada})
    assert database.asked == 1
