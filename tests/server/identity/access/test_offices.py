"""Roles, permissions and tiers: who gives them, and when they hold."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from server.identity.access.roles import PERMISSIONS, ROLES, permissions_of
from server.identity.errors import LastAdmin, NoSuchAccount
from server.identity.service import Identity
from server.kit.ids import uuid7
from storage.postgres import Database
from tests.server.identity.conftest import MakeIdentity
from tests.server.identity.stack import PASSWORD, Client, Events, bearer, post, register
from tests.support import eventually


async def root(client: Client, identity: Identity) -> dict[str, str]:
    await identity.create_admin("root@example.org", "keeper", PASSWORD)
    _, body = await post(client, "login", email="keeper", password=PASSWORD)
    return bearer(body["access_token"])


async def put(client: Client, by: dict[str, str], id: str, what: str, **body: Any) -> tuple[int, Any]:
    answer = await client.put(f"/api/v1/admin/users/{id}/{what}", json=body, headers=by)
    return answer.status, await answer.json()


def test_every_role_is_known_and_an_unknown_one_carries_nothing() -> None:
    assert set(PERMISSIONS) == set(ROLES)
    assert permissions_of(["user"]) == permissions_of([]) == permissions_of(["emperor"]) == frozenset()
    assert permissions_of(["creator", "moderator"]) == PERMISSIONS["creator"] | PERMISSIONS["moderator"]
    assert all(permissions_of(["admin"]) >= permissions_of([role]) for role in ROLES)


async def test_a_role_holds_for_tokens_that_are_out_already(
    client: Client, identity: Identity, make_identity: MakeIdentity, events: Events
) -> None:
    other = await make_identity()
    ada = await register(client, "ada")
    token = ada["access_token"]
    assert (await other.authenticate(token)).permissions == frozenset()
    by = await root(client, identity)
    status, office = await put(client, by, ada["user"]["id"], "roles", roles=["moderator", "creator", "creator"])
    assert (status, office["roles"]) == (200, ["creator", "moderator"])
    assert "users.ban" in office["permissions"]
    assert "users.ban" in (await identity.authenticate(token)).permissions, "here at once"

    async def there() -> bool:
        return "users.ban" in (await other.authenticate(token)).permissions

    await eventually(there, within=2, what="the other process knows of the role")
    late = await make_identity()
    assert "users.ban" in (await late.authenticate(token)).permissions
    _, refreshed = await post(client, "refresh", refresh_token=ada["refresh_token"])
    assert (await other.authenticate(refreshed["access_token"])).roles == {"creator", "moderator"}
    assert (await put(client, by, ada["user"]["id"], "roles", roles=[]))[0] == 200
    for process in (identity, other):

        async def gone(process: Identity = process) -> bool:
            return not (await process.authenticate(refreshed["access_token"])).permissions

        await eventually(gone, within=2, what="the role is gone")
    assert events.of(ada["user"]["id"]).count("roles.changed") == 2


async def test_who_may_not(client: Client, identity: Identity, database: Database) -> None:
    ada, eve = await register(client, "ada"), await register(client, "eve")
    id = ada["user"]["id"]
    by = await root(client, identity)
    assert (await put(client, {}, id, "roles", roles=["admin"]))[0] == 401
    assert (await put(client, bearer(ada["access_token"]), id, "roles", roles=["admin"]))[0] == 403
    assert (await put(client, by, eve["user"]["id"], "roles", roles=["moderator"]))[0] == 200
    assert (await put(client, bearer(eve["access_token"]), id, "roles", roles=["moderator"]))[0] == 403
    assert (await put(client, bearer(eve["access_token"]), eve["user"]["id"], "tier", tier="pro"))[0] == 403
    assert (await put(client, by, id, "roles", roles=["emperor"]))[0] == 422
    assert (await put(client, by, str(uuid7()), "roles", roles=[]))[0] == 404
    assert (await client.get(f"/api/v1/admin/users/{id}/roles", headers=bearer(eve["access_token"]))).status == 200
    # somebody who has been away has to show himself first
    async with database.acquire() as connection:
        await connection.execute("update sessions set proven_at = now() - interval '1 day'")
    _, body = await post(client, "login", email="keeper", password=PASSWORD)
    async with database.acquire() as connection:
        await connection.execute("update sessions set proven_at = now() - interval '1 day'")
    _, body = await post(client, "refresh", refresh_token=body["refresh_token"])
    status, problem = await put(client, bearer(body["access_token"]), id, "roles", roles=["admin"])
    assert (status, problem["code"]) == (403, "step_up_required")


async def test_the_last_administrator_stays(identity: Identity) -> None:
    first = await identity.create_admin("root@example.org", "keeper", PASSWORD)
    with pytest.raises(LastAdmin):
        await identity.offices.grant(first.id, ["user"])
    second = await identity.create_admin("other@example.org", "other", PASSWORD)
    assert (await identity.offices.grant(first.id, ["user"])).roles == ["user"]
    with pytest.raises(LastAdmin):
        await identity.offices.grant(second.id, [])
    with pytest.raises(NoSuchAccount):
        await identity.offices.grant(uuid7(), [])


async def test_a_tier(client: Client, identity: Identity, events: Events) -> None:
    ada = await register(client, "ada")
    assert (await identity.authenticate(ada["access_token"])).tier == "free"
    by = await root(client, identity)
    status, office = await put(client, by, ada["user"]["id"], "tier", tier="pro")
    assert (status, office["tier"]) == (200, "pro")
    assert (await identity.authenticate(ada["access_token"])).tier == "pro"
    assert (await put(client, by, ada["user"]["id"], "tier", tier="gold"))[0] == 422
    assert UUID(ada["user"]["id"])
    assert "tier.changed" in events.of(ada["user"]["id"])
