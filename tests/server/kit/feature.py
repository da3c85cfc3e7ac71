"""A small feature, declared the way features are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.kit.auth import Caller
from server.kit.http import (
    Access,
    Call,
    Page,
    PageQuery,
    Problem,
    Routes,
    decode_cursor,
    encode_cursor,
    install,
    runner,
)
from server.kit.ids import uuid7
from server.kit.problems import BadCursor, Conflict, Unauthorized
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database

Client = TestClient[web.Request, web.Application]

ADA = Caller(uuid7(), "ada", frozenset(), uuid7())
ROOT = Caller(uuid7(), "root", frozenset({"admin"}), uuid7(), permissions=frozenset({"things.clear"}))


class Taken(Conflict):
    """Somebody was quicker."""

    code = "taken"
    title = "It is taken"


class Teapot(Problem):
    status = 418
    code = "teapot"
    title = "I am a teapot"


class DatabaseGone(Exception):
    pass


class Inner(msgspec.Struct):
    numbers: list[int] = []


class ThingBody(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=10)]
    size: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    inner: Inner | None = None


class Thing(msgspec.Struct):
    id: UUID
    title: str


class Optional(msgspec.Struct):
    force: bool = False


class Search(PageQuery, frozen=True, kw_only=True):
    text: str = ""
    exact: bool = False
    before: datetime | None = None


class Authenticator:
    async def authenticate(self, token: str) -> Caller:
        match token:
            case "ada":
                return ADA
            case "root":
                return ROOT
            case "broken":
                raise RuntimeError("a bug")
        raise Unauthorized("That is no token.")


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((method, route, status))


def routes() -> Routes:
    api = Routes("things", "Things, for tests.")
    things = [Thing(uuid7(), f"t{number}") for number in range(25)]

    @api.post(
        "/api/v1/things",
        status=201,
        access=Access.USER,
        errors=(Taken, Teapot),
        summary="Make a thing",
        example_body=ThingBody(title="a thing"),
    )
    async def make(call: Call, body: ThingBody) -> Thing:
        if body.title == "taken":
            raise Taken("Choose another.", suggestion="taken2")
        call.set_cookie("seen", "1", max_age=60)
        call.headers["Location"] = "/api/v1/things/1"
        return Thing(uuid7(), body.title)

    @api.get("/api/v1/things/{id}", access=Access.ANYONE, etag=True)
    async def show(call: Call, id: UUID) -> Thing:
        return Thing(id, call.caller.username if call.caller else "")

    @api.get("/api/v1/things", access=Access.ANYONE, errors=(BadCursor,))
    async def listing(call: Call, query: Search) -> Page[Thing]:
        after = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        rows = [thing for thing in things if (after is None or thing.id > after) and query.text in thing.title]
        return Page.cut(rows[: query.limit + 1], query.limit, lambda row: (row.id,), lambda row: row)

    @api.put("/api/v1/things/{id}/{number}/{name}", access=Access.ANYONE)
    async def change(call: Call, id: UUID, number: int, name: str) -> dict[str, Any]:
        return {"number": number, "name": name, "address": call.address, "agent": call.user_agent}

    @api.delete("/api/v1/things", access=Access.USER, permission="things.clear")
    async def clear(call: Call) -> None:
        """Remove all things."""

    @api.post("/api/v1/things/optional", access=Access.OPEN)
    async def optional(call: Call, body: Optional) -> Optional:
        return body

    @api.get("/api/v1/fail/{kind}", access=Access.OPEN)
    async def fail(call: Call, kind: str) -> None:
        match kind:
            case "bug":
                raise ZeroDivisionError("secret detail")
            case "timeout":
                raise TimeoutError
            case "database":
                raise DatabaseGone
            case "aiohttp":
                raise web.HTTPGone
            case "undecodable":
                raise Teapot("detail", extra=b"bytes")

    assert encode_cursor(things[0].id)
    return api


class _Server(TestServer):
    """Runs the application as the product does."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return runner(self.app, shutdown_timeout=5)


@asynccontextmanager
async def serve(observer: Recorder | None = None, **settings: Any) -> AsyncIterator[Client]:
    app = web.Application()

    async def media(request: web.Request) -> web.Response:
        if request.match_info["name"] == "bug":
            raise ZeroDivisionError
        if request.match_info["name"] == "none":
            raise web.HTTPNotFound
        return web.Response(body=b"bytes")

    async def page(request: web.Request) -> web.Response:
        if request.query_string == "bug":
            raise ZeroDivisionError
        if request.query_string == "away":
            raise web.HTTPFound("/elsewhere")
        return web.Response(text="<p>hello", content_type="text/html")

    app.router.add_get("/live/{name}", media)
    app.router.add_get("/", page)
    install(
        app,
        [routes()],
        authenticator=Authenticator(),
        settings=Settings(**settings),
        secrets=Secrets(Database("", max_size=1), "the secret of the tests' installation"),
        observer=observer,
        unavailable=(DatabaseGone,),
    )
    async with TestClient(_Server(app)) as client:
        yield client
