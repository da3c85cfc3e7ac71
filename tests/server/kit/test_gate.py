"""Rate limits and sizes of bodies, as callers of declared routes meet them."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.kit.auth import Caller
from server.kit.http import Access, Call, Routes, install
from server.kit.ids import uuid7
from server.kit.limits import Limits
from server.kit.problems import NotFound, Unauthorized
from server.settings import Settings
from tests.servers.redis import RedisServer

Client = TestClient[web.Request, web.Application]
Answer = tuple[int, str | None, str | None]

ADA = Caller(uuid7(), "ada", frozenset(), uuid7())
CALLERS = {
    "ada": ADA,
    "ada elsewhere": replace(ADA, session_id=uuid7()),
    "ada's key": replace(ADA, session_id=uuid7(), scopes=frozenset({"things:read", "things:write"})),
    "bob": replace(ADA, user_id=uuid7(), username="bob"),
    **{tier: replace(ADA, user_id=uuid7(), tier=tier) for tier in ("free", "basic", "pro", "enterprise", "unheard of")},
}


class Authenticator:
    async def authenticate(self, token: str) -> Caller:
        try:
            return CALLERS[token]
        except KeyError:
            raise Unauthorized("That is no token.") from None


class Text(msgspec.Struct):
    text: str = ""


def routes() -> Routes:
    api = Routes("things")

    @api.get("/read", access=Access.ANYONE)
    async def read(call: Call) -> dict[str, str]:
        return {}

    @api.get("/read/too", access=Access.USER)
    async def read_too(call: Call) -> None:
        raise NotFound("There is nothing.")

    @api.post("/write", access=Access.ANYONE)
    async def write(call: Call, body: Text) -> None: ...

    @api.post("/auth", access=Access.OPEN, limits="auth")
    async def auth(call: Call, body: Text) -> None: ...

    @api.post("/refresh", access=Access.OPEN, limits="refresh")
    async def refresh(call: Call, body: Text) -> None: ...

    @api.put("/upload", access=Access.ANYONE, limits="upload")
    async def upload(call: Call) -> dict[str, int]:
        return {"bytes": len(await call.read_bytes())}

    @api.get("/none", access=Access.ANYONE, limits="none")
    async def none(call: Call) -> None: ...

    return api


@asynccontextmanager
async def serve(limits: Limits | None = None, **settings: Any) -> AsyncIterator[Client]:
    app = web.Application()

    async def media(request: web.Request) -> web.Response:
        return web.Response(body=b"bytes")

    app.router.add_get("/live/{name}", media)
    app.router.add_get("/", media)
    install(app, [routes()], authenticator=Authenticator(), settings=Settings(**settings), limits=limits)
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(client: Client, path: str, token: str | None = None, address: str | None = None) -> Answer:
    """Status, RateLimit, RateLimit-Policy."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if address:
        headers["X-Forwarded-For"] = address
    method = {"/write": "POST", "/auth": "POST", "/refresh": "POST", "/upload": "PUT"}.get(path, "GET")
    async with client.request(method, path, headers=headers) as answer:
        return answer.status, answer.headers.get("RateLimit"), answer.headers.get("RateLimit-Policy")


async def statuses(client: Client, path: str, token: str | None = None, *, times: int, **more: Any) -> list[int]:
    return [(await ask(client, path, token, **more))[0] for _ in range(times)]


async def test_what_is_left_is_told_and_then_refused() -> None:
    async with serve(Limits(clock=lambda: 1), rate_limit_read="3/minute") as client:
        assert await ask(client, "/read") == (200, '"read";r=2;t=20', '"read";q=3;w=60')
        assert await ask(client, "/read") == (200, '"read";r=1;t=40', '"read";q=3;w=60')
        assert await ask(client, "/read") == (200, '"read";r=0;t=20', '"read";q=3;w=60')
        async with client.get("/read") as answer:
            body = await answer.json()
            assert (answer.status, body["code"]) == (429, "too_many_requests")
            assert answer.content_type == "application/problem+json"
            assert answer.headers["Retry-After"] == "20"
            assert answer.headers["RateLimit"] == '"read";r=0;t=20'
            assert answer.headers["RateLimit-Policy"] == '"read";q=3;w=60'
            assert body["retry_after"] == 20
            assert "your address" in body["detail"]


async def test_problems_tell_it_too() -> None:
    async with serve(Limits(clock=lambda: 1), rate_limit_read="3/minute") as client:
        assert await ask(client, "/read/too", "ada") == (404, '"read";r=2;t=20', '"read";q=3;w=60')
        assert await ask(client, "/read/too") == (401, '"read";r=2;t=20', '"read";q=3;w=60')


@pytest.mark.parametrize("name", ["read", "write", "auth", "refresh", "upload"])
async def test_every_class_has_its_setting_and_its_default(name: str) -> None:
    async with serve() as client:
        status, left, policy = await ask(client, f"/{name}")
        assert status in (200, 204)
        assert left is not None
        assert re.fullmatch(f'"{name}";r=\\d+;t=\\d+', left)
        default = getattr(Settings(), f"rate_limit_{name}")
        amount = re.search(r"^(?:anonymous=)?(\d+)/minute", default)
        assert amount is not None
        assert policy == f'"{name}";q={amount[1]};w=60'
    async with serve(**{f"rate_limit_{name}": "2/hour"}) as client:
        assert await statuses(client, f"/{name}", times=3) == [status, status, 429]
        assert (await ask(client, f"/{name}"))[2] == f'"{name}";q=2;w=3600'


async def test_tiers_have_rates_of_their_own() -> None:
    rates = "anonymous=1/minute, free=2/minute, basic=3/minute, pro=4/minute, enterprise=off"
    async with serve(rate_limit_write=rates) as client:
        assert await statuses(client, "/write", times=2) == [204, 429]
        assert await statuses(client, "/write", "free", times=3) == [204, 204, 429]
        assert await statuses(client, "/write", "unheard of", times=3) == [204, 204, 429]
        assert await statuses(client, "/write", "basic", times=4) == [204, 204, 204, 429]
        assert await statuses(client, "/write", "pro", times=5) == [204, 204, 204, 204, 429]
        assert [await ask(client, "/write", "enterprise") for _ in range(10)] == [(204, None, None)] * 10


async def test_a_person_counts_once_wherever_he_comes_from_and_with_whatever() -> None:
    """Other sessions, API keys and addresses are no way around, and others at the same address are not touched."""
    async with serve(rate_limit_read="3/minute", trusted_proxies="127.0.0.1") as client:
        tried = [
            ("ada", "192.0.2.1"),
            ("ada elsewhere", "192.0.2.2"),
            ("ada's key", "2001:db8::1"),
            ("ada", "192.0.2.4"),
        ]
        assert [(await ask(client, "/read", token, address))[0] for token, address in tried] == [200, 200, 200, 429]
        assert (await ask(client, "/read", "ada's key", "192.0.2.9"))[0] == 429
        assert (await ask(client, "/read", "bob", "192.0.2.1"))[0] == 200
        assert (await ask(client, "/read", None, "192.0.2.1"))[0] == 200


async def test_without_a_token_an_address_counts() -> None:
    async with serve(rate_limit_read="2/minute", trusted_proxies="127.0.0.1") as client:
        assert await statuses(client, "/read", times=3, address="192.0.2.1") == [200, 200, 429]
        assert await statuses(client, "/read", times=3, address="192.0.2.2") == [200, 200, 429]
        networks = ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::3", "2001:db8:1:3::1"]
        assert [(await ask(client, "/read", None, address))[0] for address in networks] == [200, 200, 429, 200]


async def test_an_address_that_is_only_claimed_is_not_believed() -> None:
    async with serve(rate_limit_read="2/minute") as client:
        claimed = [(await ask(client, "/read", None, f"192.0.2.{number}"))[0] for number in range(4)]
        assert claimed == [200, 200, 429, 429]


async def test_a_token_gives_no_second_allowance_where_none_is_looked_at() -> None:
    async with serve(rate_limit_auth="2/minute") as client:
        tokens = ["ada", "bob", "made up", None]
        assert [(await ask(client, "/auth", token))[0] for token in tokens] == [204, 204, 429, 429]


async def test_who_tries_tokens_is_counted_and_hinders_nobody_else() -> None:
    async with serve(rate_limit_read="anonymous=3/minute, free=3/minute") as client:
        assert await statuses(client, "/read", "made up", times=4) == [401, 401, 401, 429]
        assert await statuses(client, "/read/too", times=1) == [429]
        assert (await ask(client, "/read", "ada"))[0] == 200


async def test_classes_count_apart_and_routes_of_one_together() -> None:
    async with serve(rate_limit_read="2/minute", rate_limit_write="2/minute") as client:
        assert [(await ask(client, path, "ada"))[0] for path in ("/read", "/read/too", "/read")] == [200, 404, 429]
        assert await statuses(client, "/write", "ada", times=3) == [204, 204, 429]


async def test_what_is_not_limited() -> None:
    one = "1/day"
    limits = {f"rate_limit_{name}": one for name in ("read", "write", "auth", "refresh", "upload")}
    async with serve(**limits) as client:
        for path, status in (("/none", 204), ("/live/x", 200), ("/", 200), ("/openapi.json", 200), ("/nowhere", 404)):
            assert [await ask(client, path) for _ in range(5)] == [(status, None, None)] * 5


async def test_preflights_are_not_counted() -> None:
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "GET"}
    async with serve(rate_limit_read="1/day", cors_origins="https://app.example.org") as client:
        for _ in range(3):
            async with client.options("/read", headers=asked) as answer:
                assert answer.status == 204
        async with client.get("/read", headers={"Origin": "https://app.example.org"}) as answer:
            assert answer.status == 200
            assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]


async def test_processes_of_a_fleet_count_together(redis_server: RedisServer) -> None:
    if redis_server.process is None:
        redis_server.start()
    prefix = str(uuid.uuid4())
    one, two = (Limits(redis_server.url, prefix=prefix, answer_seconds=10) for _ in range(2))
    one.start()
    two.start()
    async with serve(one, rate_limit_auth="3/hour") as here, serve(two, rate_limit_auth="3/hour") as there:
        answers = [await ask(client, "/auth") for client in (here, there, here, there, here)]
        assert [status for status, _, _ in answers] == [204, 204, 204, 429, 429]
        assert [str(left).partition(";t=")[0] for _, left, _ in answers] == [f'"auth";r={r}' for r in (2, 1, 0, 0, 0)]
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("path", "setting"),
    [("/write", "max_body"), ("/auth", "max_body_auth"), ("/refresh", "max_body_auth"), ("/upload", "max_body_upload")],
)
async def test_bodies_are_as_large_as_their_class_allows(path: str, setting: str) -> None:
    others = {"max_body": 10, "max_body_auth": 10, "max_body_upload": 10}
    method = "PUT" if path == "/upload" else "POST"
    for body, status in ((b'{"text":""}' + b" " * 89, None), (b'{"text":""}' + b" " * 90, 413)):
        async with serve(**{**others, setting: 100}) as client:
            for data in (body, _pieces(body)):  # its length told beforehand, and not
                headers = {"Content-Type": "application/json"}
                async with client.request(method, path, data=data, headers=headers) as answer:
                    assert answer.status == (status or (200 if path == "/upload" else 204))
                    if status:
                        assert (await answer.json())["limit"] == 100


@pytest.mark.parametrize(
    ("path", "setting"),
    [("/write", "body_timeout"), ("/auth", "body_timeout_auth"), ("/upload", "body_timeout_upload")],
)
async def test_bodies_take_as_long_as_their_class_allows(path: str, setting: str) -> None:
    others = {"body_timeout": 60.0, "body_timeout_auth": 60.0, "body_timeout_upload": 60.0}
    method = "PUT" if path == "/upload" else "POST"

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async with serve(**{**others, setting: 0.1}) as client:
        headers = {"Content-Type": "application/json"}
        async with client.request(method, path, data=drip(), headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (408, "request_timeout")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 7):
        yield body[start : start + 7]


def test_a_route_of_a_class_that_is_none() -> None:
    api = Routes("things")

    @api.get("/x", access=Access.OPEN, limits="sometimes")
    async def x(call: Call) -> None: ...

    with pytest.raises(TypeError, match="limits='sometimes' is none of read, write"):
        install(web.Application(), [api], authenticator=Authenticator(), settings=Settings())
