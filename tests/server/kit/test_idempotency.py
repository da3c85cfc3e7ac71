"""A request that is sent again is not done again: twins, other bodies, failures, crashes, over two processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.kit.http.idempotency import prune
from storage.postgres import Database
from tests.server.kit.shop import Audited, Client, Shop, headers, serve
from tests.support import eventually

ORDERS = "/api/v1/orders"


@pytest.fixture
def shop(database: Database) -> Shop:
    shop = Shop(database, Audited())
    shop.caller("ada")
    shop.caller("bob")
    return shop


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    async with serve(shop) as client:
        yield client


async def order(client: Client, key: str, title: str = "book", token: str = "ada", **more: Any) -> tuple[int, Any, Any]:
    async with client.post(ORDERS, json={"title": title, **more}, headers=headers(token, key)) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_the_same_request_gets_the_same_answer(client: Client, shop: Shop) -> None:
    status, first, given = await order(client, "k1")
    assert (status, "Idempotency-Replayed" in given) == (201, False)
    status, again, repeated = await order(client, "k1")
    assert (status, again, repeated["Idempotency-Replayed"]) == (201, first, "true")
    assert repeated["Location"] == given["Location"]
    assert repeated["Set-Cookie"] == given["Set-Cookie"]
    assert repeated["X-Request-ID"] != given["X-Request-ID"]
    assert (await shop.count(), shop.told) == (1, ["book"])
    # a quoted key is the same (a string as of RFC 9651); the order of a body's members says nothing
    quoted = {**headers("ada", '"k1"'), "Content-Type": "application/json"}
    async with client.post(ORDERS, data='{"count": 1, "title": "book"}', headers=quoted) as answer:
        assert (await answer.json(), await shop.count()) == (first, 1)


async def test_without_a_key_each_request_is_done(client: Client, shop: Shop) -> None:
    for _ in range(2):
        async with client.post(ORDERS, json={"title": "book"}, headers=headers()) as answer:
            assert answer.status == 201
    assert await shop.count() == 2


async def test_a_key_belongs_to_one_request_of_one_caller(client: Client, shop: Shop) -> None:
    await order(client, "k1")
    status, problem, _ = await order(client, "k1", "another book")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    async with client.post(ORDERS + "?x=1", json={"title": "book"}, headers=headers("ada", "k1")) as answer:
        assert answer.status == 422
    async with client.post(ORDERS + "/all/cancel", headers=headers("ada", "k1")) as answer:
        assert answer.status == 422
    assert await shop.count() == 1
    status, _, given = await order(client, "k1", token="bob")
    assert (status, "Idempotency-Replayed" in given, await shop.count()) == (201, False, 2)


@pytest.mark.parametrize("key", ["", '""', "a" * 129, '"open', "ä", 'a"b', "a b"])
async def test_what_is_no_key(client: Client, shop: Shop, key: str) -> None:
    async with client.post(ORDERS, json={"title": "book"}, headers={**headers(), "Idempotency-Key": key}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "bad_idempotency_key")
    assert await shop.count() == 0


async def test_a_twin_waits_and_gets_the_same(client: Client, shop: Shop) -> None:
    first = asyncio.create_task(order(client, "k1", "slow"))
    await shop.busy.wait()
    twins = [asyncio.create_task(order(client, "k1", "slow")) for _ in range(12)]
    # those that wait hold no connection: there are eight, and others are served
    status, _, _ = await order(client, "k2")
    assert (status, [twin.done() for twin in twins]) == (201, [False] * 12)
    shop.go_on.set()
    body = (await first)[1]
    assert all(twin[:2] == (201, body) for twin in await asyncio.gather(*twins))
    assert (await shop.count(), shop.told) == (2, ["book", "slow"])


async def test_a_twin_on_another_node_waits_for_the_row(client: Client, shop: Shop) -> None:
    elsewhere = Shop(shop.database, Audited())
    elsewhere.callers = shop.callers
    async with serve(elsewhere) as other:
        first = asyncio.create_task(order(client, "k1", "slow"))
        await shop.busy.wait()
        twin = asyncio.create_task(order(other, "k1", "slow"))

        async def waits() -> bool:
            async with shop.database.acquire() as connection:
                return bool(await connection.fetchval("select true from pg_locks where not granted limit 1"))

        await eventually(waits, what="the twin waits at the row")
        shop.go_on.set()
        status, body, given = await twin
        assert (status, body, given["Idempotency-Replayed"]) == (201, (await first)[1], "true")
        assert (await shop.count(), elsewhere.told) == (1, [])


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_twin_does_not_wait_forever(shop: Shop, elsewhere: bool) -> None:
    async with serve(shop, idempotency_wait_seconds=0.2) as client, serve(shop, idempotency_wait_seconds=0.2) as other:
        first = asyncio.create_task(order(client, "k1", "slow"))
        await shop.busy.wait()
        status, problem, given = await order(other if elsewhere else client, "k1", "slow")
        assert (status, problem["code"], given["Retry-After"]) == (409, "idempotency_in_progress", "1")
        shop.go_on.set()
        assert (await first)[0] == 201
        assert (await order(other, "k1", "slow"))[2]["Idempotency-Replayed"] == "true"
    assert await shop.count() == 1


@pytest.mark.parametrize(("title", "status"), [("sold out", 409), ("bug", 500)])
async def test_what_failed_is_not_remembered(client: Client, shop: Shop, title: str, status: int) -> None:
    assert (await order(client, "k1", title))[0] == status
    assert await shop.count("idempotency_keys") == 0
    # what a handler had completed before it refused stays, as without a key; a bug undoes everything
    assert await shop.count() == (1 if status == 409 else 0)
    assert len(shop.told) == await shop.count()
    assert (await order(client, "k1"))[0] == 201


async def test_nothing_of_the_answer_is_readable_in_the_table(client: Client, shop: Shop) -> None:
    _, body, _ = await order(client, "k1")
    async with shop.database.acquire() as connection:
        row = await connection.fetchrow("select * from idempotency_keys")
    assert row is not None
    assert row["status"] == 201
    for text in ("shown once", body["id"], "book", "Location"):
        assert text.encode() not in row["answer"] + row["fingerprint"]


async def test_keys_expire(shop: Shop) -> None:
    async with serve(shop, idempotency_hours=0.0) as client:
        await order(client, "k1")
        assert "Idempotency-Replayed" not in (await order(client, "k1"))[2]
        assert (await shop.count(), await shop.count("idempotency_keys")) == (2, 1)
    async with serve(shop) as client:
        await order(client, "k2")
    assert await prune(shop.database) == 1
    assert await shop.count("idempotency_keys") == 1
    assert await prune(shop.database) == 0


async def test_a_key_works_after_a_restart_and_on_a_route_without_content(shop: Shop) -> None:
    async with serve(shop) as client:
        await order(client, "k1")
        async with client.post(ORDERS + "/all/cancel", headers=headers("ada", "k2")) as answer:
            assert (answer.status, await answer.read()) == (204, b"")
    async with serve(shop) as client:
        assert (await order(client, "k1"))[2]["Idempotency-Replayed"] == "true"
        async with client.post(ORDERS + "/all/cancel", headers=headers("ada", "k2")) as answer:
            assert (answer.status, answer.headers["Idempotency-Replayed"]) == (204, "true")
    assert [line[1] for line in shop.audit.lines] == ["orders.cancelled"]


async def test_a_caller_who_lost_the_right_gets_no_old_answer(client: Client, shop: Shop) -> None:
    await order(client, "k1")
    del shop.callers["ada"]
    assert (await order(client, "k1"))[0] == 401
