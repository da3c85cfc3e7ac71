"""Signing in elsewhere, attacked: other people's browsers, answers out of place, and addresses to be led to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from server.identity.oauth import arrival, flow
from server.identity.oauth.redirects import Redirects
from server.integrations.signin.provider import ProviderAway, ProviderError, Stranger
from server.settings import SettingError
from tests.server.identity.oauth.stack import API, APP, BASE, Stage, changed

ADA = Stranger("1", "ada@example.org", True, "ada", "Ada")
MALLORY = Stranger("666", "mallory@example.org", True, "mallory", "Mallory")
VERIFIER = "a-verifier-of-an-app-that-is-long-enough-for-rfc-7636"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture(autouse=True)
def people(place: Stage) -> None:
    place.acme.people = {"ada": ADA, "mallory": MALLORY}
    place.other.people = {"ada": ADA, "mallory": MALLORY}


async def test_the_cookie_is_kept_from_scripts_and_neighbours(place: Stage) -> None:
    said = await place.browser().call("POST", f"{API}/acme/start", {"redirect": "/studio"})
    [cookie] = said.cookies
    name, _, value = cookie.partition("=")
    assert name.startswith("__Host-signin-")
    attributes = set(cookie.split("; ")[1:])
    assert attributes == {"Path=/", "SameSite=Lax", f"Max-Age={flow.FLOW_SECONDS}", "HttpOnly", "Secure"}
    query = parse_qs(urlsplit(said.body["url"]).query)
    assert query["state"][0] not in cookie
    assert query["redirect_uri"] == [f"{BASE}{API}/acme/callback"]
    assert len(query["code_challenge"][0]) == 43
    assert len(value) < 1500


async def test_a_state_of_another_browser(place: Stage) -> None:
    """Login CSRF: Mallory has gone through the provider and makes Ada's browser bring the answer."""
    mallory, ada = place.browser(), place.browser()
    url = await mallory.start()
    back = await ada.come_back(url, code="mallory")
    assert back.fragment == {"error": "expired"}
    assert place.acme.seen == []
    await ada.start()  # nor when Ada is on her own way
    assert (await ada.come_back(url, code="mallory")).fragment == {"error": "expired"}
    assert "code" in (await mallory.come_back(url, code="mallory")).fragment


async def test_a_code_of_ours_in_another_browser(place: Stage) -> None:
    """The same with the last step: Ada's page is opened with Mallory's code in its fragment."""
    mallory, ada = place.browser(), place.browser()
    back = await mallory.come_back(await mallory.start(), code="mallory")
    await ada.start()
    said = await ada.trade(back.fragment["code"])
    assert (said.status, said.body["code"]) == (400, "bad_sign_in_code")
    # and it is spent: somebody else has seen it
    assert (await mallory.trade(back.fragment["code"])).status == 400
    assert await place.fetchval("select count(*) from users") == 0


async def test_everything_is_good_once(place: Stage) -> None:
    browser = place.browser()
    url = await browser.start()
    kept = dict(browser.cookies)
    back = await browser.come_back(url, code="ada")
    again = await browser.come_back(url, code="ada")
    assert again.fragment == {"error": "expired"}
    assert len(place.acme.seen) == 1
    assert (await browser.trade(back.fragment["code"])).status == 200
    browser.cookies = kept  # whoever has kept the cookie
    assert (await browser.trade(back.fragment["code"])).status == 400
    assert (await browser.come_back(url, code="ada")).fragment == {"error": "expired"}
    assert len(place.acme.seen) == 1


async def test_the_same_code_twice_at_once(place: Stage) -> None:
    browser = place.browser()
    back = await browser.come_back(await browser.start(), code="ada")
    twice = await asyncio.gather(*(browser.trade(back.fragment["code"]) for _ in range(4)))
    assert Counter(said.status for said in twice) == {200: 1, 400: 3}


async def test_one_person_twice_at_once_is_one_account(place: Stage) -> None:
    browsers = [place.browser() for _ in range(4)]
    backs = [await browser.come_back(await browser.start(), code="ada") for browser in browsers]
    said = await asyncio.gather(
        *(browser.trade(back.fragment["code"]) for browser, back in zip(browsers, backs, strict=True))
    )
    assert [each.status for each in said] == [200] * 4
    assert len({each.body["user"]["id"] for each in said}) == 1
    assert await place.fetchval("select count(*) from users") == 1


async def test_an_answer_of_another_provider(place: Stage) -> None:
    """Mix-up: the attempt began with one provider and comes back as another's."""
    browser = place.browser()
    url = await browser.start("acme")
    assert (await browser.come_back(url, "other", code="mallory")).fragment == {"error": "expired"}
    assert place.other.seen == place.acme.seen == []


async def test_the_issuer_is_handed_on(place: Stage) -> None:
    browser = place.browser()
    await browser.come_back(await browser.start(), code="ada", iss="https://acme.example")
    await browser.come_back(await browser.start(), code="ada")
    assert [issuer for _, _, issuer in place.acme.seen] == ["https://acme.example", None]
    attempts = [attempt for attempt, _, _ in place.acme.seen]
    for name in ("state", "nonce", "verifier"):
        assert len({getattr(attempt, name) for attempt in attempts}) == 2
        assert all(len(getattr(attempt, name)) >= 43 for attempt in attempts)


async def test_a_changed_cookie(place: Stage) -> None:
    browser = place.browser()
    url = await browser.start()
    [(name, value)] = browser.cookies.items()
    for wrong in (value[:-4] + "AAAA", value[:20], "", "ä".encode().decode("latin-1"), value + "A" * 3000, "a" * 2000):
        browser.cookies = {name: wrong}
        assert (await browser.come_back(url, code="ada")).fragment == {"error": "expired"}
    # another attempt's, under this one's name
    await browser.start()
    [planted] = [text for other, text in browser.cookies.items() if other != name]
    browser.cookies = {name: planted}
    assert (await browser.come_back(url, code="ada")).fragment == {"error": "expired"}
    browser.cookies = {name: value}
    assert "code" in (await browser.come_back(url, code="ada")).fragment


async def test_answers_that_are_none(place: Stage) -> None:
    browser = place.browser()
    state = parse_qs(urlsplit(await browser.start()).query)["state"][0]
    for query in (
        *("", "state=", "code=ada", "state=x&code=ada", f"state={state}&state={state}&code=ada"),
        *(f"state={state}&state=x", "state=" + "x" * 5000 + "&code=ada"),
    ):
        said = await browser.call("GET", f"{API}/acme/callback?{query}")
        assert (said.status, said.fragment) == (303, {"error": "expired"}), query
    assert place.acme.seen == []


async def test_answers_without_a_code(place: Stage) -> None:
    browser = place.browser()
    for query, error in (
        *(("", "failed"), ("&code=", "failed"), ("&code=ada&code=mallory", "failed"), ("&code=unknown", "failed")),
        *(("&error=access_denied", "denied"), ("&error=access_denied&code=ada", "denied"), ("&code=a%00b", "failed")),
        *(("&error=server_error&error_description=%3Cscript%3E", "failed"), ("&error=", "failed")),
        ("&error=access_denied%0d%0aSet-Cookie:x", "failed"),
    ):
        url = await browser.start()
        state = parse_qs(urlsplit(url).query)["state"][0]
        said = await browser.call("GET", f"{API}/acme/callback?state={state}{query}")
        assert said.fragment == {"error": error, "provider": "acme"}, query
        assert (await browser.come_back(url, code="ada")).fragment == {"error": "expired"}  # the attempt is over


async def test_what_is_too_old(place: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = place.browser()
    with monkeypatch.context() as patch:
        patch.setattr(flow, "FLOW_SECONDS", -1)
        url = await browser.start()
    browser.cookies = {name: value for name, value in browser.cookies.items() if value}
    assert (await browser.come_back(url, code="ada")).fragment == {"error": "expired"}
    with monkeypatch.context() as patch:
        patch.setattr(arrival, "CODE_SECONDS", -1)
        back = await browser.come_back(await browser.start(), code="ada")
    assert (await browser.trade(back.fragment["code"])).status == 400


async def test_nobody_is_led_elsewhere(place: Stage) -> None:
    browser = place.browser()
    for redirect in (
        *("https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", ""),
        *("http:/evil.example", "studio", "/\t/evil.example", "/ /x", "/\r\nSet-Cookie:x", "/ä", "data:text/html,x"),
        *(f"{APP}/more", f"{APP}?x=1", "org.example.app:/other", "ORG.EXAMPLE.APP:/signin", "/" + "a" * 500),
    ):
        said = await browser.call("POST", f"{API}/acme/start", {"redirect": redirect})
        assert (said.status, said.body["code"]) == (422, "invalid_request"), redirect
    assert browser.cookies == {}


async def test_the_page_is_told_where_to_by_us_alone(place: Stage) -> None:
    browser = place.browser()
    said = await browser.sign_in("ada", redirect="/watch/1?t=5#chat")
    assert said.body["redirect"] == "/watch/1?t=5#chat"


async def test_an_app(place: Stage) -> None:
    """It asks by itself, hands the way to a browser, and gets the code back at its own address."""
    app, browser, thief = place.browser(), place.browser(), place.browser()
    url = await app.start(redirect=APP, code_challenge=CHALLENGE)
    assert app.cookies == {}
    assert url.startswith(f"{BASE}{API}/acme/begin?ticket=")
    out = await browser.call("GET", url.removeprefix(BASE))
    assert out.where.startswith("https://acme.example/authorize?")
    back = await browser.come_back(out.where, code="ada")
    assert back.where.startswith(f"{APP}?code=")
    code = parse_qs(urlsplit(back.where).query)["code"][0]
    assert VERIFIER not in out.where
    assert (await app.trade(code, code_verifier=VERIFIER)).body["user"]["username"] == "ada"

    # another app that reads the address cannot trade it, even from the same browser
    for more in ({}, {"code_verifier": VERIFIER + "x"}):
        out = await browser.call("GET", (await app.start(redirect=APP, code_challenge=CHALLENGE)).removeprefix(BASE))
        back = await browser.come_back(out.where, code="ada")
        code = parse_qs(urlsplit(back.where).query)["code"][0]
        who = thief if more else browser
        assert (await who.trade(code, **more)).body["code"] == "bad_sign_in_code"
        assert (await app.trade(code, code_verifier=VERIFIER)).status == 400


async def test_an_app_without_a_challenge_and_a_page_with_one(place: Stage) -> None:
    """PKCE cannot be left out where it is what protects, nor be put where the cookie is."""
    browser = place.browser()
    for body in ({"redirect": APP}, {"redirect": "/studio", "code_challenge": CHALLENGE}):
        assert (await browser.call("POST", f"{API}/acme/start", body)).status == 422
    for wrong in ("short", "=" * 43, CHALLENGE + "=", "x" * 44):
        said = await browser.call("POST", f"{API}/acme/start", {"redirect": APP, "code_challenge": wrong})
        assert said.status == 422


async def test_a_ticket_is_for_its_provider_and_no_cookie(place: Stage) -> None:
    app, browser = place.browser(), place.browser()
    url = (await app.start(redirect=APP, code_challenge=CHALLENGE)).removeprefix(BASE)
    for wrong in (url.replace("/acme/", "/other/"), url[:-6] + "AAAAAA", changed(url, "ticket=.*", "ticket=x")):
        said = await browser.call("GET", wrong)
        assert (said.status, said.fragment, said.cookies) == (303, {"error": "expired"}, [])
    await browser.start()
    [cookie] = browser.cookies.values()
    said = await browser.call("GET", changed(url, "ticket=.*", f"ticket={cookie}"))
    assert said.fragment == {"error": "expired"}


async def test_errors_of_an_app_go_to_the_app(place: Stage) -> None:
    app, browser = place.browser(), place.browser()
    url = (await app.start(redirect=APP, code_challenge=CHALLENGE)).removeprefix(BASE)
    out = await browser.call("GET", url)
    state = parse_qs(urlsplit(out.where).query)["state"][0]
    back = await browser.call("GET", f"{API}/acme/callback?state={state}&error=access_denied")
    assert back.where == f"{APP}?error=denied&provider=acme"
    place.acme.error = ProviderAway("away")
    assert (await browser.call("GET", url)).where == f"{APP}?error=unavailable&provider=acme"


async def test_a_provider_in_trouble(place: Stage) -> None:
    browser = place.browser()
    for error, word in ((ProviderAway("away"), "unavailable"), (ProviderError("lies"), "failed")):
        place.acme.error = None
        url = await browser.start()
        place.acme.error = error
        assert (await browser.come_back(url, code="ada")).fragment == {"error": word, "provider": "acme"}
        said = await browser.call("POST", f"{API}/acme/start", {})
        assert (said.status, said.body["code"]) == (503, "provider_unavailable")


async def test_providers_that_are_not_there(place: Stage) -> None:
    browser = place.browser()
    said = await browser.call("POST", f"{API}/nowhere/start", {})
    assert (said.status, said.body["code"]) == (404, "unknown_provider")
    said = await browser.call("GET", f"{API}/nowhere/callback?state=x&code=y")
    assert said.fragment == {"error": "expired"}
    assert (await browser.call("POST", f"{API}/nowhere/link", {})).status == 401


async def test_many_attempts_leave_few_cookies(place: Stage) -> None:
    browser = place.browser()
    urls = [await browser.start() for _ in range(9)]
    assert len(browser.cookies) <= 4
    assert "code" in (await browser.come_back(urls[-1], code="ada")).fragment


async def test_old_attempts_are_forgotten(place: Stage) -> None:
    browser = place.browser()
    await browser.come_back(await browser.start(), code="ada")
    async with place.database.acquire() as connection:
        await connection.execute("update signin_attempts set expires_at = now() - interval '1 second'")
    await browser.come_back(await browser.start(), code="ada")
    assert await place.fetchval("select count(*) from signin_attempts") == 1


async def test_what_lies_in_the_database_opens_nothing(place: Stage) -> None:
    browser = place.browser()
    back = await browser.come_back(await browser.start(), code="ada")
    kept: dict[str, Any] = {}
    async with place.database.acquire() as connection:
        row = await connection.fetchrow("select * from signin_attempts")
        assert row is not None
        kept = dict(row)
    assert hashlib.sha256(back.fragment["code"].encode()).digest() == kept["code"]
    assert b"ada" not in kept["sealed"]
    await browser.trade(back.fragment["code"])
    assert await place.fetchval("select code is null and sealed is null from signin_attempts")


@pytest.mark.parametrize(
    "app", ["https://a.example/#x", "http://a.example/", "javascript:x", "signin", "http://[", "/x"]
)
def test_app_addresses_that_cannot_be(app: str) -> None:
    with pytest.raises(SettingError):
        Redirects(app)


def test_app_addresses_that_can() -> None:
    for app in ("org.example.app:/signin", "https://app.example.org/signin", "http://127.0.0.1/signin"):
        Redirects(app).check(app, CHALLENGE)
