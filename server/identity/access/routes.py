"""Who may do what, for administrators: /api/v1/admin/users/…"""

from __future__ import annotations

from uuid import UUID

from server.identity.access.offices import Office, RolesBody, TierBody
from server.identity.errors import LastAdmin, NoSuchAccount
from server.identity.service import Identity
from server.kit.http import Access, Call, Routes


def routes(identity: Identity) -> Routes:
    api = Routes("administration", "Accounts, as administrators see them.")

    @api.get(
        "/api/v1/admin/users/{id}/roles",
        access=Access.USER,
        permission="users.read",
        keys=False,
        summary="What an account may do",
        errors=(NoSuchAccount,),
    )
    async def show(id: UUID) -> Office:
        return await identity.offices.of(id)

    @api.put(
        "/api/v1/admin/users/{id}/roles",
        access=Access.USER,
        permission="roles.grant",
        keys=False,
        step_up=True,
        summary="Give an account its roles",
        errors=(NoSuchAccount, LastAdmin),
        example_body=RolesBody(roles=["creator", "moderator"]),
    )
    async def grant(call: Call, id: UUID, body: RolesBody) -> Office:
        """These and no others. It holds within two seconds, also for access tokens that the account has already."""
        return await identity.offices.grant(id, body.roles, actor_id=call.user.user_id, origin=call.origin)

    @api.put(
        "/api/v1/admin/users/{id}/tier",
        access=Access.USER,
        permission="tiers.set",
        keys=False,
        step_up=True,
        summary="Put an account into a tier of rate limits",
        errors=(NoSuchAccount,),
        example_body=TierBody(tier="pro"),
    )
    async def tier(call: Call, id: UUID, body: TierBody) -> Office:
        return await identity.offices.set_tier(id, body.tier, actor_id=call.user.user_id, origin=call.origin)

    return api
