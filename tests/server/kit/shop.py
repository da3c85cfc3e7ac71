"""A small feature that writes: orders, one row each. For what is stored beside an effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.kit.auth import Caller, Origin
from server.kit.http import Access, Call, Page, PageQuery, Routes, decode_cursor, encode_cursor, install
from server.kit.ids import uuid7
from server.kit.problems import BadCursor, Conflict, Unauthorized
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database, after_commit

Client = TestClient[web.Request, web.Application]
SECRET = "the secret of the tests' installation"
TABLES = """
    create table if not exists orders (id uuid primary key, user_id uuid not null, title text not null,
        version integer not null default 1);
    create table if not exists failures (title text not null);
"""


class SoldOut(Conflict):
    code = "sold_out"


class OrderBody(msgspec.Struct, forbid_unknown_fields=True):
    title: Annotated[str, msgspec.Meta(max_length=50)]
    count: int = 1


class Order(msgspec.Struct):
    id: UUID
    title: str
    secret: str
    version: int = 1


class Audited:
    """The security log, in a list; it is written when its transaction has been."""

    def __init__(self) -> None:
        self.lines: list[tuple[UUID, str, Origin | None, UUID | None, dict[str, object]]] = []
        self.fails = False

    async def record(
        self,
        connection: Connection,
        user_id: UUID,
        event: str,
        origin: Origin | None = None,
        *,
        actor_id: UUID | None = None,
        **details: object,
    ) -> None:
        if self.fails:
            raise RuntimeError("the log cannot be written")
        assert connection.is_in_transaction()
        after_commit(lambda: self.lines.append((user_id, event, origin, actor_id, details)))


class Shop:
    def __init__(self, database: Database, audit: Audited) -> None:
        self.database = database
        self.audit = audit
        self.told: list[str] = []
        self.busy = asyncio.Event()  # set when a handler has written and waits
        self.go_on = asyncio.Event()
        self.callers: dict[str, Caller] = {}

    def caller(self, token: str, **more: Any) -> Caller:
        caller = Caller(uuid7(), token, frozenset(), uuid7(), **more)
        self.callers[token] = caller
        return caller

    async def authenticate(self, token: str) -> Caller:
        if token not in self.callers:
            raise Unauthorized
        return self.callers[token]

    async def order(self, caller: Caller, body: OrderBody) -> Order:
        id = uuid7()
        async with self.database.transaction() as connection:
            await connection.execute("insert into orders values ($1, $2, $3)", id, caller.user_id, body.title)
            after_commit(lambda: self.told.append(body.title))
        match body.title:
            case "slow":
                self.busy.set()
                await self.go_on.wait()
            case "sold out":
                async with self.database.transaction() as connection:
                    raise SoldOut("There are none left.")
            case "bug":
                raise ZeroDivisionError
        return Order(id, body.title, secret=f"shown once: {id}")

    def routes(self) -> Routes:
        api = Routes("shop")

        @api.post("/api/v1/orders", status=201, access=Access.USER, idempotent=True, errors=(SoldOut,))
        async def make(call: Call, body: OrderBody) -> Order:
            order = await self.order(call.user, body)
            call.headers["Location"] = f"/api/v1/orders/{order.id}"
            call.set_cookie("order", str(order.id))
            return order

        @api.post("/api/v1/orders/all/cancel", access=Access.USER, idempotent=True, audit="orders.cancelled")
        async def cancel(call: Call) -> None:
            async with self.database.transaction() as connection:
                gone = await connection.execute("delete from orders where user_id = $1", call.user.user_id)
            call.note(gone=gone)

        @api.post("/api/v1/failures", access=Access.USER, audit="something.done")
        async def fail(call: Call, body: OrderBody) -> None:
            async with self.database.transaction() as connection:
                await connection.execute("insert into failures values ($1)", body.title)
            if body.title == "refused":
                raise SoldOut("No.")
            call.note(about=UUID(int=7))

        @api.put("/api/v1/orders/{id}", access=Access.USER, if_match="required")
        async def edit(call: Call, id: UUID, body: OrderBody) -> Order:
            async with self.database.transaction() as connection:
                row = await connection.fetchrow("select * from orders where id = $1 for update", id)
                assert row is not None
                call.if_match.check(row["version"])
                await connection.execute(
                    "update orders set title = $2, version = version + 1 where id = $1", id, body.title
                )
            return Order(id, body.title, "", row["version"] + 1)

        @api.get("/api/v1/orders/{id}", access=Access.USER, etag=True)
        async def show(call: Call, id: UUID) -> Order:
            async with self.database.acquire() as connection:
                row = await connection.fetchrow("select * from orders where id = $1", id)
            assert row is not None
            return Order(id, row["title"], "", row["version"])

        @api.get("/api/v1/orders", access=Access.USER, errors=(BadCursor,))
        async def mine(call: Call, query: PageQuery) -> Page[Order]:
            return await self.page(query)

        @api.get("/api/v1/shops/{name}/orders", access=Access.ANYONE, errors=(BadCursor,))
        async def public(call: Call, name: str, query: PageQuery) -> Page[Order]:
            return await self.page(query)

        @api.post("/api/v1/sensitive", access=Access.USER, step_up=True)
        async def sensitive(call: Call) -> None:
            pass

        return api

    async def page(self, query: PageQuery) -> Page[Order]:
        after = decode_cursor(query.cursor, int)[0] if query.cursor else 0
        rows = [Order(UUID(int=number), str(number), "") for number in range(after + 1, 10)][: query.limit + 1]
        more = encode_cursor(rows[query.limit - 1].id.int) if len(rows) > query.limit else None
        return Page(items=rows[: query.limit], next_cursor=more)

    async def count(self, table: str = "orders") -> int:
        async with self.database.acquire() as connection:
            return int(await connection.fetchval(f"select count(*) from {table}"))


@asynccontextmanager
async def serve(shop: Shop, secret: str = SECRET, **settings: Any) -> AsyncIterator[Client]:
    async with shop.database.acquire() as connection:
        await connection.execute(TABLES)
    app = web.Application()
    install(
        app,
        [shop.routes()],
        authenticator=shop,
        settings=Settings(**settings),
        secrets=Secrets(shop.database, secret),
        database=shop.database,
        audit=shop.audit,
    )
    async with TestClient(TestServer(app)) as client:
        yield client


def headers(token: str = "ada", key: str = "", **more: str) -> dict[str, str]:
    given = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in more.items()}}
    return {**given, "Idempotency-Key": key} if key else given
