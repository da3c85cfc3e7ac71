"""The log over HTTP."""

from __future__ import annotations

from server.kit.http import Access, Call, Page, Routes
from server.kit.problems import BadCursor
from server.trust.audit.models import AuditLine, OwnQuery, StaffLine, StaffQuery
from server.trust.audit.service import AuditLog


def routes(log: AuditLog) -> Routes:
    api = Routes(tag="audit", description="What happened to an account: signing in, keys, passwords, roles.")

    @api.get("/api/v1/audit", access=Access.USER, errors=(BadCursor,), summary="Security events of the own account")
    async def own(call: Call, query: OwnQuery) -> Page[AuditLine]:
        """Newest first. Lines are never changed; they are kept as long as the operator has set."""
        return await log.own(call.user.user_id, query)

    @api.get(
        "/api/v1/admin/audit",
        access=Access.USER,
        permission="audit.read",
        errors=(BadCursor,),
        summary="Security events of all accounts",
    )
    async def everybody(query: StaffQuery) -> Page[StaffLine]:
        """Newest first, for staff: of one account (`user`), of one kind (`event`), done by one person (`actor`)."""
        return await log.all(query)

    return api
