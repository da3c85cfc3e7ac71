"""A signed-in person changes the password or the address."""

from __future__ import annotations

import asyncio

from server.identity.service import Identity
from server.kit.auth import Origin
from storage.postgres import Database
from tests.server.identity.accounts.test_verification import verified
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer, post, register, serve

NEW = "a better horse battery"
_NOWHERE = Origin()


async def test_a_new_password_ends_all_other_sessions(client: Client, mailbox: Mailbox, events: Events) -> None:
    first = await verified(client, mailbox, "ada")
    _, second = await post(client, "login", email="ada", password=PASSWORD)
    token = bearer(second["access_token"])
    assert (await post(client, "change-password", token, current_password=PASSWORD, password=NEW))[0] == 204
    assert (await client.get("/api/v1/auth/profile", headers=token)).status == 200
    other = bearer(str(first["access_token"]))
    assert (await client.get("/api/v1/auth/profile", headers=other)).status == 401
    assert (await post(client, "refresh", refresh_token=first["refresh_token"]))[0] == 401
    assert (await post(client, "login", email="ada", password=PASSWORD))[0] == 401
    assert (await post(client, "login", email="ada", password=NEW))[0] == 200
    assert mailbox.to("ada@example.org", "password_changed")
    assert "password.changed" in events.of(first["user"]["id"])  # type: ignore[index]


async def test_the_present_password_is_needed_and_not_guessed_at(make_identity: MakeIdentity) -> None:
    async with serve(await make_identity(wrong_passwords=3)) as client:
        token = bearer((await register(client, "ada"))["access_token"])
        assert (await post(client, "change-password", token, password=NEW))[0] == 422
        answers = [
            await post(client, "change-password", token, current_password=f"wrong {n}", password=NEW) for n in range(4)
        ]
        assert [(status, body["code"]) for status, body in answers] == [(403, "wrong_password")] * 3 + [
            (429, "too_many_attempts")
        ]


async def test_weak_passwords_are_refused(client: Client) -> None:
    token = bearer((await register(client, "ada.lovelace"))["access_token"])
    for weak in ("short", "1234567890", "Password123!", "ada.lovelace", "ada.lovelace1"):
        status, body = await post(client, "change-password", token, current_password=PASSWORD, password=weak)
        assert (status, body["errors"][0]["path"]) == (422, "$.password"), weak


async def test_two_changes_at_once_leave_one_password(client: Client, make_identity: MakeIdentity) -> None:
    token = bearer((await register(client, "ada"))["access_token"])
    async with serve(await make_identity()) as other:
        answers = await asyncio.gather(
            *(
                post(
                    client if n % 2 else other,
                    "change-password",
                    token,
                    current_password=PASSWORD,
                    password=f"a good password {n}",
                )
                for n in range(4)
            )
        )
    good = [n for n, (status, _) in enumerate(answers) if status == 204]
    assert len(good) == 1
    assert {body["code"] for status, body in answers if status != 204} <= {
        "password_changed_meanwhile",
        "wrong_password",
    }
    assert (await post(client, "login", email="ada", password=f"a good password {good[0]}"))[0] == 200


async def test_accounts_of_one_address_stay_reachable_by_it(client: Client) -> None:
    ada = await register(client, "ada", "shared@example.org", "the password of ada")
    await register(client, "bob", "shared@example.org", "the password of bob")
    token = bearer(ada["access_token"])
    assert (await post(client, "change-password", token, current_password="the password of ada", password=NEW))[
        0
    ] == 204
    for password, username in ((NEW, "ada"), ("the password of bob", "bob")):
        status, body = await post(client, "login", email="shared@example.org", password=password)
        assert (status, body["user"]["username"]) == (200, username)


async def test_an_account_without_a_password_shows_a_factor_first(identity: Identity, database: Database) -> None:
    async with database.transaction() as connection:
        account = await identity.add_account(connection, "ada", "ada@example.org", verified=True)
        session = await identity.open_session(connection, account, _NOWHERE, methods=["oidc:test"])
    async with serve(identity) as client:
        assert (await post(client, "login", email="ada", password="x"))[0] == 401
        token = bearer(session.access_token)
        assert (await post(client, "change-password", token, password=NEW))[0] == 204
        assert (await post(client, "login", email="ada@example.org", password=NEW))[0] == 200
        async with database.transaction() as connection:
            other = await identity.add_account(connection, "bob", "bob@example.org", verified=True)
            session = await identity.open_session(connection, other, _NOWHERE, methods=["oidc:test"])
            await connection.execute("update sessions set proven_at = now() - interval '1 day'")
        _, fresh = await post(client, "refresh", refresh_token=session.refresh_token)
        status, body = await post(client, "change-password", bearer(fresh["access_token"]), password=NEW)
        assert (status, body["code"]) == (403, "step_up_required")


async def test_another_address_is_taken_by_its_reader(client: Client, mailbox: Mailbox, events: Events) -> None:
    ada = await verified(client, mailbox, "ada", "old@example.org")
    token = bearer(str(ada["access_token"]))
    assert (await post(client, "change-email", token, email="new@example.org"))[0] == 202
    (mail,) = mailbox.to("new@example.org")
    assert mail.template == "confirm_new_email"
    assert (await post(client, "login", email="new@example.org", password=PASSWORD))[0] == 401
    assert (await post(client, "change-email/confirm", token=mail.token))[0] == 204
    (told,) = mailbox.to("old@example.org", "email_changed")
    assert told.values["new_email"] == "new@example.org"
    assert (await post(client, "login", email="new@example.org", password=PASSWORD))[0] == 200
    assert (await post(client, "login", email="old@example.org", password=PASSWORD))[0] == 401
    assert "email.changed" in events.of(ada["user"]["id"])  # type: ignore[index]
    assert (await post(client, "change-email/confirm", token=mail.token))[1]["code"] == "bad_link"


async def test_an_owned_address_cannot_be_taken_nor_found_out(client: Client, mailbox: Mailbox) -> None:
    await verified(client, mailbox, "bob")
    ada = await verified(client, mailbox, "ada")
    token = bearer(str(ada["access_token"]))
    mailbox.sent.clear()
    assert await post(client, "change-email", token, email="BOB@example.org") == (202, None)
    assert [(mail.to, mail.template) for mail in mailbox.sent] == [("bob@example.org", "already_registered")]
    # the address finds an owner between the mail and the click
    await post(client, "change-email", token, email="later@example.org")
    link = mailbox.to("later@example.org")[-1].token
    await verified(client, mailbox, "eve", "later@example.org")
    assert (await post(client, "change-email/confirm", token=link))[0] in (400, 409)
    status, body = await post(client, "login", email="later@example.org", password=PASSWORD)
    assert (status, body["user"]["username"]) == (200, "eve")


async def test_a_change_of_address_does_not_outlive_who_began_it(client: Client, mailbox: Mailbox) -> None:
    """Somebody at a session of mine has a link sent to his own address; I shut him out before he follows it."""
    ada = await verified(client, mailbox, "ada", "ada@example.org")
    mine = bearer(str(ada["access_token"]))

    async def taken_over() -> str:
        _, his = await post(client, "login", email="ada", password=PASSWORD)
        await post(client, "change-email", bearer(his["access_token"]), email="thief@example.org")
        return mailbox.to("thief@example.org", "confirm_new_email")[-1].token

    async def end_one() -> int:
        listed = await (await client.get("/api/v1/auth/sessions", headers=mine)).json()
        others = [item["id"] for item in listed["items"] if not item["current"]]
        return [(await client.delete(f"/api/v1/auth/sessions/{id}", headers=mine)).status for id in others][-1]

    async def end_all() -> int:
        return (await client.delete("/api/v1/auth/sessions", headers=mine)).status

    async def change_password() -> int:
        return (await post(client, "change-password", mine, current_password=PASSWORD, password=NEW))[0]

    for shut_out in (end_one, end_all, change_password):
        token = await taken_over()
        assert await shut_out() == 204
        assert (await post(client, "change-email/confirm", token=token))[0] == 400
    assert (await post(client, "login", email="ada@example.org", password=NEW))[0] == 200
