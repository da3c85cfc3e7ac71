"""Guessing passwords is slowed down, everywhere at once; the owner still gets in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from server.identity.service import Identity
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import (
    PASSWORD,
    Client,
    Events,
    Mailbox,
    coming_from,
    do_resets,
    post,
    register,
    serve,
)
from tests.support import eventually

HOME, AWAY, EVIL = "203.0.113.7", "198.51.100.20", "192.0.2.66"


@pytest.fixture
async def strict(make_identity: MakeIdentity) -> Identity:
    return await make_identity(
        wrong_passwords=3, wrong_passwords_account=6, wrong_passwords_address=8, trusted_proxies="127.0.0.1"
    )


@asynccontextmanager
async def device(identity: Identity) -> AsyncIterator[Client]:
    """Another device: with cookies of its own."""
    async with serve(identity, trusted_proxies="127.0.0.1") as client:
        yield client


async def login(client: Client, name: str, password: str, address: str) -> tuple[int, Any]:
    return await post(client, "login", coming_from(address), email=name, password=password)


async def guess(client: Client, name: str, times: int, address: str) -> list[int]:
    return [(await login(client, name, f"wrong {n}", address))[0] for n in range(times)]


async def later(database: Database, by: timedelta) -> None:
    """Move what is stored into the past."""
    async with database.acquire() as connection:
        await connection.execute(
            "update attempts set last_at = last_at - $1::interval, blocked_until = blocked_until - $1::interval", by
        )


async def test_the_wait_grows_and_even_the_right_password_waits(strict: Identity, database: Database) -> None:
    async with device(strict) as owner, device(strict) as eve:
        await post(owner, "register", coming_from(HOME), username="ada", email="a@example.org", password=PASSWORD)
        assert await guess(eve, "ada", 4, EVIL) == [401, 401, 401, 429]
        status, body = await login(eve, "ada", PASSWORD, EVIL)
        assert (status, body["code"]) == (429, "too_many_attempts")
        assert 5 < body["retry_after"] <= 10
        waits = []
        for _ in range(2):
            await later(database, timedelta(seconds=waits[-1] if waits else 10))
            assert (await login(eve, "ada", "wrong", EVIL))[0] == 401
            waits.append((await login(eve, "ada", "wrong", EVIL))[1]["retry_after"])
        assert 15 < waits[0] <= 20
        assert 35 < waits[1] <= 40
        await later(database, timedelta(hours=25))
        assert await guess(eve, "ada", 3, EVIL) == [401, 401, 401], "forgotten after a day"


async def test_an_unknown_name_waits_alike(strict: Identity, statements: list[str]) -> None:
    async with device(strict) as owner, device(strict) as eve:
        await post(owner, "register", coming_from(HOME), username="ada", email="a@example.org", password=PASSWORD)
        shapes = []
        for name in ("ada", "nobody", "a@example.org", "nobody@example.org"):
            answers = []
            for n in range(4):
                statements.clear()
                status, body = await login(eve, name, f"wrong {n}", f"192.0.2.{len(shapes)}")
                # without what the watch asks for, what is written down after the answer, and what sweeps the old away
                asked = [
                    query
                    for query in statements
                    if re.search("from users u where|attempts|known_devices", query) and not query.startswith("delete")
                ]
                # a refusal ends at the first count that says so, in an order that nobody can know
                answers.append((status, body["code"], body["detail"], len(asked) if status == 401 else 0))
            shapes.append(answers)
        assert shapes[0] == shapes[1] == shapes[2] == shapes[3]


async def test_no_address_leads_to_a_username(strict: Identity) -> None:
    async with device(strict) as owner, device(strict) as eve:
        await post(owner, "register", coming_from(HOME), username="ada", email="a@example.org", password=PASSWORD)
        assert await guess(eve, "ada", 4, EVIL) == [401, 401, 401, 429]
        assert await guess(eve, "a@example.org", 1, EVIL) == [401], "as an address that belongs to somebody else"


async def test_a_thousand_at_once_are_no_way_around(strict: Identity, make_identity: MakeIdentity) -> None:
    other = await make_identity(wrong_passwords=3, trusted_proxies="127.0.0.1")
    async with device(strict) as eve, device(other) as node:
        answers = await asyncio.gather(*(login(eve if n % 2 else node, "ada", f"wrong {n}", EVIL) for n in range(24)))
        assert [status for status, _ in answers].count(401) == 3


async def test_a_botnet_does_not_shut_the_owner_out(
    strict: Identity, mailbox: Mailbox, events: Events, database: Database
) -> None:
    async with device(strict) as owner, device(strict) as bots, device(strict) as new_phone:
        body = await verified_from(owner, mailbox, HOME)
        for n in range(9):
            await login(bots, "ada", f"wrong {n}", f"192.0.2.{n}")
        assert (await login(bots, "ada", "wrong", "192.0.2.200"))[0] == 429, "from nowhere new"
        await eventually(lambda: "account.locked" in events.of(body["user"]["id"]))
        assert len(mailbox.to("ada@example.org", "locked_out")) == 1
        # by the device, and by the network of somebody who has lost his cookies
        assert (await login(owner, "ada", PASSWORD, AWAY))[0] == 200
        assert (await login(new_phone, "ada", PASSWORD, HOME))[0] == 200


async def test_a_reset_by_mail_always_opens_the_door(strict: Identity, mailbox: Mailbox) -> None:
    async with device(strict) as owner, device(strict) as bots, device(strict) as abroad:
        await verified_from(owner, mailbox, HOME)
        for n in range(9):
            await login(bots, "ada", f"wrong {n}", f"192.0.2.{n}")
        assert (await login(abroad, "ada", PASSWORD, AWAY))[0] == 429
        assert (await post(abroad, "reset-password", coming_from(AWAY), email="ada@example.org"))[0] == 202
        await do_resets(strict)
        token = mailbox.sent[-1].token
        status, _ = await post(
            abroad, "reset-password/confirm", coming_from(AWAY), token=token, password="a better horse battery"
        )
        assert status == 204
        for n in range(9):  # they go on
            await login(bots, "ada", f"wrong {n}", f"192.0.2.{n}")
        assert (await login(abroad, "ada", "a better horse battery", AWAY))[0] == 200


async def test_one_password_for_many_accounts(strict: Identity) -> None:
    async with device(strict) as eve:
        answers = [(await login(eve, f"user{n}", "Summer2026", EVIL))[0] for n in range(10)]
        assert answers == [401] * 8 + [429] * 2
        assert (await login(eve, "user1", "Summer2026", AWAY))[0] == 401


async def test_the_right_password_starts_anew(strict: Identity) -> None:
    async with device(strict) as owner:
        await post(owner, "register", coming_from(HOME), username="ada", email="a@example.org", password=PASSWORD)
        for _ in range(4):
            assert await guess(owner, "ada", 2, HOME) == [401, 401]
            assert (await login(owner, "ada", PASSWORD, HOME))[0] == 200


async def test_a_new_device_is_told_by_mail(strict: Identity, mailbox: Mailbox) -> None:
    async with device(strict) as owner, device(strict) as eve:
        await verified_from(owner, mailbox, HOME)
        assert (await login(owner, "ada", PASSWORD, HOME))[0] == 200
        assert (await login(owner, "ada", PASSWORD, AWAY))[0] == 200, "the device is known"
        assert not mailbox.to("ada@example.org", "new_sign_in")
        assert (await login(eve, "ada", PASSWORD, EVIL))[0] == 200
        (mail,) = mailbox.to("ada@example.org", "new_sign_in")
        assert mail.values["address"] == EVIL


async def test_the_devices_cookie_signs_nobody_in(client: Client, make_identity: MakeIdentity) -> None:
    first = await register(client, "ada")
    (cookie,) = [morsel for morsel in client.session.cookie_jar if morsel.key == "sf_device"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"]) == ("Strict", "/api/v1/auth")
    assert (await client.get("/api/v1/auth/profile")).status == 401
    # nor does one that somebody planted fix a session
    planted = {"Cookie": "sf_device=" + "a" * 32 + "; session=abc; sid=abc"}
    answers = [await post(client, "login", planted, email="ada", password=PASSWORD) for _ in range(2)]
    tokens = {body["refresh_token"] for _, body in answers} | {first["refresh_token"]}
    assert len(tokens) == 3


async def verified_from(client: Client, mailbox: Mailbox, address: str) -> dict[str, Any]:
    status, body = await post(
        client, "register", coming_from(address), username="ada", email="ada@example.org", password=PASSWORD
    )
    assert status == 201
    assert (await post(client, "verify-email", token=mailbox.sent[-1].token))[0] == 204
    return dict(body)


async def test_another_way_of_writing_a_name_is_no_other_name(make_identity: MakeIdentity) -> None:
    """Full-width letters and capitals lead to the same account, so they count for the same."""
    async with serve(await make_identity(wrong_passwords=3)) as client:
        await register(client, "ida", "ida@example.org")
        wide = ["ida@example.org", "\uff49da@example.org", "i\uff44a@example.org", "id\uff41@example.org"]
        answers = [(await post(client, "login", email=name, password="wrong horse battery"))[0] for name in wide]
        assert answers == [401, 401, 401, 429]
        assert (await post(client, "login", email="\u0130da", password=PASSWORD))[0] == 401
