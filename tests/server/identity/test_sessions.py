"""Refresh tokens, logging out, and what other processes learn of it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from server.identity import sessions
from server.kit.problems import Unauthorized
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import Client, bearer, register, serve


async def refresh(client: Client, token: str) -> tuple[int, dict[str, Any]]:
    answer = await client.post("/api/v1/auth/refresh", json={"refresh_token": token})
    return answer.status, await answer.json()


async def profile(client: Client, token: str) -> int:
    return (await client.get("/api/v1/auth/profile", headers=bearer(token))).status


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GRACE", timedelta(0))


async def test_a_refresh_token_is_replaced(client: Client) -> None:
    first = await register(client, "ada")
    status, second = await refresh(client, first["refresh_token"])
    assert status == 200
    assert second["user"] == first["user"]
    assert second["refresh_token"] != first["refresh_token"]
    assert await profile(client, second["access_token"]) == 200
    assert (await refresh(client, second["refresh_token"]))[0] == 200


@pytest.mark.usefixtures("no_grace")
async def test_reuse_ends_the_whole_family(client: Client) -> None:
    first = await register(client, "ada")
    other_device = (
        await (
            await client.post("/api/v1/auth/login", json={"email": "ada", "password": "correct horse battery"})
        ).json()
    )["refresh_token"]
    _, second = await refresh(client, first["refresh_token"])
    _, third = await refresh(client, second["refresh_token"])
    status, body = await refresh(client, first["refresh_token"])
    assert (status, body["code"]) == (401, "refresh_token_reused")
    for token in (first, second, third):
        status, body = await refresh(client, token["refresh_token"])
        assert (status, body["code"]) == (401, "bad_refresh_token")
        assert await profile(client, token["access_token"]) == 401
    assert (await refresh(client, other_device))[0] == 200


async def test_a_lost_answer_is_given_again_and_voids_the_lost_one(client: Client) -> None:
    first = await register(client, "ada")
    _, lost = await refresh(client, first["refresh_token"])
    status, again = await refresh(client, first["refresh_token"])
    assert status == 200
    status, next_ = await refresh(client, again["refresh_token"])
    assert status == 200
    status, body = await refresh(client, lost["refresh_token"])  # somebody else had it after all
    assert (status, body["code"]) == (401, "refresh_token_reused")
    assert (await refresh(client, next_["refresh_token"]))[0] == 401


async def test_no_second_answer_once_the_first_was_used(client: Client) -> None:
    first = await register(client, "ada")
    _, second = await refresh(client, first["refresh_token"])
    await refresh(client, second["refresh_token"])
    status, body = await refresh(client, first["refresh_token"])
    assert (status, body["code"]) == (401, "refresh_token_reused")


async def test_racing_refreshes_leave_one_good_token(client: Client) -> None:
    first = await register(client, "ada")
    answers = await asyncio.gather(*(refresh(client, first["refresh_token"]) for _ in range(6)))
    assert {status for status, _ in answers} == {200}
    tokens = [body["refresh_token"] for _, body in answers]
    assert len(set(tokens)) == 6


@pytest.mark.parametrize("token", ["x", "é" * 50, "a" * 256, "'; drop table users; --"])
async def test_unknown_refresh_tokens(client: Client, token: str) -> None:
    status, body = await refresh(client, token)
    assert (status, body["code"]) == (401, "bad_refresh_token")
    assert (await client.post("/api/v1/auth/logout", json={"refresh_token": token})).status == 204


async def test_expired_sessions(client: Client, database: Database) -> None:
    first = await register(client, "ada")
    async with database.acquire() as connection:
        await connection.execute("update sessions set expires_at = now() - interval '1 s'")
    assert (await refresh(client, first["refresh_token"]))[0] == 401


async def test_logout_refuses_the_access_token_at_once(client: Client) -> None:
    first = await register(client, "ada")
    assert await profile(client, first["access_token"]) == 200  # and it is remembered as good
    _, second = await refresh(client, first["refresh_token"])
    answer = await client.post("/api/v1/auth/logout", json={"refresh_token": second["refresh_token"]})
    assert (answer.status, await answer.read()) == (204, b"")
    assert await profile(client, first["access_token"]) == 401
    assert await profile(client, second["access_token"]) == 401
    assert (await refresh(client, second["refresh_token"]))[0] == 401


async def test_a_stale_access_token_is_no_obstacle_to_signing_in_or_out(client: Client) -> None:
    first = await register(client, "ada")
    stale = bearer("stale")
    token = {"refresh_token": first["refresh_token"]}
    assert (await client.post("/api/v1/auth/refresh", json=token, headers=stale)).status == 200
    assert (await client.post("/api/v1/auth/logout", json=token, headers=stale)).status == 204


async def test_another_process_refuses_soon(client: Client, make_identity: MakeIdentity) -> None:
    other = await make_identity()
    first = await register(client, "ada")
    assert (await other.authenticate(first["access_token"])).username == "ada"
    await client.post("/api/v1/auth/logout", json={"refresh_token": first["refresh_token"]})

    async def refused() -> None:
        while True:
            try:
                await other.authenticate(first["access_token"])
            except Unauthorized:
                return
            await asyncio.sleep(0.02)

    await asyncio.wait_for(refused(), 5)
    late = await make_identity()  # started after the fact: it knows as well
    with pytest.raises(Unauthorized):
        await late.authenticate(first["access_token"])


async def test_everywhere_at_once(client: Client, make_identity: MakeIdentity) -> None:
    identity = await make_identity()
    async with serve(identity) as second:
        first = await register(second, "ada")
        caller = await identity.authenticate(first["access_token"])
        assert await identity.end_sessions(caller.user_id, "a test") == 1
        assert await profile(second, first["access_token"]) == 401


async def test_the_watch_survives_a_database_that_goes_away(
    make_identity: MakeIdentity, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    identity = await make_identity()
    async with serve(identity) as client:
        first = await register(client, "ada")
        pool, database._pool = database._pool, None
        with caplog.at_level(logging.WARNING):
            while "cannot be read" not in caplog.text:
                await asyncio.sleep(0.05)
        assert (await identity.authenticate(first["access_token"])).username == "ada"
        database._pool = pool
        async with database.acquire() as connection:
            await connection.execute("insert into session_revocations select id, clock_timestamp() from sessions")
        while await profile(client, first["access_token"]) == 200:
            await asyncio.sleep(0.05)
