"""Accounts with second factors over HTTP, and the calls that these tests make most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyotp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.identity.factors import routes as factor_routes
from server.identity.factors.service import Factors
from server.identity.factors.totp import PERIOD
from server.identity.routes import routes
from server.identity.service import Identity
from server.kit.http import install
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database
from tests.fakes.authenticator import Authenticator
from tests.server.identity.stack import PASSWORD, SECRET, Client, Events, Mailbox, bearer, register

ORIGIN = "https://live.example.org"
RP_ID = "live.example.org"
API = "/api/v1/auth"

Body = dict[str, Any]


@dataclass
class Clock:
    """The time that codes are checked at, in the middle of a step."""

    step: int

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.step * PERIOD + PERIOD / 2, UTC)

    def code(self, secret: str, ahead: int = 0) -> str:
        return pyotp.HOTP(secret).at(self.step + ahead)

    def next_code(self, secret: str) -> str:
        """The code of the next step, which begins now."""
        self.step += 1
        return self.code(secret)


@asynccontextmanager
async def serve_factors(
    identity: Identity, database: Database, mailbox: Mailbox, events: Events, **settings: Any
) -> AsyncIterator[Client]:
    free = {"rate_limit_auth": "off", "rate_limit_refresh": "off", "rate_limit_write": "off"}
    given = Settings(**{**free, "public_url": ORIGIN, **settings})
    secrets = Secrets(database, SECRET)
    factors = Factors(database, given, identity, mailer=mailbox, audit=events, secrets=secrets)
    identity.use_factors(factors)

    def build() -> web.Application:
        app = web.Application()
        declared = [routes(identity, given), factor_routes.routes(factors, given)]
        install(app, declared, authenticator=identity, settings=given)
        return app

    app = await asyncio.to_thread(build)  # the document of all routes takes its time
    async with TestClient(TestServer(app)) as client:
        yield client


@dataclass
class Person:
    """Somebody signed in. secret: of the authenticator app; codes: for recovery."""

    client: Client
    name: str
    token: str
    id: str
    secret: str = ""
    codes: tuple[str, ...] = ()

    async def call(self, method: str, path: str, body: Body | None = None) -> tuple[int, Body]:
        json = {} if body is None and method in ("POST", "PATCH") else body
        answer = await self.client.request(method, API + path, json=json, headers=bearer(self.token))
        return answer.status, await answer.json() if answer.status != 204 else {}

    async def post(self, path: str, body: Body | None = None, status: int = 200) -> Body:
        got, answer = await self.call("POST", path, body)
        assert got == status, answer
        return answer

    async def begin(self, password: str = PASSWORD) -> Body:
        """Sign in by password; the problem that asks for the second factor."""
        status, body = await send(self.client, "/login", {"email": self.name, "password": password})
        assert (status, body["code"]) == (401, "second_factor_required"), body
        return body

    async def complete(self, **factor: Any) -> tuple[int, Body]:
        """Sign in by password and this factor."""
        begun = await self.begin()
        return await send(self.client, "/login/second-factor", {"challenge": begun["challenge"], **factor})

    async def with_totp(self, clock: Clock) -> Person:
        self.secret = (await self.post("/enable-2fa"))["secret"]
        self.codes = tuple(
            (await self.post("/enable-2fa/confirm", {"code": clock.next_code(self.secret)}))["recovery_codes"]
        )
        return self

    async def with_passkey(self, device: Authenticator, name: str | None = None) -> Body:
        options = await self.post("/passkeys/options")
        made = device.create(options["public_key"])
        return await self.post(
            "/passkeys", {"challenge": options["challenge"], "passkey": made, **({"name": name} if name else {})}, 201
        )


async def person(client: Client, name: str) -> Person:
    body = await register(client, name)
    return Person(client, name, body["access_token"], body["user"]["id"])


async def send(client: Client, path: str, body: Body, token: str = "") -> tuple[int, Body]:
    answer = await client.post(API + path, json=body, headers=bearer(token) if token else {})
    return answer.status, await answer.json()


async def by_passkey(client: Client, device: Authenticator) -> tuple[int, Body]:
    """Sign in with a passkey alone."""
    _, options = await send(client, "/login/passkey/options", {})
    given = device.get(options["public_key"])
    return await send(client, "/login/passkey", {"challenge": options["challenge"], "passkey": given})
