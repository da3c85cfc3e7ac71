"""The list of sessions, and their end: for tokens, for other processes, and for open sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, web
from aiohttp.test_utils import TestClient, TestServer

from realtime.broker.memory import MemoryBroker
from realtime.hub import Hub
from realtime.presence.memory import MemoryPresence
from realtime.socket import Sockets
from server.identity import signin
from server.identity.service import Identity
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import PASSWORD, Client, Events, bearer, post, register, serve

FIREFOX = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"}


async def listed(client: Client, token: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/auth/sessions", headers=bearer(token))
    assert answer.status == 200
    return list((await answer.json())["items"])


async def signed_in(client: Client, token: str) -> bool:
    return (await client.get("/api/v1/auth/profile", headers=bearer(token))).status == 200


async def test_the_list(client: Client) -> None:
    first = await register(client, "ada")
    _, second = await post(client, "login", FIREFOX, email="ada", password=PASSWORD)
    await register(client, "bob")
    now, before = await listed(client, second["access_token"])
    assert (now["current"], now["device"], now["methods"]) == (True, "Firefox on Windows", ["pwd"])
    assert (before["current"], now["address"]) == (False, "127.0.0.1")
    await post(client, "refresh", refresh_token=first["refresh_token"])
    assert [item["id"] for item in await listed(client, second["access_token"])] == [before["id"], now["id"]]


async def test_one_is_ended(client: Client, events: Events) -> None:
    first = await register(client, "ada")
    _, second = await post(client, "login", email="ada", password=PASSWORD)
    old = next(item["id"] for item in await listed(client, second["access_token"]) if not item["current"])
    address = f"/api/v1/auth/sessions/{old}"
    assert (await client.delete(address, headers=bearer(second["access_token"]))).status == 204
    assert not await signed_in(client, first["access_token"])
    assert (await post(client, "refresh", refresh_token=first["refresh_token"]))[0] == 401
    assert await signed_in(client, second["access_token"])
    assert "session.revoked" in events.of(first["user"]["id"])
    again = await client.delete(address, headers=bearer(second["access_token"]))
    assert (again.status, (await again.json())["code"]) == (404, "no_such_session")


async def test_somebody_elses_session_is_not_there(client: Client) -> None:
    ada, eve = await register(client, "ada"), await register(client, "eve")
    (session,) = await listed(client, ada["access_token"])
    answer = await client.delete(f"/api/v1/auth/sessions/{session['id']}", headers=bearer(eve["access_token"]))
    assert (answer.status, (await answer.json())["code"]) == (404, "no_such_session")
    assert await signed_in(client, ada["access_token"])


async def test_all_others_or_all(client: Client) -> None:
    first = await register(client, "ada")
    _, second = await post(client, "login", email="ada", password=PASSWORD)
    bob = await register(client, "bob")
    assert (await client.delete("/api/v1/auth/sessions", headers=bearer(second["access_token"]))).status == 204
    assert not await signed_in(client, first["access_token"])
    assert await signed_in(client, second["access_token"])
    everywhere = "/api/v1/auth/sessions?include_current=true"
    assert (await client.delete(everywhere, headers=bearer(second["access_token"]))).status == 204
    assert not await signed_in(client, second["access_token"])
    assert await signed_in(client, bob["access_token"])


@asynccontextmanager
async def sockets_of(identity: Identity) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """The sockets of one process, wired as the composition root does."""
    hub = Hub(MemoryBroker(), MemoryPresence(15.0), node="a")
    sockets = Sockets(hub, identity, viewer_of=lambda request: "viewer")
    await hub.start()
    await sockets.start()
    identity.on_ended(
        lambda ended: sockets.doubt(lambda who: who.user_id in ended or getattr(who, "session_id", None) in ended)
    )
    app = web.Application()
    app.router.add_get("/ws", sockets.handle)
    async with TestClient(TestServer(app)) as client:
        yield client
        await sockets.close(patience=1)
    await hub.close()


async def socket(client: TestClient[web.Request, web.Application], token: str) -> ClientWebSocketResponse:
    opened = await client.ws_connect("/ws", protocols=("socialflow.v1.json", f"token.{token}"))
    welcome = await opened.receive_json()
    assert welcome["user"] is not None
    return opened


async def test_an_open_socket_of_another_process_learns_it_within_two_seconds(make_identity: MakeIdentity) -> None:
    here, there = await make_identity(), await make_identity()
    async with serve(here) as client, sockets_of(there) as elsewhere:
        ada, bob = await register(client, "ada"), await register(client, "bob")
        of_ada, of_bob = await socket(elsewhere, ada["access_token"]), await socket(elsewhere, bob["access_token"])
        everywhere = "/api/v1/auth/sessions?include_current=true"
        async with asyncio.timeout(2):
            assert (await client.delete(everywhere, headers=bearer(ada["access_token"]))).status == 204
            notice = await of_ada.receive_json()
        assert notice["code"] == "token_expired"
        await of_bob.send_json({"type": "ping", "id": 1})
        assert (await of_bob.receive_json())["type"] == "ack", "nobody else is disturbed"


async def test_reuse_is_told_to_the_socket_and_the_owner(make_identity: MakeIdentity, events: Events) -> None:
    identity = await make_identity()
    async with serve(identity) as client, sockets_of(identity) as sockets:
        first = await register(client, "ada")
        opened = await socket(sockets, first["access_token"])
        _, second = await post(client, "refresh", refresh_token=first["refresh_token"])
        await post(client, "refresh", refresh_token=second["refresh_token"])
        async with asyncio.timeout(2):
            status, body = await post(client, "refresh", refresh_token=first["refresh_token"])
            assert (status, body["code"]) == (401, "refresh_token_reused")
            assert (await opened.receive_json())["code"] == "token_expired"
        assert "session.reused" in events.of(first["user"]["id"])


async def test_an_account_has_so_many_sessions(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that signs in for each of its requests fills no table; what ends is what was used longest ago."""
    monkeypatch.setattr(signin, "SESSIONS", 3)
    tokens = [(await register(client, "ada"))["access_token"]]
    for _ in range(4):
        tokens.append((await post(client, "login", email="ada", password=PASSWORD))[1]["access_token"])
    answers = [(await client.get("/api/v1/auth/profile", headers=bearer(token))).status for token in tokens]
    assert answers == [401, 401, 200, 200, 200]
