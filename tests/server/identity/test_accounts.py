"""Registering and logging in, over HTTP."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from server.identity.errors import EmailTaken, UsernameTaken
from server.identity.passwords import Cost
from server.identity.service import Identity
from server.kit.ids import uuid7
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import PASSWORD, Client, bearer, register, serve


async def login(client: Client, name: str, password: str = PASSWORD) -> tuple[int, dict[str, object]]:
    answer = await client.post("/api/v1/auth/login", json={"email": name, "password": password})
    return answer.status, await answer.json()


async def test_register_signs_in(client: Client) -> None:
    body = await register(client, "Ada", "Ada@Example.org")
    assert set(body) == {"user", "access_token", "refresh_token", "expires_in", "token_type"}
    assert body["expires_in"] == 900
    answer = await client.get("/api/v1/auth/profile", headers=bearer(body["access_token"]))
    assert answer.status == 200
    profile = await answer.json()
    assert {name: profile[name] for name in body["user"]} == body["user"]
    assert UUID(profile["id"]).version == 7
    assert (profile["username"], profile["email"], profile["email_verified"]) == ("Ada", "Ada@Example.org", False)


@pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.org", " ADA@example.ORG "])
async def test_login_by_username_and_by_address(client: Client, name: str) -> None:
    await register(client, "Ada", "Ada@Example.org")
    status, body = await login(client, name)
    assert (status, body.get("code")) == (200, None)


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("ada@example.com", PASSWORD), ("ada", "")]
)
async def test_wrong_credentials_tell_nothing(client: Client, name: str, password: str) -> None:
    await register(client, "Ada", "ada@example.org")
    status, body = await login(client, name, password)
    if not password:
        assert (status, body["code"]) == (422, "invalid_request")
        return
    assert (status, body["code"]) == (401, "wrong_credentials")
    assert body["detail"] == "No account has this name and password."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("roles", ["admin"]),
        ("username", "ab"),
        ("username", "a" * 31),
        ("username", "has space"),
        ("username", "Grüße"),
        ("username", "-dash"),
        ("username", "dot."),
        ("username", "a@b.c"),
        ("username", "line\nbreak"),
        ("username", "nul\x00nul"),
        ("username", 7),
        ("username", None),
        ("email", "nobody"),
        ("email", "@example.org"),
        ("email", "a@"),
        ("email", "a b@example.org"),
        ("email", "a@b@example.org"),
        ("email", "a@-bad.org"),
        ("email", "a..b@example.org"),
        ("email", "a@" + "b" * 300 + ".org"),
        ("email", "a\x00@example.org"),
        ("password", "short"),
        ("password", "x" * 1025),
        ("password", ["list"]),
    ],
)
async def test_bad_registrations_name_the_field(client: Client, field: str, value: object) -> None:
    good: dict[str, object] = {"email": "ada@example.org", "username": "ada", "password": PASSWORD}
    answer = await client.post("/api/v1/auth/register", json={**good, field: value})
    body = await answer.json()
    assert (answer.status, body["code"]) == (422, "invalid_request"), body
    assert body["errors"][0]["path"] in (f"$.{field}", "$")
    assert body["errors"][0]["message"]


@pytest.mark.parametrize("name", ["ab_", "a.b", "x-1", "ABC", "a" * 30])
async def test_good_usernames(client: Client, name: str) -> None:
    assert (await register(client, name))["user"]["username"] == name


@pytest.mark.parametrize("name", ["Admin", "ROOT", "support"])
async def test_reserved_usernames(client: Client, name: str) -> None:
    answer = await client.post(
        "/api/v1/auth/register", json={"email": "a@example.org", "username": name, "password": PASSWORD}
    )
    assert (answer.status, (await answer.json())["code"]) == (409, "username_taken")


async def test_of_many_at_once_one_gets_the_username(client: Client, make_identity: MakeIdentity) -> None:
    other = await make_identity()
    async with serve(other) as second:
        answers = await asyncio.gather(
            *(
                (client if n % 2 else second).post(
                    "/api/v1/auth/register",
                    json={
                        "email": f"a{n}@example.org",
                        "username": "grace" if n % 3 else "GRACE",
                        "password": PASSWORD,
                    },
                )
                for n in range(12)
            )
        )
        assert sorted(answer.status for answer in answers) == [201] + [409] * 11
        assert {(await answer.json()).get("code") for answer in answers} == {None, "username_taken"}


async def test_an_address_answers_alike_whether_or_not_it_is_known(client: Client, identity: Identity) -> None:
    await identity.create_admin("owner@example.org", "owner", PASSWORD)
    known = await register(client, "first", "owner@example.org")
    unknown = await register(client, "other", "stranger@example.org")
    assert known.keys() == unknown.keys()
    assert known["user"].keys() == unknown["user"].keys()
    assert known["user"]["email_verified"] is unknown["user"]["email_verified"] is False


async def test_unverified_accounts_share_an_address_and_the_password_tells_them_apart(client: Client) -> None:
    squatter = await register(client, "squatter", "ada@example.org", "squatting password")
    ada = await register(client, "ada", "ada@example.org", "the password of ada")
    for password, expected in (("squatting password", squatter), ("the password of ada", ada)):
        status, body = await login(client, "ada@example.org", password)
        assert status == 200
        assert body["user"] == expected["user"]


async def test_a_verified_address_leads_to_its_owner_only(client: Client, identity: Identity) -> None:
    await register(client, "early", "owner@example.org", "the early password")
    await identity.create_admin("Owner@example.org", "owner", PASSWORD)
    await register(client, "late", "owner@example.org", "the late password")
    assert (await login(client, "owner@example.org"))[1]["user"]["username"] == "owner"  # type: ignore[index]
    for name, password in (("early", "the early password"), ("late", "the late password")):
        assert (await login(client, "owner@example.org", password))[0] == 401
        assert (await login(client, name, password))[0] == 200


async def test_every_login_computes_one_hash(client: Client, identity: Identity) -> None:
    await register(client, "ada", "ada@example.org", "the password of ada")
    await register(client, "bob", "ada@example.org", "the password of bob")
    for name in ("ada", "nobody", "ada@example.org", "nobody@example.org"):
        for password in ("the password of bob", "wrong"):
            before = identity.describe()["passwords"]["computed"]  # type: ignore[index]
            await login(client, name, password)
            assert identity.describe()["passwords"]["computed"] == before + 1, name  # type: ignore[index]


async def test_a_login_brings_a_hash_to_the_present_cost(make_identity: MakeIdentity, database: Database) -> None:
    async with serve(await make_identity(Cost(passes=1, memory=64))) as old:
        await register(old, "ada", "ada@example.org", "the password of ada")
        await register(old, "bob", "ada@example.org", "the password of bob")
    async with serve(await make_identity(Cost(passes=2, memory=128))) as new:
        assert (await login(new, "ada", "the password of ada"))[0] == 200
        async with database.acquire() as connection:
            stored = await connection.fetchval("select password_hash from users where username = 'ada'")
        assert stored.startswith("$argon2id$v=19$m=128,t=2,p=1$")
        for name, password in (("ada", "the password of ada"), ("bob", "the password of bob")):
            assert (await login(new, name, password))[0] == 200
            assert (await login(new, "ada@example.org", password))[0] == 200, name


async def test_registration_can_be_closed(make_identity: MakeIdentity) -> None:
    identity = await make_identity(registration="closed")
    await identity.create_admin("a@example.org", "admin", PASSWORD)
    async with serve(identity, registration="closed") as client:
        answer = await client.post(
            "/api/v1/auth/register", json={"email": "b@example.org", "username": "bob", "password": PASSWORD}
        )
        body = await answer.json()
        assert (answer.status, body["code"]) == (403, "registration_closed")
        assert "administrator" in body["detail"]
        assert (await login(client, "admin"))[0] == 200


async def test_attempts_are_limited_by_address(make_identity: MakeIdentity) -> None:
    async with serve(await make_identity(), rate_limit_auth="3/minute") as client:
        assert [(await login(client, "nobody"))[0] for _ in range(4)] == [401, 401, 401, 429]
        answer = await client.post("/api/v1/auth/login", json={"email": "a", "password": "b"})
        body = await answer.json()
        assert (answer.status, body["code"]) == (429, "too_many_requests")
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        assert 0 < body["retry_after"] <= 20
        assert answer.headers["RateLimit"].startswith('"auth";r=0;')


async def test_the_administrator(identity: Identity, make_identity: MakeIdentity) -> None:
    profile = await identity.create_admin("root@example.org", "root", PASSWORD)
    assert (profile.roles, profile.email_verified) == (["admin"], True)
    with pytest.raises(UsernameTaken):
        await identity.create_admin("other@example.org", "ROOT", PASSWORD)
    with pytest.raises(EmailTaken):
        await identity.create_admin("ROOT@example.org", "other", PASSWORD)


async def test_people(identity: Identity, client: Client) -> None:
    ada = UUID((await register(client, "Ada"))["user"]["id"])
    found = await identity.people([ada, uuid7()])
    assert {person.username for person in found.values()} == {"Ada"}
    assert found[ada] == await identity.by_username("aDA")
    assert await identity.people([]) == {}
    assert await identity.by_username("nobody") is None
