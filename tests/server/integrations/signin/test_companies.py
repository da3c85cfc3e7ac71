"""GitHub, Facebook and X: what they are asked, and what is made of their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from server.integrations.signin import facebook, github, twitter
from server.integrations.signin.configured import configured
from server.integrations.signin.oidc import Oidc
from server.integrations.signin.provider import Provider, ProviderAway, ProviderError, Stranger
from server.integrations.signin.tokens import Client
from server.settings import SettingError, Settings
from tests.fakes.signin import CLIENT_ID, CLIENT_SECRET, Fake, FakeFacebook, FakeGitHub, FakeTwitter
from tests.server.integrations.signin.conftest import ATTEMPT, MakeHttp

CLIENT = Client(CLIENT_ID, CLIENT_SECRET)
FAKES: dict[str, type[Fake]] = {"github": FakeGitHub, "facebook": FakeFacebook, "twitter": FakeTwitter}
PEOPLE: dict[str, dict[str, Any]] = {
    "github": {
        "id": 583231,
        "login": "octocat",
        "name": "Mona",
        "emails": [
            {"email": "old@example.org", "primary": False, "verified": True, "visibility": None},
            {"email": "mona@example.org", "primary": True, "verified": True, "visibility": "private"},
        ],
    },
    "facebook": {"id": "10158", "name": "Mona", "email": "mona@example.org"},
    "twitter": {"id": "2244994945", "name": "Mona", "username": "monadev"},
}
STRANGERS = {
    "github": Stranger("583231", "mona@example.org", True, "octocat", "Mona"),
    "facebook": Stranger("10158", "mona@example.org", False, "", "Mona"),
    "twitter": Stranger("2244994945", "", False, "monadev", "Mona"),
}


async def provider_of(name: str, fake: Fake, http: MakeHttp) -> Provider:
    outgoing = await http(fake)
    if name == "github":
        return github.GitHub(outgoing, CLIENT, github.Places(site=fake.url, api=fake.url))
    if name == "facebook":
        return facebook.Facebook(outgoing, CLIENT, facebook.Places(site=fake.url, graph=fake.url))
    return twitter.Twitter(outgoing, replace(CLIENT, basic=True), twitter.Places(site=fake.url, api=fake.url))


@pytest.mark.parametrize("name", FAKES)
async def test_a_person_is_known_by_the_lasting_id(name: str, http: MakeHttp) -> None:
    async with FAKES[name]() as fake:
        provider = await provider_of(name, fake, http)
        code = fake.consent(await provider.address(ATTEMPT), PEOPLE[name])
        assert await provider.identify(ATTEMPT, code, None) == STRANGERS[name]
        with pytest.raises(ProviderError):  # a code is good once
            await provider.identify(ATTEMPT, code, None)


@pytest.mark.parametrize("name", FAKES)
async def test_a_stolen_code_is_worth_nothing_without_the_verifier(name: str, http: MakeHttp) -> None:
    async with FAKES[name]() as fake:
        provider = await provider_of(name, fake, http)
        code = fake.consent(await provider.address(ATTEMPT), PEOPLE[name])
        with pytest.raises(ProviderError):
            await provider.identify(replace(ATTEMPT, verifier="another" * 8), code, None)


@pytest.mark.parametrize("name", FAKES)
async def test_a_provider_that_is_down(name: str, http: MakeHttp) -> None:
    async with FAKES[name]() as fake:
        provider = await provider_of(name, fake, http)
        fake.down = True
        with pytest.raises(ProviderAway):
            await provider.identify(ATTEMPT, "code", None)


@pytest.mark.parametrize(
    ("emails", "email", "verified"),
    [
        ([{"email": "a@example.org", "primary": True, "verified": False}], "a@example.org", False),
        ([{"email": "a@example.org", "primary": False, "verified": True}], "", False),
        ([{"email": "a@example.org", "primary": True, "verified": "true"}], "a@example.org", False),
        ([], "", False),
        ({"message": "Not Found"}, "", False),
        ([None, 1, {"email": 3, "primary": True, "verified": True}], "", True),
    ],
)
async def test_only_githubs_verified_primary_address_counts(
    emails: Any, email: str, verified: bool, http: MakeHttp
) -> None:
    async with FakeGitHub() as fake:
        provider = await provider_of("github", fake, http)
        code = fake.consent(await provider.address(ATTEMPT), {**PEOPLE["github"], "emails": emails})
        stranger = await provider.identify(ATTEMPT, code, None)
        assert (stranger.email, stranger.email_verified) == (email, verified)


@pytest.mark.parametrize("id", [None, "", 0, -1, True, 1.5, "x" * 256, "a\x00b", []])
async def test_nobody_is_signed_in_without_an_id(id: Any, http: MakeHttp) -> None:
    async with FakeGitHub() as fake:
        provider = await provider_of("github", fake, http)
        code = fake.consent(await provider.address(ATTEMPT), {**PEOPLE["github"], "id": id})
        with pytest.raises(ProviderError):
            await provider.identify(ATTEMPT, code, None)


async def test_the_settings_switch_providers_on(http: MakeHttp) -> None:
    outgoing = await http()
    assert configured(Settings(), outgoing) == {}
    given: dict[str, Any] = {}
    for name in ("google", "facebook", "twitter", "github"):
        given |= {f"{name}_client_id": f"id-{name}", f"{name}_client_secret": "secret"}
    more = '[{"key": "work", "issuer": "https://id.work.example/realms/a", "client_id": "x", "name": "Work"}]'
    settings = Settings(**given, oidc_issuer="https://id.example.org", oidc_client_id="y", oidc_providers=more)
    found = configured(settings, outgoing)
    assert [(provider.key, provider.title, provider.authority) for provider in found.values()] == [
        ("google", "Google", "https://accounts.google.com"),
        ("facebook", "Facebook", "https://www.facebook.com"),
        ("twitter", "X (Twitter)", "https://twitter.com"),
        ("github", "GitHub", "https://github.com"),
        ("oidc", "OpenID", "https://id.example.org"),
        ("work", "Work", "https://id.work.example/realms/a"),
    ]
    assert isinstance(found["google"], Oidc)
    for name, host in (("facebook", "www.facebook.com"), ("twitter", "x.com"), ("github", "github.com")):
        address = urlsplit(await found[name].address(ATTEMPT))
        query = parse_qs(address.query)
        assert (address.scheme, address.hostname) == ("https", host)
        assert query["client_id"] == [f"id-{name}"]
        assert query["state"] == ["state-1"]
        assert query["redirect_uri"] == ["https://social.test/cb"]
        assert query["code_challenge_method"] == ["S256"]
        assert "secret" not in address.query


@pytest.mark.parametrize(
    "settings",
    [
        {"google_client_id": "x"},
        {"github_client_secret": "x"},
        {"oidc_issuer": "https://id.example.org"},
        {"oidc_issuer": "id.example.org", "oidc_client_id": "x"},
        {"oidc_issuer": "https://id.example.org?x", "oidc_client_id": "x"},
        {"oidc_providers": "{}"},
        {"oidc_providers": '[{"key": "google", "issuer": "https://a.example", "client_id": "x"}]'},
        {"oidc_providers": '[{"key": "A b", "issuer": "https://a.example", "client_id": "x"}]'},
        {"oidc_providers": '[{"key": "a", "issuer": "https://a.example", "client_id": "x", "scret": "typo"}]'},
        {"oidc_providers": '[{"key": "a", "issuer": "https://a.example", "client_id": "x"}, {}]'},
        {
            "oidc_providers": "["
            + ", ".join(2 * ['{"key": "a", "issuer": "https://a.example", "client_id": "x"}'])
            + "]"
        },
    ],
)
async def test_settings_that_cannot_be(settings: dict[str, str], http: MakeHttp) -> None:
    with pytest.raises(SettingError):
        configured(Settings(**settings), await http())
