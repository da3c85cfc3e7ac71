"""Showing again who is there, and what asks for it."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from server.identity.service import Identity
from storage.postgres import Database
from tests.fakes.authenticator import Authenticator
from tests.server.identity.factors.stack import API, ORIGIN, Clock, Person, by_passkey, person, send, serve_factors
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer

ASKING = (
    ("POST", "/enable-2fa"),
    ("POST", "/disable-2fa"),
    ("POST", "/recovery-codes"),
    ("POST", "/passkeys/options"),
    ("DELETE", f"/passkeys/{uuid4()}"),
)


async def gone_stale(ada: Person, database: Database) -> None:
    """The session was proven an hour ago, and its token says so."""
    async with database.acquire() as connection:
        await connection.execute("update sessions set proven_at = proven_at - interval '1 h'")
    _, body = await send(ada.client, "/login", {"email": ada.name, "password": PASSWORD})
    token = body.get("refresh_token")
    assert token is not None
    async with database.acquire() as connection:
        await connection.execute("update sessions set proven_at = now() - interval '1 h'")
    _, refreshed = await send(ada.client, "/refresh", {"refresh_token": token})
    ada.token = refreshed["access_token"]


async def test_sensitive_routes_ask_and_a_password_answers(ada: Person, database: Database, identity: Identity) -> None:
    await gone_stale(ada, database)
    for method, path in ASKING:
        status, body = await ada.call(method, path)
        assert (status, body["code"]) == (403, "step_up_required"), path
    status, body = await ada.call("POST", "/step-up", {"password": "not the password"})
    assert (status, body["code"]) == (403, "wrong_proof")
    before = ada.token
    stepped = await ada.post("/step-up", {"password": PASSWORD})
    ada.token = stepped["access_token"]
    caller = await identity.authenticate(ada.token)
    assert time.time() - caller.proven_at < 60
    assert caller.session_id == (await identity.authenticate(before)).session_id
    assert (await ada.post("/enable-2fa"))["secret"]
    # only the new token says so
    answer = await ada.client.post(API + "/enable-2fa", json={}, headers=bearer(before))
    assert answer.status == 403
    async with database.acquire() as connection:
        fresh = await connection.fetchval(
            "select proven_at > now() - interval '1 min' from sessions where id = $1", caller.session_id
        )
    assert fresh  # so the tokens that refreshing gives say it as well


async def test_the_password_does_not_do_for_an_account_with_factors(
    ada: Person, clock: Clock, device: Authenticator
) -> None:
    await ada.with_totp(clock)
    status, body = await ada.call("POST", "/step-up", {"password": PASSWORD})
    assert (status, body["code"], body["factors"]) == (403, "factor_needed", ["totp", "recovery"])
    code = clock.next_code(ada.secret)
    assert (await ada.post("/step-up", {"code": code}))["expires_in"] == 900
    assert (await ada.post("/step-up", {"code": code}, 403))["code"] == "wrong_proof"
    await ada.post("/step-up", {"code": ada.codes[0]})
    assert (await ada.post("/step-up", {"code": ada.codes[0]}, 403))["code"] == "wrong_proof"
    await ada.with_passkey(device)
    assert (await ada.post("/step-up", {"password": PASSWORD}, 403))["factors"] == ["totp", "passkey", "recovery"]


async def test_by_passkey(ada: Person, device: Authenticator, client: Client, events: Events) -> None:
    assert (await ada.post("/step-up/options", status=409))["code"] == "factor_conflict"
    await ada.with_passkey(device)
    options = await ada.post("/step-up/options")
    body = {"challenge": options["challenge"], "passkey": device.get(options["public_key"])}
    token = (await ada.post("/step-up", body))["access_token"]
    assert (await client.get(API + "/profile", headers=bearer(token))).status == 200
    assert (await ada.post("/step-up", body, 401))["code"] == "bad_challenge"

    # nobody else's session takes the answer, not even another of the same account
    options = await ada.post("/step-up/options")
    body = {"challenge": options["challenge"], "passkey": device.get(options["public_key"])}
    _, elsewhere = await by_passkey(client, device)
    eve = await person(client, "eve")
    for other in (elsewhere["access_token"], eve.token):
        status, refused = await send(client, "/step-up", body, other)
        assert (status, refused["code"]) == (401, "bad_challenge")
    # an answer to signing in steps nothing up
    _, login = await send(client, "/login/passkey/options", {})
    answer = device.get(login["public_key"])
    assert (await ada.post("/step-up", {"challenge": login["challenge"], "passkey": answer}, 401))["code"] == (
        "bad_challenge"
    )
    assert (await ada.post("/step-up", {"passkey": answer}, 401))["code"] == "bad_challenge"
    # another account's passkey
    hers = Authenticator(ORIGIN)
    await eve.with_passkey(hers)
    options = await ada.post("/step-up/options")
    answer = hers.get(options["public_key"], hers.credentials[0])
    assert (await ada.post("/step-up", {"challenge": options["challenge"], "passkey": answer}, 403))["code"] == (
        "wrong_proof"
    )
    assert "account.sign_in_failed" in events.of(ada.id)
    device.verified = False
    answer = device.get(options["public_key"])
    assert (await ada.post("/step-up", {"challenge": options["challenge"], "passkey": answer}, 403))["code"] == (
        "wrong_proof"
    )


async def test_a_session_that_ended_steps_nothing_up(ada: Person, identity: Identity, clock: Clock) -> None:
    caller = await identity.authenticate(ada.token)
    await identity.end_sessions(caller.user_id, "a test")
    status, body = await ada.call("POST", "/step-up", {"password": PASSWORD})
    assert (status, body["code"]) == (401, "unauthorized")


async def test_exactly_one_proof(ada: Person) -> None:
    for body in ({}, {"password": PASSWORD, "code": "123456"}, {"password": ""}, {"passkeys": 1}):
        status, problem = await ada.call("POST", "/step-up", body)
        assert (status, problem["code"]) == (422, "invalid_request")


async def test_an_account_without_a_password(ada: Person, database: Database, device: Authenticator) -> None:
    async with database.acquire() as connection:
        await connection.execute("update users set password_hash = ''")
    assert (await ada.post("/step-up", {"password": PASSWORD}, 403))["code"] == "wrong_proof"
    await ada.with_passkey(device)
    assert (await by_passkey(ada.client, device))[0] == 200
    status, body = await send(ada.client, "/login", {"email": "ada", "password": PASSWORD})
    assert (status, body["code"]) == (401, "wrong_credentials")


@pytest.mark.parametrize("seconds", [0, 900])
async def test_how_long_a_proof_lasts(
    identity: Identity, database: Database, mailbox: Mailbox, events: Events, seconds: int
) -> None:
    async with serve_factors(identity, database, mailbox, events, step_up_seconds=seconds) as client:
        ada = await person(client, "ada")
        await ada.post("/enable-2fa", status=200 if seconds else 403)
