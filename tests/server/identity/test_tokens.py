"""Access tokens: what is let in, what is not, and what is kept in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import ClientResponse
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.identity.access.roles import permissions_of
from server.identity.keys import KeyRing, thumbprint
from server.identity.models import Account
from server.identity.service import Identity
from server.identity.tokens import AccessTokens
from server.kit.auth import Caller
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.problems import Unauthorized
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import Client, bearer, register


def account(name: str = "ada") -> Account:
    return Account(
        id=uuid7(),
        username=name,
        display_name=name,
        email="a@example.org",
        email_verified_at=None,
        password_hash="",
        roles=["creator"],
        created_at=now(),
        disabled_at=None,
    )


@pytest.fixture
async def keys(database: Database) -> KeyRing:
    ring = KeyRing(database, 900)
    await ring.start()
    return ring


async def test_a_token_is_checked_once(keys: KeyRing) -> None:
    tokens, who, session = AccessTokens(keys, 900), account(), uuid7()
    proven = now()
    token = tokens.issue(who, session, proven)
    expected = Caller(
        who.id,
        "ada",
        frozenset({"creator"}),
        session,
        permissions=permissions_of(["creator"]),
        proven_at=float(int(proven.timestamp())),
    )
    assert [await tokens.check(token) for _ in range(5)] == [expected] * 5
    assert tokens.checks == 1
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": keys.signing[0], "typ": "at+jwt"}


async def test_the_memory_is_bounded(keys: KeyRing) -> None:
    tokens = AccessTokens(keys, 900, cached=100)
    first = tokens.issue(account(), uuid7(), now())
    await tokens.check(first)
    for number in range(250):
        await tokens.check(tokens.issue(account(f"user{number}"), uuid7(), now()))
        await tokens.check(first)
    assert tokens.describe()["cached"] == 100
    assert tokens.checks == 251  # the one in use was never forgotten
    assert AccessTokens(keys, 900)._limit == 10_000


async def test_refused_tokens_are_not_kept(keys: KeyRing) -> None:
    tokens = AccessTokens(keys, 900)
    for number in range(50):
        with pytest.raises(Unauthorized):
            await tokens.check(f"a.b.{number}")
    assert tokens.describe()["cached"] == 0


async def test_a_token_expires_also_in_memory(keys: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = AccessTokens(keys, 900)
    token = tokens.issue(account(), uuid7(), now())
    await tokens.check(token)
    later = time.time() + 910
    monkeypatch.setattr("server.identity.tokens.time.time", lambda: later)
    with pytest.raises(Unauthorized, match="expired"):
        await tokens.check(token)
    assert tokens.describe()["cached"] == 0
    fresh = tokens.issue(account(), uuid7(), now())
    tokens.revoke([uuid7()])
    later += 2000
    tokens.forget_old()
    assert tokens.describe()["revoked"] == 0
    with pytest.raises(Unauthorized):
        await tokens.check(fresh)


def _forge(claims: dict[str, Any], key: Any, header: dict[str, Any], algorithm: str = "EdDSA") -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers=header)


async def test_forged_tokens(keys: KeyRing, client: Client) -> None:
    kid, key = keys.signing
    moment = int(time.time())
    good = {
        "iss": "social-flow",
        "aud": "social-flow",
        "sub": str(uuid7()),
        "sid": str(uuid7()),
        "name": "eve",
        "roles": ["admin"],
        "iat": moment,
        "exp": moment + 60,
    }
    public = key.public_key().public_bytes_raw()
    stranger = Ed25519PrivateKey.generate()
    forged = {
        "another key under our kid": _forge(good, stranger, {"kid": kid}),
        "an unknown kid": _forge(good, stranger, {"kid": "unknown"}),
        "no kid": _forge(good, key, {}),
        "HMAC with the public key": _forge(good, public, {"kid": kid}, "HS256"),
        "no signature": _forge(good, None, {"kid": kid}, "none"),
        "another audience": _forge({**good, "aud": "else"}, key, {"kid": kid}),
        "another issuer": _forge({**good, "iss": "else"}, key, {"kid": kid}),
        "no expiry": _forge({k: v for k, v in good.items() if k != "exp"}, key, {"kid": kid}),
        "expired": _forge({**good, "exp": moment - 60}, key, {"kid": kid}),
        "no session": _forge({k: v for k, v in good.items() if k != "sid"}, key, {"kid": kid}),
        "a session that is no id": _forge({**good, "sid": "x"}, key, {"kid": kid}),
        "roles that are no list": _forge({**good, "roles": {"admin": 1}}, key, {"kid": kid}),
        "from the future": _forge({**good, "iat": moment + 3600}, key, {"kid": kid}),
    }
    tokens = AccessTokens(keys, 900)
    await tokens.check(_forge(good, key, {"kid": kid}))
    for what, token in forged.items():
        with pytest.raises(Unauthorized):
            await tokens.check(token)
        assert (await client.get("/api/v1/auth/profile", headers=bearer(token))).status == 401, what


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_refused_not_failed(text: str) -> None:
    class NoKeys:
        async def public(self, kid: str) -> Ed25519PublicKey | None:
            return None

    tokens = AccessTokens(NoKeys(), 900)  # type: ignore[arg-type]

    async def check() -> None:
        with pytest.raises(Unauthorized):
            await tokens.check(text)

    asyncio.run(check())


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "bearer x",
        "Bearer a b",
        "Bearer ..",
        "Bearer " + "a" * 5000,
        "Bearer é.é.é",
        f"Bearer {_segment([])}.{_segment([])}.x",
        f"Bearer {_segment({'alg': 'EdDSA', 'kid': ['x']})}.{_segment({})}.x",
        f"Bearer {_segment({'alg': 'EdDSA', 'kid': 'x' * 500})}.{_segment({})}.x",
        "Bearer " + base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.x",
        "Basic YTpi",
        "Digest x",
        "Bearer\tx",
        "x",
        "",
    ],
)
async def test_authorization_headers(client: Client, header: str) -> None:
    answer: ClientResponse = await client.get("/api/v1/auth/profile", headers={"Authorization": header})
    body = await answer.json()
    assert (answer.status, body["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_two_processes_that_start_at_once_agree_on_a_key(database: Database) -> None:
    rings = [KeyRing(database, 900) for _ in range(5)]
    await asyncio.gather(*(ring.start() for ring in rings))
    assert len({ring.signing[0] for ring in rings}) == 1
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from signing_keys") == 1


async def test_rotation(make_identity: MakeIdentity, client: Client, identity: Identity) -> None:
    other = await make_identity()
    before = (await register(client, "ada"))["access_token"]
    kid = await other.rotate_keys()
    identity._keys._looked_at = float("-inf")
    after = other._tokens.issue(account("bob"), uuid7(), now())
    assert jwt.get_unverified_header(after)["kid"] == kid != jwt.get_unverified_header(before)["kid"]
    for process in (identity, other):
        assert (await process.authenticate(before)).username == "ada"
        assert (await process.authenticate(after)).username == "bob"
    assert len(other.jwks()) == 2


async def test_a_key_is_replaced_when_it_is_old(database: Database) -> None:
    rings = [KeyRing(database, 900) for _ in range(4)]
    for ring in rings:
        await ring.start()
    first = rings[0].signing[0]
    await rings[0].rotate_when_old(30)
    await rings[0].rotate_when_old(0)
    assert rings[0].signing[0] == first
    async with database.acquire() as connection:
        await connection.execute("update signing_keys set created_at = now() - interval '31 days'")
    for ring in rings:
        await ring.refresh()
    await rings[0].rotate_when_old(0)
    assert rings[0].signing[0] == first, "0: only by command"
    await asyncio.gather(*(ring.rotate_when_old(30) for ring in rings))
    assert {ring.signing[0] for ring in rings} != {first}
    assert len({ring.signing[0] for ring in rings}) == 1, "one of them made it"
    assert await rings[1].public(first) is not None, "tokens that are out stay good"


async def test_made_up_kids_are_no_queries(keys: KeyRing) -> None:
    asked = 0
    original = keys.refresh

    async def refresh() -> None:
        nonlocal asked
        asked += 1
        await original()

    keys.refresh = refresh  # type: ignore[method-assign]
    keys._looked_at = float("-inf")
    assert await asyncio.gather(*(keys.public(f"kid {n}") for n in range(100))) == [None] * 100
    assert asked == 1


async def test_jwks_checks_our_tokens(client: Client) -> None:
    token = (await register(client, "ada"))["access_token"]
    answer = await client.get("/.well-known/jwks.json")
    (key,) = (await answer.json())["keys"]
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["EdDSA"], audience="social-flow")
    assert claims["name"] == "ada"
    assert UUID(claims["sid"])
    assert "max-age" in answer.headers["Cache-Control"]


def test_thumbprint_of_rfc_8037() -> None:
    # RFC 8037, appendix A.3
    x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    expected = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert thumbprint(Ed25519PublicKey.from_public_bytes(x)) == expected
