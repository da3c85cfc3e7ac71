"""Which account here an account elsewhere opens, and which it never does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pyotp
import pytest

from server.identity.oauth.usernames import usernames
from server.integrations.signin.provider import Stranger
from tests.server.identity.oauth.stack import API, Browser, Stage, stage
from tests.server.identity.stack import PASSWORD, register

ADA = Stranger("1", "Ada@example.org", True, "ada", "Ada Lovelace")


async def account(place: Stage, username: str, *, verified: bool = True) -> Browser:
    """Somebody who has registered with a password, signed in. The address is `<username>@example.org`."""
    browser = place.browser()
    browser.token = (await register(place.client, username))["access_token"]
    if verified:
        await place.verify(username)
    place.mailbox.sent.clear()
    return browser


async def test_an_address_that_is_owned_here_is_not_taken_over(place: Stage) -> None:
    """Even though the provider has verified it: whoever had the address there at some time would get the account."""
    ada = await account(place, "ada")
    place.acme.people["ada"] = ADA
    stranger = place.browser()
    said = await stranger.sign_in("ada")
    assert (said.status, said.body["code"], said.body["provider"]) == (409, "link_needed", "acme")
    assert await place.fetchval("select count(*) from users") == 1
    assert await place.fetchval("select count(*) from signin_links") == 0
    # her way: sign in and link; from then on it opens
    assert (await ada.link("ada")).status == 201
    said = await stranger.sign_in("ada")
    assert (said.status, said.body["user"]["username"], said.body["created"]) == (200, "ada", False)


@pytest.mark.parametrize("theirs", [False, True], ids=["not verified there", "verified there"])
async def test_an_address_that_is_only_claimed_decides_nothing(place: Stage, theirs: bool) -> None:
    """Somebody registers with Ada's address beforehand, to have a foot in the door when she comes."""
    mallory = await account(place, "mallory", verified=False)
    async with place.database.acquire() as connection:
        await connection.execute("update users set email = 'ada@example.org', email_key = 'ada@example.org'")
    place.acme.people["ada"] = replace(ADA, email_verified=theirs)
    said = await place.browser().sign_in("ada")
    assert (said.status, said.body["created"], said.body["user"]["email_verified"]) == (200, True, theirs)
    assert (await mallory.call("GET", "/api/v1/auth/profile")).body["id"] != said.body["user"]["id"]
    lapsed = await place.fetchval("select email_lapsed_at is not null from users where username = 'mallory'")
    assert lapsed is theirs


async def test_an_unverified_address_there_opens_nothing_here(place: Stage) -> None:
    """The takeover: an account at the provider with the victim's address typed in."""
    await account(place, "ada")
    place.acme.people["mallory"] = replace(ADA, subject="666", email_verified=False, username="mallory")
    said = await place.browser().sign_in("mallory")
    assert (said.status, said.body["user"]["username"], said.body["user"]["email_verified"]) == (200, "mallory", False)
    # the owner hears of it as of a registration, and the claim is void
    assert [(mail.to, mail.template) for mail in place.mailbox.sent] == [("ada@example.org", "already_registered")]
    assert await place.fetchval("select email_lapsed_at is not null from users where username = 'mallory'")


async def test_only_the_lasting_id_counts(place: Stage) -> None:
    """Names and addresses at the provider change hands; the link does not follow them."""
    place.acme.people["ada"] = ADA
    first = (await place.browser().sign_in("ada")).body["user"]["id"]
    place.acme.people["ada"] = replace(ADA, email="other@example.org", username="renamed", name="Renamed")
    assert (await place.browser().sign_in("ada")).body["user"]["id"] == first
    place.acme.people["heir"] = replace(ADA, subject="2", email="", email_verified=False)
    said = await place.browser().sign_in("heir")
    assert said.body["user"]["id"] != first
    assert said.body["user"]["username"] != "ada"
    # the same id at another provider is somebody else
    place.other.people["x"] = replace(ADA, email="", email_verified=False)
    assert (await place.browser().sign_in("x", "other")).body["user"]["id"] not in (first, said.body["user"]["id"])


async def test_a_key_that_the_operator_gives_to_another_provider_opens_nothing(place: Stage) -> None:
    place.acme.people["ada"] = replace(ADA, email="", email_verified=False)
    browser = place.browser()
    first = (await browser.sign_in("ada")).body["user"]["id"]
    place.acme.authority = "https://successor.example"
    assert (await place.browser().sign_in("ada")).body["user"]["id"] != first


async def test_a_person_without_an_address(place: Stage) -> None:
    place.acme.people["x"] = Stranger("9", username="no mail")
    browser = place.browser()
    said = await browser.sign_in("x")
    assert (said.body["user"]["email"], said.body["user"]["email_verified"]) == ("", False)
    assert place.mailbox.sent == []
    place.other.people["y"] = Stranger("10", "not an address", True, "noy")
    assert (await place.browser().sign_in("y", "other")).body["user"]["email"] == ""
    # nobody signs in to it with a password, an empty one included, nor by the empty address
    for body in ({"email": said.body["user"]["username"], "password": "x" * 12}, {"email": "@", "password": "x"}):
        assert (await browser.call("POST", "/api/v1/auth/login", body)).status == 401


@pytest.mark.parametrize("when", ["before", "between"])
async def test_a_disabled_account_stays_shut(place: Stage, when: str) -> None:
    place.acme.people["ada"] = ADA
    await place.browser().sign_in("ada")
    browser = place.browser()
    disable = "update users set disabled_at = now()"
    if when == "before":
        await place.fetchval(disable)
    back = await browser.come_back(await browser.start(), code="ada")
    await place.fetchval(disable)
    said = await browser.trade(back.fragment["code"])
    assert (said.status, said.body["code"]) == (403, "account_disabled")
    assert await place.fetchval("select count(*) from sessions") == 1


@pytest.fixture
async def closed(place: Stage) -> AsyncIterator[Stage]:
    """The same installation, where nobody can register any more."""
    parts = (place.identity, place.database, place.mailbox, place.events)
    async with stage(*parts, {"acme": place.acme}, registration="closed") as closed:
        yield closed


async def test_registration_that_is_closed_is_closed_here_too(place: Stage, closed: Stage) -> None:
    place.acme.people = {"ada": ADA, "bob": Stranger("2", "bob@example.org", True, "bob")}
    await account(place, "bob")
    said = await closed.browser().sign_in("ada")
    assert (said.status, said.body["code"]) == (403, "registration_closed")
    assert (await closed.browser().sign_in("bob")).body["code"] == "link_needed"
    assert await place.fetchval("select count(*) from users") == 1


async def test_the_second_factor_is_asked_for(place: Stage) -> None:
    ada = await account(place, "ada")
    place.acme.people["ada"] = ADA
    assert (await ada.link("ada")).status == 201
    secret = (await ada.call("POST", "/api/v1/auth/enable-2fa", {})).body["secret"]
    totp = pyotp.TOTP(secret)
    confirmed = await ada.call("POST", "/api/v1/auth/enable-2fa/confirm", {"code": totp.now()})
    assert confirmed.status == 200, confirmed.body
    sessions = await place.fetchval("select count(*) from sessions")
    browser = place.browser()
    said = await browser.sign_in("ada")
    assert (said.status, said.body["code"]) == (401, "second_factor_required")
    assert "access_token" not in said.body
    assert await place.fetchval("select count(*) from sessions") == sessions
    completed = await browser.call(
        "POST",
        "/api/v1/auth/login/second-factor",
        {"challenge": said.body["challenge"], "code": confirmed.body["recovery_codes"][0]},
    )
    assert completed.status == 200, completed.body
    methods = await place.fetchval("select methods from sessions order by created_at desc, id desc limit 1")
    assert set(methods) == {"oidc:acme", "recovery"}


# links


async def test_a_link_is_told_and_logged(place: Stage) -> None:
    ada = await account(place, "ada")
    place.acme.people["ada"] = ADA
    said = await ada.link("ada")
    assert (said.status, said.body["provider"], said.body["name"]) == (201, "acme", "ada")
    [mail] = place.mailbox.to("ada@example.org", "sign_in_linked")
    assert mail.values["provider"] == "Acme"
    me = (await ada.call("GET", "/api/v1/auth/profile")).body["id"]
    assert place.events.of(me)[-1] == "signin.linked"
    assert (await ada.link("ada")).status == 201  # once more changes nothing
    assert await place.fetchval("select count(*) from signin_links") == 1
    assert len(place.mailbox.to("ada@example.org", "sign_in_linked")) == 1


async def test_a_link_begins_with_a_proof(place: Stage) -> None:
    ada = await account(place, "ada")
    async with place.database.acquire() as connection:
        await connection.execute("update sessions set proven_at = now() - interval '1 hour'")
    answer = await place.client.post("/api/v1/auth/login", json={"email": "ada", "password": PASSWORD})
    refreshed = (await answer.json())["refresh_token"]
    async with place.database.acquire() as connection:
        await connection.execute("update sessions set proven_at = now() - interval '1 hour'")
    ada.token = (await ada.call("POST", "/api/v1/auth/refresh", {"refresh_token": refreshed})).body["access_token"]
    said = await ada.call("POST", f"{API}/acme/link", {"redirect": "/account"})
    assert (said.status, said.body["code"]) == (403, "step_up_required")
    assert (await ada.call("DELETE", f"{API}/acme")).body["code"] == "step_up_required"


async def test_a_link_is_for_who_began_it(place: Stage) -> None:
    """Mallory would like his account at the provider to open Ada's here, or hers there to open his here."""
    ada, mallory = await account(place, "ada"), await account(place, "mallory")
    place.acme.people = {"ada": ADA, "mallory": Stranger("666", username="mallory")}

    async def code_of(browser: Browser, who: str) -> str:
        begun = await browser.call("POST", f"{API}/acme/link", {"redirect": "/account"})
        return (await browser.come_back(begun.body["url"], code=who)).fragment["link"]

    for code in (await code_of(mallory, "mallory"), await code_of(mallory, "ada")):
        said = await ada.call("POST", f"{API}/links", {"code": code})
        assert (said.status, said.body["code"]) == (400, "bad_sign_in_code")
    # the other browser brings the answer
    begun = await mallory.call("POST", f"{API}/acme/link", {"redirect": "/account"})
    assert (await ada.come_back(begun.body["url"], code="ada")).fragment == {"error": "expired"}
    # a code that links does not sign in, one that signs in does not link
    assert (await mallory.trade(await code_of(mallory, "mallory"))).body["code"] == "bad_sign_in_code"
    back = await mallory.come_back(await mallory.start(), code="mallory")
    said = await mallory.call("POST", f"{API}/links", {"code": back.fragment["code"]})
    assert said.body["code"] == "bad_sign_in_code"
    assert await place.fetchval("select count(*) from signin_links") == 0


async def test_one_account_elsewhere_opens_one_account_here(place: Stage) -> None:
    ada, bob = await account(place, "ada"), await account(place, "bob")
    place.acme.people = {"one": ADA, "two": Stranger("2", username="two")}
    assert (await ada.link("one")).status == 201
    assert (await bob.link("one")).body["code"] == "linked_elsewhere"
    assert (await ada.link("two")).body["code"] == "linked_elsewhere"  # one of each provider


async def test_two_want_the_same_account_elsewhere_at_once(place: Stage) -> None:
    people = [await account(place, name) for name in ("ada", "bob", "eve")]
    place.acme.people = {"one": ADA}
    said = await asyncio.gather(*(browser.link("one") for browser in people))
    assert Counter(each.status for each in said) == {201: 1, 409: 2}


async def test_unlinking(place: Stage) -> None:
    ada = await account(place, "ada")
    place.acme.people = {"one": ADA}
    await ada.link("one")
    elsewhere = place.browser()
    await elsewhere.sign_in("one")
    assert (await elsewhere.call("GET", f"{API}/links")).status == 200
    assert (await ada.call("DELETE", f"{API}/other")).status == 404
    assert (await ada.call("DELETE", f"{API}/acme")).status == 204
    assert (await elsewhere.call("GET", f"{API}/links")).status == 401  # what it had opened is closed
    assert (await ada.call("GET", f"{API}/links")).body == {"items": []}
    assert (await place.browser().sign_in("one")).body["code"] == "link_needed"
    assert (await ada.call("DELETE", f"{API}/acme")).status == 404


async def test_the_last_way_in_stays(place: Stage) -> None:
    place.acme.people = {"x": Stranger("1", username="only")}
    place.other.people = {"y": Stranger("2", username="second")}
    browser = place.browser()
    await browser.sign_in("x")
    said = await browser.call("DELETE", f"{API}/acme")
    assert (said.status, said.body["code"]) == (409, "last_way_in")
    assert (await browser.link("y", "other")).status == 201
    place.other.authority = "https://gone.example"  # a provider that is no longer configured is no way in
    assert (await browser.call("DELETE", f"{API}/acme")).body["code"] == "last_way_in"
    place.other.authority = "https://other.example"
    both = await asyncio.gather(*(browser.call("DELETE", f"{API}/{key}") for key in ("acme", "other")))
    assert sorted(each.status for each in both) == [204, 409]


async def test_keys_and_strangers_have_no_links(place: Stage) -> None:
    browser = place.browser()
    for method, path in (("GET", "links"), ("POST", "links"), ("DELETE", "acme"), ("POST", "acme/link")):
        assert (await browser.call(method, f"{API}/{path}", {"code": "x"})).status == 401


# usernames


@pytest.mark.parametrize(
    ("stranger", "first"),
    [
        (Stranger("1", username="octo-cat"), "octo-cat"),
        (Stranger("1", username="Ægir Þórsson", name="x"), "gir_orsson"),
        (Stranger("1", name="Ada Lovelace"), "Ada_Lovelace"),
        (Stranger("1", username="--x--", name="José"), "Jose"),
        (Stranger("1", username="a" * 50), "a" * 30),
    ],
)
def test_a_username_is_made_of_what_is_there(stranger: Stranger, first: str) -> None:
    tried = list(usernames(stranger))
    assert tried[0] == first
    assert len(set(tried)) > 5
    assert all(3 <= len(name) <= 30 for name in tried)


@pytest.mark.parametrize("given", ["", "日本語", "..", "admin", "a\x00b", "🦊🦊🦊", "<script>"])
def test_a_username_is_never_odd_nor_reserved_nor_an_address(given: str) -> None:
    tried = list(usernames(Stranger("1", email="secret.address@example.org", email_verified=True, username=given)))
    assert tried
    assert all(name.lower() != "admin" and "secret" not in name and "<" not in name for name in tried)


async def test_taken_usernames_get_digits(place: Stage) -> None:
    names: list[Any] = []
    for number in range(4):
        place.acme.people["x"] = Stranger(str(number), username="Popular")
        names.append((await place.browser().sign_in("x")).body["user"]["username"])
    assert names[0] == "Popular"
    assert len(set(names)) == 4
    assert all(name.startswith("Popular") for name in names)
