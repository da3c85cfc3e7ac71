"""An OpenID provider that lies: nothing it says is believed that OpenID Connect asks to be checked."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.integrations.signin.discovery import Issuer
from server.integrations.signin.oidc import Oidc
from server.integrations.signin.provider import ProviderAway, ProviderError, Stranger
from server.integrations.signin.tokens import Client
from tests.fakes.signin import CLIENT_ID, CLIENT_SECRET, FakeIssuer, Lies, key
from tests.server.integrations.signin.conftest import ATTEMPT, MakeHttp

GOOGLE_LIKE = {"sub": "110169484474386276334", "email": "ada@example.org", "email_verified": True, "name": "Ada"}
ADA = Stranger("110169484474386276334", "ada@example.org", True, "", "Ada")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def made(issuer: FakeIssuer, http: MakeHttp, clock: Callable[[], float] = time.monotonic) -> Oidc:
    outgoing = await http(issuer)
    about = Issuer(outgoing, issuer.url, clock=clock)
    return Oidc(outgoing, about, Client(CLIENT_ID, CLIENT_SECRET), key="google", title="Google")


async def sign_in(
    oidc: Oidc, issuer: FakeIssuer, who: dict[str, Any] = GOOGLE_LIKE, iss: str | None = None
) -> Stranger:
    code = issuer.consent(await oidc.address(ATTEMPT), who)
    return await oidc.identify(ATTEMPT, code, iss)


async def test_an_honest_provider(issuer: FakeIssuer, http: MakeHttp) -> None:
    oidc = await made(issuer, http)
    query = parse_qs(urlsplit(await oidc.address(ATTEMPT)).query)
    assert query["scope"] == ["openid profile email"]
    assert query["nonce"] == ["nonce-1"]
    assert await sign_in(oidc, issuer) == ADA
    assert await sign_in(oidc, issuer, iss=issuer.url) == ADA
    assert issuer.asked.count("/.well-known/openid-configuration") == 1
    assert issuer.asked.count("/jwks") == 1
    assert "/userinfo" not in issuer.asked


def told_now(claims: dict[str, Any]) -> dict[str, Any]:
    """A timedelta stands for a moment so far from now: the run may have begun long ago."""
    return {
        name: int(time.time() + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }


@pytest.mark.parametrize(
    "claims",
    [
        *(
            {"iss": "https://accounts.evil.example"},
            {"iss": None},
            {"iss": 1},
            {"aud": "another-client"},
            {"aud": None},
        ),
        *(
            {"aud": []},
            {"aud": ["another-client"]},
            {"aud": [CLIENT_ID, "another"], "azp": None},
            {"aud": {CLIENT_ID: 1}},
        ),
        *({"aud": [CLIENT_ID, "another"], "azp": "another"}, {"azp": "another"}, {"azp": ""}),
        *({"exp": timedelta(seconds=-61)}, {"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"iat": None}),
        *({"iat": timedelta(seconds=600)}, {"nbf": timedelta(seconds=600)}, {"nbf": "x"}),
        *({"nonce": "another"}, {"nonce": None}, {"nonce": ""}, {"nonce": ["nonce-1"]}),
        *({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, {"at_hash": ""}, {"at_hash": 5}, {"at_hash": "ä"}),
        *({"sub": None}, {"sub": ""}, {"sub": "x" * 256}, {"sub": {"a": 1}}),
    ],
    ids=str,
)
async def test_a_claim_that_is_not_right(claims: dict[str, Any], issuer: FakeIssuer, http: MakeHttp) -> None:
    issuer.lies = Lies(claims=told_now(claims))
    with pytest.raises(ProviderError) as refused:
        await sign_in(await made(issuer, http), issuer)
    assert not isinstance(refused.value, ProviderAway), "the fake has failed"


@pytest.mark.parametrize(
    "claims",
    [
        *({"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, {"azp": None}, {"at_hash": None}),
        *({"exp": timedelta(seconds=-5)}, {"iat": timedelta(seconds=30)}, {"nbf": timedelta(seconds=30)}),
    ],
    ids=str,
)
async def test_what_is_allowed_is_taken(claims: dict[str, Any], issuer: FakeIssuer, http: MakeHttp) -> None:
    """Also clocks that differ by less than a minute."""
    issuer.lies = Lies(claims=told_now(claims))
    assert await sign_in(await made(issuer, http), issuer) == ADA


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unsigned(alg: str) -> Callable[[FakeIssuer, dict[str, Any]], str]:
    def forge(issuer: FakeIssuer, claims: dict[str, Any]) -> str:
        header = _b64(json.dumps({"alg": alg, "kid": issuer.kid}).encode())
        return f"{header}.{_b64(json.dumps(claims).encode())}."

    return forge


def _hmac(secret: bytes, claims: dict[str, Any]) -> str:
    # past PyJWT's own refusal of a public key as a secret
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header, body = _b64(b'{"alg":"HS256","kid":"k1"}'), _b64(json.dumps(claims).encode())
    return f"{header}.{body}.{_b64(algorithm.sign(f'{header}.{body}'.encode(), secret))}"


def _with_public_key(issuer: FakeIssuer, claims: dict[str, Any]) -> str:
    public = issuer.signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return _hmac(public, claims)


def _changed(issuer: FakeIssuer, claims: dict[str, Any]) -> str:
    header, _, signature = issuer.sign(claims).split(".")
    return f"{header}.{_b64(json.dumps({**claims, 'sub': 'somebody else'}).encode())}.{signature}"


def _own_key(issuer: FakeIssuer, claims: dict[str, Any]) -> str:
    mallory = key()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(mallory.public_key(), as_dict=True)
    return jwt.encode(
        claims, mallory, algorithm="RS256", headers={"kid": "k1", "jwk": public, "jku": f"{issuer.url}/mallory"}
    )


FORGERIES: dict[str, Callable[[FakeIssuer, dict[str, Any]], str]] = {
    "none": _unsigned("none"),
    "None": _unsigned("None"),
    "no algorithm": _unsigned(""),
    "client secret": lambda issuer, claims: _hmac(CLIENT_SECRET.encode(), claims),
    "public key as secret": _with_public_key,
    "changed": _changed,
    "another key": _own_key,
    "unsupported here": lambda issuer, claims: jwt.encode(claims, issuer.signer, "PS256", headers={"kid": issuer.kid}),
    "crit": lambda issuer, claims: issuer.sign(claims, crit=["b64"], b64=True),
    "not a token": lambda issuer, claims: "a.b.c",
    "empty": lambda issuer, claims: "",
    "a list": lambda issuer, claims: jwt.PyJWS().encode(b"[1]", issuer.signer, "RS256", headers={"kid": issuer.kid}),
    "huge": lambda issuer, claims: issuer.sign({**claims, "x": "y" * 20_000}),
    "deep": lambda issuer, claims: jwt.PyJWS().encode(b"[" * 6000, issuer.signer, "RS256", headers={"kid": issuer.kid}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token(forgery: str, issuer: FakeIssuer, http: MakeHttp) -> None:
    issuer.lies = Lies(sign=lambda claims: FORGERIES[forgery](issuer, claims))
    with pytest.raises(ProviderError) as refused:
        await sign_in(await made(issuer, http), issuer)
    assert not isinstance(refused.value, ProviderAway), "the fake has failed"


async def test_no_token_at_all(issuer: FakeIssuer, http: MakeHttp) -> None:
    issuer.lies = Lies(no_id_token=True)
    with pytest.raises(ProviderError):
        await sign_in(await made(issuer, http), issuer)


@pytest.mark.parametrize(
    "metadata",
    [
        *({"issuer": "https://accounts.google.com"}, {"issuer": None}, {"token_endpoint": None}, {"jwks_uri": None}),
        *({"token_endpoint": "file:///etc/passwd"}, {"jwks_uri": 5}, {"authorization_endpoint": "javascript:alert(1)"}),
        *({"code_challenge_methods_supported": ["plain"]}, {"code_challenge_methods_supported": []}),
        *({"id_token_signing_alg_values_supported": ["HS256", "none"]}, {"userinfo_endpoint": "ftp://x/"}),
    ],
    ids=str,
)
async def test_metadata_that_is_not_used(metadata: dict[str, Any], issuer: FakeIssuer, http: MakeHttp) -> None:
    issuer.lies = Lies(metadata=metadata)
    with pytest.raises(ProviderError):
        await (await made(issuer, http)).address(ATTEMPT)


async def test_an_endpoint_inside_our_network_is_not_called(issuer: FakeIssuer, http: MakeHttp) -> None:
    """A provider's document is somebody else's text: it leads nowhere that a user could not lead us."""
    async with FakeIssuer(issuer.signer) as inside:
        issuer.lies = Lies(metadata={"token_endpoint": f"{inside.url}/token"})
        with pytest.raises(ProviderError, match=r"loopback|not allowed"):
            await sign_in(await made(issuer, http), issuer)
        assert inside.asked == []


async def test_answers_of_providers_are_not_mixed_up(issuer: FakeIssuer, http: MakeHttp) -> None:
    """RFC 9207: the issuer beside the code is looked at before the code is sent anywhere."""
    oidc = await made(issuer, http)
    with pytest.raises(ProviderError):
        await sign_in(oidc, issuer, iss="https://accounts.evil.example")
    issuer.lies = Lies(metadata={"authorization_response_iss_parameter_supported": True})
    strict = await made(issuer, http)
    with pytest.raises(ProviderError):
        await sign_in(strict, issuer)
    assert "/token" not in issuer.asked
    assert await sign_in(strict, issuer, iss=issuer.url) == ADA


async def test_pkce_and_the_redirect_are_what_they_were(issuer: FakeIssuer, http: MakeHttp) -> None:
    oidc = await made(issuer, http)
    for wrong in (replace(ATTEMPT, verifier="x" * 43), replace(ATTEMPT, redirect_uri="https://social.test/other")):
        code = issuer.consent(await oidc.address(ATTEMPT), GOOGLE_LIKE)
        with pytest.raises(ProviderError):
            await oidc.identify(wrong, code, None)


async def test_keys_rotate(issuer: FakeIssuer, http: MakeHttp) -> None:
    clock = Clock()
    oidc = await made(issuer, http, clock)
    await sign_in(oidc, issuer)
    issuer.signer, issuer.kid = key(), "k2"
    with pytest.raises(ProviderError):  # looked at only just now
        await sign_in(oidc, issuer)
    clock.now += 31
    assert await sign_in(oidc, issuer) == ADA
    assert issuer.asked.count("/jwks") == 2
    issuer.lies = Lies(sign=lambda claims: issuer.sign(claims, kid="made up"))
    for _ in range(5):  # made-up key ids are not a request each
        with pytest.raises(ProviderError):
            await sign_in(oidc, issuer)
    assert issuer.asked.count("/jwks") == 2
    issuer.lies = Lies()
    clock.now += 3601
    assert await sign_in(oidc, issuer) == ADA
    assert issuer.asked.count("/jwks") == 3


async def test_what_was_read_goes_on_while_the_provider_is_away(issuer: FakeIssuer, http: MakeHttp) -> None:
    clock = Clock()
    oidc = await made(issuer, http, clock)
    issuer.down = True
    with pytest.raises(ProviderAway):
        await oidc.address(ATTEMPT)
    issuer.down = False
    first = await oidc.address(ATTEMPT)
    issuer.down = True
    clock.now += 4000
    assert await oidc.address(ATTEMPT) == first


@pytest.mark.parametrize(
    "keys",
    [
        [{"kty": "oct", "kid": "k1", "alg": "RS256", "k": "AAAA"}],
        [{"kty": "RSA", "kid": "k1", "n": "A" * 2000, "e": "AQAB"}],
        [{"kty": "RSA", "kid": "k1"}, None, 5, {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}, {}],
        [],
    ],
    ids=["a secret", "too long", "broken", "none"],
)
async def test_keys_that_are_none(keys: list[Any], issuer: FakeIssuer, http: MakeHttp) -> None:
    issuer.published = keys
    with pytest.raises(ProviderError):
        await sign_in(await made(issuer, http), issuer)
    issuer.published = [*keys, issuer.public()]  # what is not understood is left out
    assert await sign_in(await made(issuer, http), issuer) == ADA


async def test_a_key_for_encryption_or_another_algorithm_signs_nothing(issuer: FakeIssuer, http: MakeHttp) -> None:
    for change in ({"use": "enc"}, {"alg": "RS512"}):
        issuer.published = [{**issuer.public(), **change}]
        with pytest.raises(ProviderError):
            await sign_in(await made(issuer, http), issuer)


async def test_user_information_is_asked_for_the_address_alone(issuer: FakeIssuer, http: MakeHttp) -> None:
    short = {name: None for name in ("email", "email_verified", "name")}
    issuer.lies = Lies(claims=short)
    assert await sign_in(await made(issuer, http), issuer) == ADA
    for about in (
        {"sub": "somebody else", "email": "victim@example.org", "email_verified": True},
        {},
        [],
        {"sub": None},
    ):
        issuer.lies = Lies(claims=short, userinfo=about)  # type: ignore[arg-type]
        with pytest.raises(ProviderError):
            await sign_in(await made(issuer, http), issuer)


@pytest.mark.parametrize(
    ("said", "verified"), [(True, True), ("true", True), (None, False), (False, False), ("false", False), (1, False)]
)
async def test_whether_an_address_is_verified(said: Any, verified: bool, issuer: FakeIssuer, http: MakeHttp) -> None:
    stranger = await sign_in(await made(issuer, http), issuer, {**GOOGLE_LIKE, "email_verified": said})
    assert stranger.email_verified is verified
