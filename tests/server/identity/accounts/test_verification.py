"""Whose an address is: who has shown that he reads it."""

from __future__ import annotations

import asyncio

from server.identity.service import Identity
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import Client, Events, Mailbox, bearer, post, register, serve


async def verified(client: Client, mailbox: Mailbox, username: str, email: str = "") -> dict[str, object]:
    """An account whose address is its own."""
    body = await register(client, username, email)
    mail = mailbox.to(body["user"]["email"], "verify_email")[-1]
    assert (await post(client, "verify-email", token=mail.token))[0] == 204
    return body


async def is_verified(client: Client, who: dict[str, object]) -> bool:
    answer = await client.get("/api/v1/auth/profile", headers=bearer(str(who["access_token"])))
    return bool((await answer.json())["email_verified"])


async def test_the_link_of_the_mail_verifies_once(client: Client, mailbox: Mailbox, events: Events) -> None:
    ada = await register(client, "ada")
    (mail,) = mailbox.to("ada@example.org")
    assert (mail.template, mail.values["username"], mail.values["hours"]) == ("verify_email", "ada", 48)
    assert "/account/verify#token=" in mail.values["url"]
    assert not await is_verified(client, ada)
    assert (await post(client, "verify-email", token=mail.token))[0] == 204
    assert await is_verified(client, ada)
    assert "email.verified" in events.of(ada["user"]["id"])
    status, body = await post(client, "verify-email", token=mail.token)
    assert (status, body["code"]) == (400, "bad_link")


async def test_tokens_are_long_and_stored_hashed(client: Client, mailbox: Mailbox, database: Database) -> None:
    await register(client, "ada")
    token = mailbox.sent[-1].token
    assert len(token) >= 43, "256 bits"
    async with database.acquire() as connection:
        assert token not in str(await connection.fetch("select * from mail_tokens"))


async def test_a_newer_link_replaces_the_older(client: Client, mailbox: Mailbox) -> None:
    ada = await register(client, "ada")
    assert (await post(client, "verify-email/send", bearer(ada["access_token"])))[0] == 202
    old, new = mailbox.to("ada@example.org")
    assert (await post(client, "verify-email", token=old.token))[1]["code"] == "bad_link"
    assert (await post(client, "verify-email", token=new.token))[0] == 204
    assert (await post(client, "verify-email/send", bearer(ada["access_token"])))[0] == 202
    assert len(mailbox.sent) == 2, "nothing is sent to who has verified"


async def test_a_link_expires_and_is_for_one_purpose(client: Client, mailbox: Mailbox, database: Database) -> None:
    await register(client, "ada")
    token = mailbox.sent[-1].token
    assert (await post(client, "reset-password/confirm", token=token, password="another good one"))[0] == 400
    assert (await post(client, "change-email/confirm", token=token))[0] == 400
    async with database.acquire() as connection:
        await connection.execute("update mail_tokens set expires_at = now() - interval '1 s'")
    assert (await post(client, "verify-email", token=token))[1]["code"] == "bad_link"


async def test_registering_with_an_owned_address_tells_only_its_owner(client: Client, mailbox: Mailbox) -> None:
    await verified(client, mailbox, "ada", "ada@example.org")
    mailbox.sent.clear()
    known = await register(client, "eve", "ADA@example.org")
    unknown = await register(client, "bob", "bob@example.org")
    assert {k: type(v) for k, v in known["user"].items()} == {k: type(v) for k, v in unknown["user"].items()}
    first, second = mailbox.sent
    assert (first.to, first.template, first.values["username"]) == ("ada@example.org", "already_registered", "ada")
    assert (second.to, second.template) == ("bob@example.org", "verify_email")
    # asking again tells eve nothing either, and writes to the owner
    assert (await post(client, "verify-email/send", bearer(known["access_token"]))) == (202, None)
    assert mailbox.sent[-1].template == "already_registered"


async def test_registering_does_the_same_work_for_a_known_address(
    client: Client, identity: Identity, mailbox: Mailbox, statements: list[str]
) -> None:
    await verified(client, mailbox, "ada", "ada@example.org")
    shapes = []
    for username, email in (("eve", "ada@example.org"), ("bob", "bob@example.org")):
        statements.clear()
        hashes, mails = identity.describe()["passwords"]["computed"], len(mailbox.sent)  # type: ignore[index]
        await register(client, username, email)
        computed = identity.describe()["passwords"]["computed"]  # type: ignore[index]
        shapes.append((computed - hashes, len(mailbox.sent) - mails, list(statements)))
    assert shapes[0] == shapes[1]
    assert shapes[0][0] == 1


async def test_other_claims_lapse_unseen(client: Client, mailbox: Mailbox, database: Database) -> None:
    squatter = await register(client, "squatter", "ada@example.org", "the squatting one")
    early = mailbox.sent[-1].token
    await verified(client, mailbox, "ada", "ada@example.org")
    assert (await post(client, "verify-email", token=early))[1]["code"] == "bad_link"
    answer = await client.get("/api/v1/auth/profile", headers=bearer(squatter["access_token"]))
    seen = await answer.json()
    assert {name: seen[name] for name in squatter["user"]} == squatter["user"], (
        "he is not told, or he would know that there is an account"
    )
    assert (await post(client, "login", email="ada@example.org", password="the squatting one"))[0] == 401
    # not even when the owner is gone
    async with database.acquire() as connection:
        await connection.execute("delete from users where username = 'ada'")
    assert (await post(client, "login", email="ada@example.org", password="the squatting one"))[0] == 401
    assert (await post(client, "login", email="squatter", password="the squatting one"))[0] == 200


async def test_of_two_who_verify_one_address_at_once_one_owns_it(
    client: Client, mailbox: Mailbox, make_identity: MakeIdentity, database: Database
) -> None:
    for number in range(6):
        await register(client, f"user{number}", "shared@example.org")
    tokens = [mail.token for mail in mailbox.to("shared@example.org", "verify_email")]
    async with serve(await make_identity()) as other:
        answers = await asyncio.gather(
            *(post(client if n % 2 else other, "verify-email", token=token) for n, token in enumerate(tokens * 2))
        )
    assert sorted(status for status, _ in answers)[0] == 204
    assert [status for status, _ in answers].count(204) == 1
    assert {body["code"] for status, body in answers if body} <= {"bad_link", "email_taken"}
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from users where email_verified_at is not null") == 1


async def test_strangers_cannot_fill_somebodys_mailbox(make_identity: MakeIdentity, mailbox: Mailbox) -> None:
    identity = await make_identity(account_mails_per_hour=3)
    async with serve(identity) as client:
        for number in range(8):
            await register(client, f"user{number}", "victim@example.org")
    assert len(mailbox.sent) == 3


async def test_what_breaks_before_the_commit_leaves_the_link_good(
    client: Client, identity: Identity, mailbox: Mailbox, events: Events
) -> None:
    ada = await register(client, "ada")
    token, record = mailbox.sent[-1].token, events.record

    async def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies here")

    events.record = dies  # type: ignore[method-assign]
    assert (await post(client, "verify-email", token=token))[0] == 500
    assert not await is_verified(client, ada)
    events.record = record  # type: ignore[method-assign]
    assert (await post(client, "verify-email", token=token))[0] == 204


async def test_addresses_that_only_look_alike_are_two(client: Client, mailbox: Mailbox) -> None:
    eve = await verified(client, mailbox, "eve", "max@straße.example")
    ada = await verified(client, mailbox, "ada", "max@strasse.example")
    assert await is_verified(client, eve)
    assert await is_verified(client, ada)
    again = await register(client, "bob", "MAX@STRASSE.example")
    assert mailbox.sent[-1].template == "already_registered"
    assert not await is_verified(client, again)
