"""The whole way, with a real OpenID provider and a person who goes through its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from server.identity.service import Identity
from server.integrations.signin.configured import configured
from server.kit.outgoing import Outgoing
from server.kit.reachable import Reachable
from server.settings import Settings
from storage.postgres import Database
from tests.server.identity.oauth.stack import BASE, Browser, Said, Stage, stage
from tests.server.identity.stack import Events, Mailbox
from tests.servers.oidc import CLIENT_ID, CLIENT_SECRET, OidcServer, go_through


@pytest.fixture
async def real(
    oidc_server: OidcServer, identity: Identity, database: Database, mailbox: Mailbox, events: Events
) -> AsyncIterator[Stage]:
    more = [
        {"key": "es256", "issuer": oidc_server.issuer, "client_id": "signs-es256", "client_secret": CLIENT_SECRET},
        {"key": "public", "issuer": oidc_server.issuer, "client_id": "public"},
    ]
    given: dict[str, Any] = {
        "oidc_issuer": oidc_server.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_name": "Our Company",
        "oidc_providers": msgspec.json.encode(more).decode(),
    }
    outgoing = Outgoing(Reachable(allowed=f"127.0.0.1:{oidc_server.port}"))
    await outgoing.start()
    providers = configured(Settings(**given), outgoing)
    async with stage(identity, database, mailbox, events, providers) as place:
        yield place
    await outgoing.close()


async def there_and_back(browser: Browser, login: str, key: str = "oidc", *, deny: bool = False) -> Said:
    url = await browser.start(key, redirect="/studio?x=1")
    arrived = await go_through(url, login, BASE, deny=deny)
    parts = urlsplit(arrived)
    return await browser.call("GET", f"{parts.path}?{parts.query}")


async def test_a_stranger_becomes_an_account_and_comes_back_to_it(real: Stage) -> None:
    listed = await real.browser().call("GET", "/api/v1/auth/oauth")
    assert [item["title"] for item in listed.body["items"]] == ["Our Company", "es256", "public"]
    browser = real.browser()
    back = await there_and_back(browser, "ada")
    assert back.status == 303
    said = await browser.trade(back.fragment["code"])
    assert said.status == 200, said.body
    user = said.body["user"]
    assert (user["username"], user["display_name"]) == ("ada", "Person ada")
    assert (user["email"], user["email_verified"]) == ("ada@example.org", True)
    assert (said.body["redirect"], said.body["created"]) == ("/studio?x=1", True)
    assert browser.cookies == {} or not any("signin" in name for name in browser.cookies)
    browser.token = said.body["access_token"]
    assert (await browser.call("GET", "/api/v1/auth/profile")).body["id"] == user["id"]
    links = (await browser.call("GET", "/api/v1/auth/oauth/links")).body["items"]
    assert [(link["provider"], link["title"], link["name"]) for link in links] == [("oidc", "Our Company", "ada")]

    again = real.browser()
    back = await there_and_back(again, "ada")
    said = await again.trade(back.fragment["code"])
    assert (said.body["user"]["id"], said.body["created"]) == (user["id"], False)
    methods = await real.fetchval("select array_agg(distinct m) from sessions, unnest(methods) m")
    assert methods == ["oidc:oidc"]
    assert real.events.of(user["id"]) == ["account.registered", "account.signed_in", "account.signed_in"]


@pytest.mark.parametrize("key", ["es256", "public"])
async def test_other_kinds_of_clients(real: Stage, key: str) -> None:
    """ID tokens signed with ES256; a client without a secret, which PKCE alone protects."""
    browser = real.browser()
    back = await there_and_back(browser, f"grace{key}", key)
    said = await browser.trade(back.fragment["code"])
    assert said.body["user"]["username"] == f"grace{key}"


async def test_what_the_provider_has_not_verified_is_not(real: Stage) -> None:
    for login, email in (("eve!", "eve@example.org"), ("bob?", "")):
        browser = real.browser()
        back = await there_and_back(browser, login)
        user = (await browser.trade(back.fragment["code"])).body["user"]
        assert (user["email"], user["email_verified"]) == (email, False)
    assert [mail.template for mail in real.mailbox.sent] == ["verify_email"]


async def test_a_person_may_say_no(real: Stage) -> None:
    browser = real.browser()
    back = await there_and_back(browser, "ada", deny=True)
    assert back.fragment == {"error": "denied", "provider": "oidc"}
    assert await real.fetchval("select count(*) from users") == 0


async def test_the_answer_names_its_issuer(real: Stage, oidc_server: OidcServer) -> None:
    """RFC 9207: the provider announces `iss`; an answer without it, or with another, is not its own."""
    for change in ("", "&iss=https%3A%2F%2Fevil.example"):
        browser = real.browser()
        arrived = urlsplit(await go_through(await browser.start("oidc"), "ada", BASE))
        query = parse_qs(arrived.query)
        assert query["iss"] == [oidc_server.issuer]
        rest = "&".join(f"{name}={query[name][0]}" for name in ("state", "code"))
        back = await browser.call("GET", f"{arrived.path}?{rest}{change}")
        assert back.fragment["error"] == "failed"


async def test_a_code_of_one_attempt_does_not_serve_another(real: Stage) -> None:
    """Code injection: PKCE and the nonce tie a code to the attempt that it was given in."""
    victim, thief = real.browser(), real.browser()
    stolen = parse_qs(urlsplit(await go_through(await victim.start("oidc"), "victim", BASE)).query)
    own = parse_qs(urlsplit(await thief.start("oidc")).query)
    back = await thief.call(
        "GET",
        f"/api/v1/auth/oauth/oidc/callback?state={own['state'][0]}&code={stolen['code'][0]}&iss={stolen['iss'][0]}",
    )
    assert back.fragment["error"] == "failed"


async def test_the_provider_rotates_its_keys_and_goes_away(
    real: Stage, oidc_server: OidcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.integrations.signin.discovery._LOOK_AGAIN", 0.0)
    first = real.browser()
    assert "code" in (await there_and_back(first, "ada")).fragment
    oidc_server.close()
    waiting = real.browser()
    url = await waiting.start("oidc")
    back = await waiting.come_back(url, "oidc", code="x", iss=oidc_server.issuer)
    assert back.fragment["error"] == "unavailable"
    oidc_server.start()  # with new keys
    second = real.browser()
    assert "code" in (await there_and_back(second, "ada")).fragment
