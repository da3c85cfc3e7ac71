"""A new password by mail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server.identity.passwords import Match, Passwords
from server.identity.service import Identity
from storage.postgres import Database
from tests.server.identity.accounts.test_verification import verified
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer, do_resets, post, register, serve

NEW = "a better horse battery"


async def ask(client: Client, identity: Identity, mailbox: Mailbox, email: str) -> str:
    """The token in the mail that comes."""
    assert await post(client, "reset-password", email=email) == (202, None)
    assert await do_resets(identity) == 1
    return mailbox.to(email, "reset_password")[-1].token


async def login(client: Client, name: str, password: str) -> tuple[int, Any]:
    return await post(client, "login", email=name, password=password)


async def test_the_link_sets_a_password_and_ends_every_session(
    client: Client, identity: Identity, mailbox: Mailbox, events: Events
) -> None:
    ada = await verified(client, mailbox, "ada")
    token = await ask(client, identity, mailbox, "ada@example.org")
    mail = mailbox.sent[-1]
    assert (mail.values["minutes"], mail.values["username"]) == (30, "ada")
    assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 204
    assert (await client.get("/api/v1/auth/profile", headers=bearer(str(ada["access_token"])))).status == 401
    assert (await post(client, "refresh", refresh_token=ada["refresh_token"]))[0] == 401
    assert (await login(client, "ada", PASSWORD))[0] == 401
    assert (await login(client, "ada", NEW))[0] == 200
    assert mailbox.to("ada@example.org", "password_changed")
    assert "password.reset" in events.of(ada["user"]["id"])  # type: ignore[index]
    status, body = await post(client, "reset-password/confirm", token=token, password="the thief's own one")
    assert (status, body["code"]) == (400, "bad_link")
    assert (await login(client, "ada", NEW))[0] == 200


async def test_asking_answers_and_works_alike_for_a_stranger(
    client: Client, identity: Identity, mailbox: Mailbox, statements: list[str]
) -> None:
    await verified(client, mailbox, "ada")
    mailbox.sent.clear()
    shapes = []
    for email in ("ada@example.org", "nobody@example.org", "no address at all"):
        statements.clear()
        hashes = identity.describe()["passwords"]["computed"]  # type: ignore[index]
        assert await post(client, "reset-password", email=email) == (202, None)
        shapes.append((identity.describe()["passwords"]["computed"] - hashes, list(statements)))  # type: ignore[index]
    assert shapes[0] == shapes[1] == shapes[2]
    assert await do_resets(identity) == 3
    assert [mail.to for mail in mailbox.sent] == ["ada@example.org"]


async def test_a_link_expires_and_is_void_after_a_newer_one_or_another_password(
    client: Client, identity: Identity, mailbox: Mailbox, database: Database
) -> None:
    ada = await verified(client, mailbox, "ada")
    old = await ask(client, identity, mailbox, "ada@example.org")
    new = await ask(client, identity, mailbox, "ada@example.org")
    assert (await post(client, "reset-password/confirm", token=old, password=NEW))[0] == 400
    async with database.acquire() as connection:
        await connection.execute("update mail_tokens set expires_at = now() - interval '1 s'")
    assert (await post(client, "reset-password/confirm", token=new, password=NEW))[0] == 400
    third = await ask(client, identity, mailbox, "ada@example.org")
    token = bearer(str(ada["access_token"]))
    assert (await post(client, "change-password", token, current_password=PASSWORD, password=NEW))[0] == 204
    assert (await post(client, "reset-password/confirm", token=third, password=PASSWORD))[0] == 400
    assert (await login(client, "ada", NEW))[0] == 200


async def test_a_weak_password_leaves_the_link_good(client: Client, identity: Identity, mailbox: Mailbox) -> None:
    await verified(client, mailbox, "ada")
    token = await ask(client, identity, mailbox, "ada@example.org")
    for weak in ("short", "password123", "ada@example.org"):
        status, body = await post(client, "reset-password/confirm", token=token, password=weak)
        assert (status, body["errors"][0]["path"]) == (422, "$.password")
    assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 204


async def test_following_the_link_proves_the_address(
    client: Client, identity: Identity, mailbox: Mailbox, database: Database
) -> None:
    await register(client, "early", "ada@example.org")
    await register(client, "ada", "ada@example.org")
    await post(client, "reset-password", email="ada@example.org")
    await do_resets(identity)
    by_name = {mail.values["username"]: mail.token for mail in mailbox.to("ada@example.org", "reset_password")}
    assert set(by_name) == {"early", "ada"}, "each is named in its own mail"
    assert (await post(client, "reset-password/confirm", token=by_name["ada"], password=NEW))[0] == 204
    assert (await post(client, "reset-password/confirm", token=by_name["early"], password=NEW))[0] == 400
    status, body = await login(client, "ada@example.org", NEW)
    assert (status, body["user"]["username"], body["user"]["email_verified"]) == (200, "ada", True)


async def test_of_many_who_follow_one_link_at_once_one_sets_the_password(
    client: Client, identity: Identity, mailbox: Mailbox, make_identity: MakeIdentity
) -> None:
    await verified(client, mailbox, "ada")
    token = await ask(client, identity, mailbox, "ada@example.org")
    passwords = [f"a good password {n}" for n in range(6)]
    async with serve(await make_identity()) as other:
        answers = await asyncio.gather(
            *(
                post(client if n % 2 else other, "reset-password/confirm", token=token, password=password)
                for n, password in enumerate(passwords)
            )
        )
    assert sorted(status for status, _ in answers) == [204] + [400] * 5
    (winner,) = (password for password, (status, _) in zip(passwords, answers, strict=True) if status == 204)
    assert (await login(client, "ada", winner))[0] == 200


async def test_what_breaks_before_the_commit_changes_nothing(
    client: Client, identity: Identity, mailbox: Mailbox, events: Events
) -> None:
    ada = await verified(client, mailbox, "ada")
    token, record = await ask(client, identity, mailbox, "ada@example.org"), events.record

    async def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies here")

    events.record = dies  # type: ignore[method-assign]
    assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 500
    events.record = record  # type: ignore[method-assign]
    assert (await client.get("/api/v1/auth/profile", headers=bearer(str(ada["access_token"])))).status == 200
    assert (await login(client, "ada", PASSWORD))[0] == 200
    assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 204


async def test_who_is_just_signing_in_does_not_outlive_the_reset(
    client: Client, identity: Identity, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password's hash is being computed while its owner sets a new one."""
    await verified(client, mailbox, "ada")
    token = await ask(client, identity, mailbox, "ada@example.org")
    match, computed, go_on = Passwords.match, asyncio.Event(), asyncio.Event()

    async def slow(self: Passwords, password: str, candidates: Sequence[str]) -> Match | None:
        found = await match(self, password, candidates)
        computed.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(Passwords, "match", slow)
    thief = asyncio.create_task(login(client, "ada", PASSWORD))
    await computed.wait()
    assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 204
    go_on.set()
    status, body = await thief
    assert (status, body["code"]) == (401, "wrong_credentials")


async def test_a_stranger_who_registers_with_an_address_does_not_keep_its_owner_from_a_new_password(
    make_identity: MakeIdentity, mailbox: Mailbox
) -> None:
    identity = await make_identity(account_mails_per_hour=3)
    async with serve(identity) as client:
        await verified(client, mailbox, "ada")
        for number in range(6):
            await register(client, f"stranger{number}", "ada@example.org")
        for number in range(6):
            await register(client, f"other{number}", f"a.da+{number}@example.org")
        assert len(mailbox.sent) == 3
        token = await ask(client, identity, mailbox, "ada@example.org")
        assert (await post(client, "reset-password/confirm", token=token, password=NEW))[0] == 204
