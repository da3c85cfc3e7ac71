"""An account without a password, and one that changes hands before its address was verified."""

from __future__ import annotations

from uuid import UUID

from server.identity.service import Identity
from tests.fakes.authenticator import Authenticator
from tests.server.identity.factors.stack import Clock, Person, by_passkey, person, send
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, do_resets, post

NEW = "a better horse battery"


async def test_passkeys_as_the_only_way_in(
    ada: Person, device: Authenticator, events: Events, mailbox: Mailbox
) -> None:
    status, body = await ada.call("DELETE", "/password")
    assert (status, body["code"]) == (409, "last_way_in")
    only = (await ada.with_passkey(device))["passkey"]["id"]
    assert (await ada.call("DELETE", "/password"))[0] == 204
    assert (await ada.call("DELETE", "/password"))[1]["code"] == "factor_conflict"
    status, body = await send(ada.client, "/login", {"email": "ada", "password": PASSWORD})
    assert (status, body["code"]) == (401, "wrong_credentials")
    status, body = await send(ada.client, "/login", {"email": "ada", "password": ""})
    assert status == 422
    assert (await by_passkey(ada.client, device))[0] == 200
    assert (await ada.call("DELETE", f"/passkeys/{only}"))[1]["code"] == "last_way_in"
    assert "password.removed" in events.of(ada.id)
    assert mailbox.to("ada@example.org", "factor_changed")[-1].values["what"].startswith("The password was removed")


async def test_the_way_back_comes_first(client: Client, device: Authenticator) -> None:
    bob = await person(client, "bob")  # whose address nobody has verified
    await bob.with_passkey(device)
    status, body = await bob.call("DELETE", "/password")
    assert (status, body["code"]) == (409, "factor_conflict")
    assert (await bob.begin())["factors"] == ["passkey", "recovery"]


async def test_who_takes_a_claimed_address_over_meets_no_factor_of_the_claimant(
    client: Client, device: Authenticator, clock: Clock, mailbox: Mailbox, identity: Identity
) -> None:
    """Mallory registers with Ada's address, lays a way in, and waits for Ada to reset "her" password."""
    mallory = await person(client, "ada_lovelace")
    await mallory.with_passkey(device)
    await mallory.with_totp(clock)
    await _reset(identity, mailbox, mallory)
    status, signed_in = await send(client, "/login", {"email": "ada_lovelace", "password": NEW})
    assert (status, signed_in["user"]["email_verified"]) == (200, True)  # nothing asks her for Mallory's phone
    status, body = await by_passkey(client, device)
    assert (status, body["code"]) == (401, "wrong_factor")
    assert (await mallory.call("GET", "/factors"))[0] == 401


async def test_a_reset_leaves_the_owners_factors(
    ada: Person, clock: Clock, mailbox: Mailbox, identity: Identity
) -> None:
    await ada.with_totp(clock)
    await _reset(identity, mailbox, ada)
    problem = await ada.begin(NEW)
    assert problem["factors"] == ["totp", "recovery"]
    body = {"challenge": problem["challenge"], "code": clock.next_code(ada.secret)}
    assert (await send(ada.client, "/login/second-factor", body))[0] == 200


async def _reset(identity: Identity, mailbox: Mailbox, whose: Person) -> None:
    """As the reader of the account's address does."""
    email = f"{whose.name}@example.org"
    assert await post(whose.client, "reset-password", email=email) == (202, None)
    assert await do_resets(identity) == 1
    token = mailbox.to(email, "reset_password")[-1].token
    assert (await post(whose.client, "reset-password/confirm", token=token, password=NEW))[0] == 204


async def test_the_operator_lets_somebody_in_who_has_lost_everything(
    identity: Identity, ada: Person, clock: Clock, mailbox: Mailbox, events: Events
) -> None:
    await ada.with_totp(clock)
    assert await identity.offices.forget_factors(UUID(ada.id)) == ["authenticator app"]
    assert (await send(ada.client, "/login", {"email": "ada", "password": PASSWORD}))[0] == 200
    assert (await ada.call("GET", "/factors"))[1]["recovery_codes_left"] == 0
    assert "factors.removed" in events.of(ada.id)
    assert "operator" in mailbox.to("ada@example.org", "factor_changed")[-1].values["what"]
    assert await identity.offices.forget_factors(UUID(ada.id)) == []
    assert events.of(ada.id).count("factors.removed") == 1
