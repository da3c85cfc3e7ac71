"""Authenticator apps and recovery codes: turning on and off, signing in, and what does not sign in."""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import pyotp
import pytest

from server.identity.factors import totp
from server.identity.models import Account
from server.identity.passwords import Cost, Passwords
from server.identity.service import Identity
from storage.postgres import Database
from tests.server.identity.factors.stack import Clock, Person, person, send
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer

EMAIL = "ada@example.org"


async def test_an_app_is_added_and_completes_a_sign_in(
    ada: Person, clock: Clock, mailbox: Mailbox, events: Events
) -> None:
    setup = await ada.post("/enable-2fa")
    address = urlsplit(setup["otpauth_uri"])
    assert (address.scheme, address.netloc, unquote(address.path)) == ("otpauth", "totp", "/Social Flow:ada")
    assert parse_qs(address.query) == {"secret": [setup["secret"]], "issuer": ["Social Flow"]}
    assert len(base64.b32decode(setup["secret"])) == 20
    assert unquote(setup["qr"]).startswith("data:image/svg+xml")
    assert (await send(ada.client, "/login", {"email": "ada", "password": PASSWORD}))[0] == 200  # nothing is on yet

    codes = (await ada.post("/enable-2fa/confirm", {"code": clock.code(setup["secret"])}))["recovery_codes"]
    assert len(set(codes)) == 10
    problem = await ada.begin()
    assert problem["factors"] == ["totp", "recovery"]
    code = clock.next_code(setup["secret"])
    status, signed_in = await send(
        ada.client, "/login/second-factor", {"challenge": problem["challenge"], "code": f"{code[:3]} {code[3:]}"}
    )
    assert (status, signed_in["user"]["username"]) == (200, "ada")
    assert (await ada.client.get("/api/v1/auth/profile", headers=bearer(signed_in["access_token"]))).status == 200
    assert events.of(ada.id)[-2:] == ["totp.enabled", "account.signed_in"]
    assert [line[2]["methods"] for line in events.lines if line[1] == "account.signed_in"][-1] == ["pwd", "otp"]
    assert [mail.values["what"] for mail in mailbox.to(EMAIL, "factor_changed")] == ["An authenticator app was added"]


async def test_the_list_and_turning_it_off(ada: Person, clock: Clock, events: Events) -> None:
    status, before = await ada.call("GET", "/factors")
    assert (status, before["needed"], before["totp"]["enabled"], before["recovery_codes_left"]) == (200, [], False, 0)
    assert before["password"] is True
    await ada.with_totp(clock)
    _, on = await ada.call("GET", "/factors")
    assert (on["needed"], on["totp"]["enabled"], on["recovery_codes_left"]) == (["totp", "recovery"], True, 10)
    await ada.post("/disable-2fa", status=204)
    assert (await ada.call("GET", "/factors"))[1] == before
    assert (await send(ada.client, "/login", {"email": "ada", "password": PASSWORD}))[0] == 200
    assert "totp.disabled" in events.of(ada.id)
    for path in ("/disable-2fa", "/recovery-codes"):
        assert (await ada.post(path, status=409))["code"] == "factor_conflict"
    assert (await ada.post("/enable-2fa/confirm", {"code": "123456"}, 409))["code"] == "factor_conflict"


async def test_a_wrong_first_code_turns_nothing_on(ada: Person, clock: Clock) -> None:
    secret = (await ada.post("/enable-2fa"))["secret"]
    for wrong in (clock.code(secret, 2), clock.code(secret, -2), "123", "١٢٣٤٥٦", "\u00b2" * 6):
        if wrong not in (clock.code(secret, ahead) for ahead in (-1, 0, 1)):
            assert (await ada.post("/enable-2fa/confirm", {"code": wrong}, 403))["code"] == "wrong_proof"
    _, listed = await ada.call("GET", "/factors")
    assert not listed["totp"]["enabled"]
    waiting = await ada.post("/enable-2fa/confirm", {"code": clock.code(secret)}, 429)
    assert waiting["code"] == "codes_locked"  # guesses at it are counted too


async def test_an_app_is_replaced_only_by_a_code_of_the_new_one(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    second = (await ada.post("/enable-2fa"))["secret"]
    assert (await ada.post("/enable-2fa/confirm", {"code": clock.next_code(ada.secret)}, 403))["code"] == "wrong_proof"
    status, _ = await ada.complete(code=clock.code(ada.secret))
    assert status == 200
    await ada.post("/enable-2fa/confirm", {"code": clock.code(second)})
    status, body = await ada.complete(code=clock.next_code(ada.secret))
    assert (status, body["code"]) == (401, "wrong_factor")
    assert (await ada.complete(code=clock.code(second)))[0] == 200
    status, body = await ada.complete(code=ada.codes[0])  # codes made with the first app
    assert (status, body["code"]) == (401, "wrong_factor")


async def test_codes_of_the_steps_beside_ours_are_taken_and_no_others(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    clock.step += 10
    assert (await ada.complete(code=clock.code(ada.secret, 2)))[0] == 401
    assert (await ada.complete(code=clock.code(ada.secret, -2)))[0] == 401
    assert (await ada.complete(code=clock.code(ada.secret, -1)))[0] == 200
    assert (await ada.complete(code=clock.code(ada.secret, 1)))[0] == 200
    assert (await ada.complete(code=clock.code(ada.secret, 0)))[0] == 401  # before one that was used


async def test_a_code_is_good_once(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    status, body = await ada.complete(code=clock.code(ada.secret))  # it confirmed the app
    assert (status, body["code"]) == (401, "wrong_factor")
    code = clock.next_code(ada.secret)
    assert (await ada.complete(code=code))[0] == 200
    assert (await ada.complete(code=code))[0] == 401
    status, body = await ada.call("POST", "/step-up", {"code": code})
    assert (status, body["code"]) == (403, "wrong_proof")


async def test_two_at_once_with_one_code_are_one(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    begun = [await ada.begin() for _ in range(6)]
    for code in (clock.next_code(ada.secret), ada.codes[3]):
        answers = await asyncio.gather(
            *(
                send(ada.client, "/login/second-factor", {"challenge": one["challenge"], "code": code})
                for one in begun[:3]
            )
        )
        assert sorted(status for status, _ in answers) == [200, 401, 401]
        del begun[:3]


async def test_two_at_once_with_one_challenge_are_one(ada: Person, clock: Clock) -> None:
    await ada.with_totp(clock)
    challenge = (await ada.begin())["challenge"]
    answers = await asyncio.gather(
        *(
            send(ada.client, "/login/second-factor", {"challenge": challenge, "code": code})
            for code in (clock.next_code(ada.secret), *ada.codes[:2])
        )
    )
    assert sorted(status for status, _ in answers) == [200, 401, 401]
    assert {body["code"] for status, body in answers if status == 401} == {"bad_challenge"}
    left = (await ada.call("GET", "/factors"))[1]["recovery_codes_left"]
    assert left >= 9  # the losers used no code up


async def test_recovery_codes(ada: Person, clock: Clock, mailbox: Mailbox, events: Events) -> None:
    await ada.with_totp(clock)
    written = ada.codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "L")
    assert (await ada.complete(code=written))[0] == 200
    status, body = await ada.complete(code=ada.codes[0])
    assert (status, body["code"]) == (401, "wrong_factor")
    assert "recovery.used" in events.of(ada.id)
    assert [line[2]["methods"] for line in events.lines if line[1] == "account.signed_in"][-1] == ["pwd", "recovery"]
    for code in ada.codes[1:7]:
        assert not mailbox.to(EMAIL, "recovery_codes_low")
        assert (await ada.complete(code=code))[0] == 200
    assert [mail.values["left"] for mail in mailbox.to(EMAIL, "recovery_codes_low")] == [3]

    fresh = (await ada.post("/recovery-codes"))["recovery_codes"]
    assert not set(fresh) & set(ada.codes)
    assert (await ada.complete(code=ada.codes[9]))[0] == 401
    assert (await ada.complete(code=fresh[0]))[0] == 200
    assert (await ada.call("GET", "/factors"))[1]["recovery_codes_left"] == 9
    assert "recovery.renewed" in events.of(ada.id)


async def test_a_recovery_code_of_another_account(ada: Person, client: Client, clock: Clock) -> None:
    await ada.with_totp(clock)
    eve = await (await person(client, "eve")).with_totp(clock)
    assert (await ada.complete(code=eve.codes[0]))[0] == 401
    assert (await ada.complete(code=clock.next_code(eve.secret)))[0] == 401


async def test_a_right_password_counts_though_a_factor_is_missing(
    identity: Identity, ada: Person, clock: Clock, database: Database
) -> None:
    await ada.with_totp(clock)
    old = Passwords(1, Cost(passes=2, memory=64))
    weak = await old.hash(PASSWORD)
    old.close()
    async with database.acquire() as connection:
        await connection.execute("update users set password_hash = $2 where id = $1", ada.id, weak)
    await ada.begin()
    async with database.acquire() as connection:
        stored = await connection.fetchval("select password_hash from users where id = $1", ada.id)
    assert stored != weak
    assert await identity.verify_password(await _account(identity, ada), PASSWORD)


async def test_what_was_shown_to_an_account_that_leaves_is_used_up(
    ada: Person, clock: Clock, database: Database
) -> None:
    await ada.with_totp(clock)
    begun = await ada.begin()
    shown = {"challenge": begun["challenge"], "code": clock.next_code(ada.secret)}
    async with database.acquire() as connection:
        await connection.execute("update users set disabled_at = now() where id = $1", ada.id)
        await connection.execute(
            "insert into departures (user_id, asked_at, due_at) values ($1, now(), now() + interval '30 days')", ada.id
        )
    status, leaving = await send(ada.client, "/login/second-factor", shown)
    assert (status, leaving["code"]) == (403, "account_leaving")
    async with database.acquire() as connection:
        await connection.execute("delete from departures where user_id = $1", ada.id)
        await connection.execute("update users set disabled_at = null where id = $1", ada.id)
    assert (await send(ada.client, "/login/second-factor", shown))[0] == 401
    assert (await ada.complete(code=shown["code"]))[0] == 401


async def test_nothing_is_stored_that_signs_in(ada: Person, clock: Clock, database: Database) -> None:
    await ada.with_totp(clock)
    pending = (await ada.post("/enable-2fa"))["secret"]
    async with database.acquire() as connection:
        text = str(await connection.fetch("select t::text from totp_secrets t"))
        text += str(await connection.fetch("select r::text from recovery_codes r"))
        other = await person(ada.client, "eve")
        await connection.execute(
            "insert into totp_secrets (user_id, secret, confirmed_at) select $2, secret, now() from totp_secrets"
            " where user_id = $1",
            ada.id,
            other.id,
        )
    for secret in (ada.secret, pending, *ada.codes):
        for form in (secret, secret.replace("-", "")):
            assert form not in text
            assert binascii.hexlify(form.encode()).decode() not in text
    assert binascii.hexlify(base64.b32decode(ada.secret)).decode() not in text
    # and a sealed secret that was copied to another account's row does not open there
    answer = await other.call("POST", "/step-up", {"code": clock.next_code(ada.secret)})
    assert answer[0] != 200


async def _account(identity: Identity, person: Person) -> Account:
    async with identity.database.acquire() as connection:
        account = await identity.account_by_id(connection, UUID(person.id))
    assert account is not None
    return account


def test_known_answers(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """RFC 6238, appendix B: SHA-1, the last six of its eight digits."""
    secret = base64.b32encode(b"12345678901234567890").decode()
    for moment, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        clock.step = moment // 30
        assert totp.step_of(secret, code, 0) == moment // 30
        assert totp.step_of(secret, code, moment // 30) is None
        assert pyotp.TOTP(secret).at(moment) == code


async def test_a_challenge_is_void_once_the_password_is_another(ada: Person, clock: Clock) -> None:
    """Who knew the old password had a challenge for it when the owner changed that."""
    await ada.with_totp(clock)
    begun = await ada.begin()
    await ada.post("/change-password", {"current_password": PASSWORD, "password": "a better horse battery"}, 204)
    status, body = await send(
        ada.client, "/login/second-factor", {"challenge": begun["challenge"], "code": ada.codes[0]}
    )
    assert (status, body["code"]) == (401, "bad_challenge")
    begun = await ada.begin("a better horse battery")
    code = {"challenge": begun["challenge"], "code": ada.codes[0]}
    assert (await send(ada.client, "/login/second-factor", code))[0] == 200
