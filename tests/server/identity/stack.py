"""The whole stack of HTTP around an Identity, and the calls that tests make most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.identity.passwords import Cost
from server.identity.routes import routes
from server.identity.service import Identity
from server.kit.http import install
from server.settings import Settings

QUICK = Cost(passes=1, memory=64)
PASSWORD = "correct horse battery"

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serve(identity: Identity, **settings: Any) -> AsyncIterator[Client]:
    given = Settings(**{"auth_attempts_per_minute": 1000, **settings})
    app = web.Application()
    install(app, [routes(identity, given)], authenticator=identity, settings=given)
    async with TestClient(TestServer(app)) as client:
        yield client


async def register(client: Client, username: str, email: str = "", password: str = PASSWORD) -> dict[str, Any]:
    answer = await client.post(
        "/api/v1/auth/register",
        json={"username": username, "email": email or f"{username}@example.org", "password": password},
    )
    body: dict[str, Any] = await answer.json()
    assert answer.status == 201, body
    return body


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
