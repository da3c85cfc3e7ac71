"""Guessing codes and passwords of a second step, from one address or from many, and what the owner can still do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from server.identity.factors import lockout
from server.identity.service import Identity
from server.kit.clock import now
from storage.postgres import Database
from tests.fakes.authenticator import Authenticator
from tests.server.identity.factors.stack import API, ORIGIN, Clock, Person, by_passkey, person, send, serve_factors
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer


def wrong_code(clock: Clock, secret: str, number: int) -> str:
    """Not a code of any step near this one."""
    near = {clock.code(secret, ahead) for ahead in range(-3, 12)}
    return next(code for code in (f"{number + extra:06d}" for extra in range(1000)) if code not in near)


async def test_a_challenge_takes_five_answers(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    challenge = (await ada.begin())["challenge"]
    for number in range(5):
        status, body = await send(
            ada.client, "/login/second-factor", {"challenge": challenge, "code": f"nope-{number}-recovery"}
        )
        assert (status, body["code"]) == (401, "wrong_factor")
    status, body = await send(ada.client, "/login/second-factor", {"challenge": challenge, "code": ada.codes[0]})
    assert (status, body["code"]) == (401, "bad_challenge")
    assert (await ada.complete(code=ada.codes[0]))[0] == 200  # which was not used up by it


async def test_codes_are_not_guessed_from_many_addresses(
    identity: Identity,
    database: Database,
    mailbox: Mailbox,
    events: Events,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve_factors(identity, database, mailbox, events, trusted_proxies="127.0.0.1") as client:
        ada = await person(client, "ada")
        async with database.acquire() as connection:
            await connection.execute("update users set email_verified_at = now()")
        device = Authenticator(ORIGIN)
        await ada.with_passkey(device)
        await ada.with_totp(clock)
        challenges = [(await ada.begin())["challenge"] for _ in range(10)]

        async def guess(number: int) -> str:
            answer = await client.post(
                API + "/login/second-factor",
                json={"challenge": challenges[number // 4], "code": wrong_code(clock, ada.secret, number)},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
            body = await answer.json()
            assert answer.status in (401, 429)
            if answer.status == 429:
                assert 0 < int(answer.headers["Retry-After"]) <= lockout.FIRST.total_seconds()
            return str(body["code"])

        codes = await asyncio.gather(*(guess(number) for number in range(40)))
        assert codes.count("wrong_factor") == lockout.FREE  # all others were not even looked at
        assert codes.count("codes_locked") == 40 - lockout.FREE
        assert events.of(ada.id).count("account.locked") == 1
        told = mailbox.to("ada@example.org", "second_factor_refused")
        assert len(told) == 1

        # the right code has to wait as well; what cannot be guessed has not
        right = clock.next_code(ada.secret)
        status, body = await ada.complete(code=right)
        assert (status, body["code"]) == (429, "codes_locked")
        assert (await ada.complete(code=ada.codes[0]))[0] == 200
        assert (await by_passkey(client, device))[0] == 200

        # the wait is over; one more wrong answer makes a longer one, without another mail
        later = now() + lockout.FIRST
        monkeypatch.setattr(lockout, "now", lambda: later)
        assert (await ada.complete(code=wrong_code(clock, ada.secret, 777)))[0] == 401
        status, body = await ada.complete(code=right)
        assert (status, body["code"]) == (429, "codes_locked")
        assert lockout.FIRST.total_seconds() < body["retry_after"] <= 2 * lockout.FIRST.total_seconds()
        assert len(mailbox.to("ada@example.org", "second_factor_refused")) == 1

        later += 2 * lockout.FIRST
        assert (await ada.complete(code=right))[0] == 200  # and all is forgiven
        assert (await ada.complete(code=wrong_code(clock, ada.secret, 888)))[0] == 401
        assert (await ada.complete(code=clock.next_code(ada.secret)))[0] == 200


def test_waits_grow_to_an_hour() -> None:
    waits = [lockout.wait_after(count) for count in range(1, 1000)]
    assert waits[: lockout.FREE - 1] == [None] * (lockout.FREE - 1)
    rest = [wait for wait in waits if wait is not None]
    assert rest[:4] == [lockout.FIRST * factor for factor in (1, 2, 4, 8)]
    assert rest == sorted(rest)
    assert max(rest) == timedelta(hours=1)


async def test_old_failures_are_forgotten(ada: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.with_totp(clock)
    for day in range(2 * lockout.FREE):
        moment = now() + day * (lockout.FORGOTTEN + timedelta(seconds=1))
        monkeypatch.setattr(lockout, "now", lambda moment=moment: moment)
        status, _ = await ada.complete(code=wrong_code(clock, ada.secret, day))
        assert status == 401
    assert (await ada.complete(code=clock.next_code(ada.secret)))[0] == 200


async def test_a_stolen_session_does_not_guess_the_password(ada: Person, events: Events, mailbox: Mailbox) -> None:
    answers = await asyncio.gather(*(ada.call("POST", "/step-up", {"password": f"wrong {n}"}) for n in range(8)))
    codes = [body["code"] for _, body in answers]
    assert (codes.count("wrong_proof"), codes.count("codes_locked")) == (lockout.FREE, 8 - lockout.FREE)
    status, body = await ada.call("POST", "/step-up", {"password": PASSWORD})
    assert (status, body["code"]) == (429, "codes_locked")
    assert events.of(ada.id).count("account.locked") == 1
    assert len(mailbox.to("ada@example.org", "second_factor_refused")) == 1
    # nor is the owner kept from signing in
    assert (await send(ada.client, "/login", {"email": "ada", "password": PASSWORD}))[0] == 200


async def test_malformed_answers(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    malformed: list[dict[str, Any]] = [
        {},
        {"code": "123456", "passkey": {}},
        {"code": ""},
        {"code": "1" * 65},
        {"code": 123456},
        {"password": "x"},
    ]
    for factor in malformed:
        status, body = await ada.complete(**factor)
        assert (status, body["code"]) == (422, "invalid_request"), factor


async def test_no_open_door_for_the_signed_out(client: Client) -> None:
    for method, path in (
        ("GET", "/factors"),
        ("GET", "/passkeys"),
        ("POST", "/enable-2fa"),
        ("POST", "/disable-2fa"),
        ("POST", "/recovery-codes"),
        ("POST", "/passkeys/options"),
        ("POST", "/step-up"),
        ("POST", "/step-up/options"),
    ):
        answer = await client.request(method, API + path, json={}, headers=bearer("not.a.token"))
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized"), path
