"""What others do to an account: giving roles and tiers, and taking second factors away from who has lost them. What was
given holds for tokens that are out already: here at once, in every other process within two seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from server.identity import store
from server.identity.access.roles import Role, Tier, permissions_of
from server.identity.errors import LastAdmin, NoSuchAccount
from server.identity.factors import store as factors
from server.identity.ground import Ground
from server.identity.models import Account, Facts
from server.identity.notices import factors_removed
from server.kit.auth import ADMIN, Origin


class RolesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    roles: Annotated[list[Role], Meta(max_length=10, description="all that the account shall have")]


class TierBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tier: Tier


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may do. permissions: what the roles together carry."""

    id: UUID
    username: str
    roles: list[str]
    tier: str
    permissions: list[str]


class Offices:
    """Owns nothing."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def of(self, user_id: UUID) -> Office:
        """Raises NoSuchAccount."""
        async with self._ground.database.acquire() as connection:
            account = await store.by_id(connection, user_id)
        return _office(_there(account))

    async def grant(
        self, user_id: UUID, roles: Sequence[str], *, actor_id: UUID | None = None, origin: Origin | None = None
    ) -> Office:
        """These roles and no others. actor_id: who gives them; None: the operator, by a command.

        Raises NoSuchAccount; LastAdmin, when nobody would be left to give roles.
        """
        wanted = sorted(set(roles))
        async with self._ground.database.transaction() as connection:
            admins = await store.lock_admins(connection)
            account = _there(await store.lock(connection, user_id))
            if account.roles == wanted:
                return _office(account)
            if ADMIN not in wanted and admins == [user_id]:
                raise LastAdmin("This is the only administrator; make another one first.")
            await store.grant_roles(connection, user_id, wanted)
            changed = msgspec.structs.replace(account, roles=wanted)
            await self._ground.audit.record(
                connection, user_id, "roles.changed", origin, actor_id=actor_id, before=account.roles, after=wanted
            )
            await store.account_changed(connection, user_id)
        self._tell(changed)
        return _office(changed)

    async def set_tier(
        self, user_id: UUID, tier: Tier, *, actor_id: UUID | None = None, origin: Origin | None = None
    ) -> Office:
        """Raises NoSuchAccount."""
        async with self._ground.database.transaction() as connection:
            account = _there(await store.lock(connection, user_id))
            if account.tier == tier:
                return _office(account)
            await store.set_tier(connection, user_id, tier)
            changed = msgspec.structs.replace(account, tier=tier)
            await self._ground.audit.record(
                connection, user_id, "tier.changed", origin, actor_id=actor_id, before=account.tier, after=tier
            )
            await store.account_changed(connection, user_id)
        self._tell(changed)
        return _office(changed)

    async def forget_factors(self, user_id: UUID) -> list[str]:
        """The operator has made sure by other means who has lost his authenticator app, passkeys and recovery codes:
        they are deleted, and the password, or one set by mail, is enough again. What there was. Raises NoSuchAccount.
        """
        async with self._ground.database.transaction() as connection:
            account = _there(await store.lock(connection, user_id))
            held = await factors.held(connection, user_id)
            gone = ["authenticator app"] * (held.totp_since is not None) + ["passkeys"] * (held.passkeys > 0)
            await factors.forget(connection, user_id)
            if gone:
                await self._ground.audit.record(connection, user_id, "factors.removed", None, by="operator", what=gone)
                await factors_removed(self._ground, connection, account)
        return gone

    def _tell(self, account: Account) -> None:
        facts = Facts(
            account.id, account.username, frozenset(account.roles), account.tier, account.disabled_at is not None
        )
        self._ground.changed([facts])


def _there(account: Account | None) -> Account:
    if account is None:
        raise NoSuchAccount("There is no account with this id.")
    return account


def _office(account: Account) -> Office:
    return Office(
        id=account.id,
        username=account.username,
        roles=account.roles,
        tier=account.tier,
        permissions=sorted(permissions_of(account.roles)),
    )
