"""API keys over HTTP. No key gets here: what makes keys is a person."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from server.identity.apikeys.errors import NoSuchKey, TooManyKeys
from server.identity.apikeys.models import ApiKeys, MadeKey, MakeKeyBody
from server.identity.apikeys.service import Keys
from server.kit.http import Access, Call, Routes


def routes(keys: Keys) -> Routes:
    api = Routes(tag="keys", description="Keys with which programs call this API for an account.")

    @api.post(
        "/api/v1/keys",
        status=201,
        access=Access.USER,
        keys=False,
        step_up=True,
        idempotent=True,
        errors=(TooManyKeys,),
        summary="Make an API key",
        example_body={"name": "overlay", "scopes": ["chat:read"], "expires_at": None},
    )
    async def make(call: Call, body: MakeKeyBody) -> MadeKey:
        """Send `secret` as `Authorization: Bearer sfk_…`. It is shown this once. A scope `<tag>:read` opens the GET
        routes of that tag, `<tag>:write` the others; `available` of the list names those that there are."""
        return await keys.make(call.user.user_id, body, call.origin)

    @api.get("/api/v1/keys", access=Access.USER, keys=False, summary="API keys of the account")
    async def every(call: Call) -> ApiKeys:
        """Newest first, without their secrets."""
        return await keys.all(call.user.user_id)

    @api.delete("/api/v1/keys/{id}", access=Access.USER, keys=False, errors=(NoSuchKey,), summary="Delete an API key")
    async def delete(call: Call, id: UUID) -> None:
        """It is refused everywhere within two seconds."""
        await keys.delete(call.user.user_id, id, call.origin)

    return api


def scopes_of(groups: Iterable[Routes]) -> set[str]:
    """The scopes that open at least one of these routes."""
    return {
        route.scope
        for group in groups
        for route in group.routes
        if route.scope is not None and route.access is not Access.OPEN
    }
