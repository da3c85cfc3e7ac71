"""API keys around a real Identity, with routes that they open and routes that they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.identity import routes as accounts
from server.identity.apikeys.routes import routes, scopes_of
from server.identity.apikeys.service import Keys
from server.identity.service import Identity
from server.kit.http import Access, Call, Routes, install
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import SECRET, Client, Events, Mailbox, bearer, register


class Echo(msgspec.Struct):
    user_id: UUID
    roles: list[str]
    permissions: list[str]
    tier: str
    by_key: bool
    proven_at: float


def feature() -> Routes:
    api = Routes(tag="thing", description="Things.")

    @api.get("/api/v1/thing", access=Access.ANYONE, summary="Read")
    async def read(call: Call) -> Echo:
        user = call.user
        return Echo(user.user_id, sorted(user.roles), sorted(user.permissions), user.tier, user.by_key, user.proven_at)

    @api.post("/api/v1/thing", access=Access.USER, status=204, summary="Write")
    async def write() -> None:
        return None

    @api.delete("/api/v1/thing", access=Access.USER, step_up=True, summary="Sensitive")
    async def sensitive() -> None:
        return None

    @api.put("/api/v1/thing", access=Access.USER, permission="audit.read", status=204, summary="Staff")
    async def staff() -> None:
        return None

    return api


@dataclass
class Node:
    """One process: its Identity, its keys, its HTTP."""

    identity: Identity
    keys: Keys
    client: Client

    async def call(self, method: str, path: str, token: str, expect: int, json: Any = None) -> Any:
        answer = await self.client.request(method, f"/api/v1{path}", headers=bearer(token), json=json)
        body = await answer.json() if answer.content_length else None
        assert answer.status == expect, body
        return body

    async def make(self, token: str, *scopes: str, expect: int = 201, **fields: Any) -> Any:
        return await self.call(
            "POST", "/keys", token, expect, {"name": "overlay", "scopes": list(scopes or ["thing:read"]), **fields}
        )


MakeNode = Callable[[], Awaitable[Node]]


@pytest.fixture
async def make_node(
    database: Database, make_identity: MakeIdentity, mailbox: Mailbox, events: Events
) -> AsyncIterator[MakeNode]:
    closing: list[Callable[[], Awaitable[None]]] = []

    async def make() -> Node:
        identity = await make_identity()
        keys = Keys(database, mailer=mailbox, audit=events, most=3, revoke=identity.revoke)
        await keys.start()
        closing.append(keys.close)
        identity.use_keys(keys)
        settings = Settings(rate_limit_auth="1000/minute")
        declared = [accounts.routes(identity, settings), routes(keys), feature()]
        keys.offer(scopes_of(declared))
        app = web.Application()
        sealing = Secrets(database, SECRET)
        await sealing.start()
        # in a thread, as a process builds its document before it serves
        await asyncio.to_thread(
            install, app, declared, authenticator=identity, settings=settings, secrets=sealing, database=database
        )
        client = TestClient(TestServer(app))
        await client.start_server()
        closing.append(client.close)
        return Node(identity, keys, client)

    yield make
    for close in reversed(closing):
        await close()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()


@dataclass
class Person:
    id: UUID
    token: str


@pytest.fixture
async def ada(node: Node, database: Database) -> Person:
    return await person(node, database, "ada")


async def person(node: Node, database: Database, name: str, roles: list[str] | None = None) -> Person:
    """With a verified address."""
    signed_in = await register(node.client, name)
    async with database.acquire() as connection:
        await connection.execute(
            "update users set email_verified_at = now(), roles = $2 where username = $1", name, roles or []
        )
    return Person(UUID(signed_in["user"]["id"]), signed_in["access_token"])


__all__ = ["MakeNode", "Node", "Person", "person"]
