"""What the log's routes take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from server.kit.http import PageQuery

EVENT = r"^[a-z_]+\.[a-z_]+$"

EventName = Annotated[str, msgspec.Meta(pattern=EVENT, max_length=60, description="as password.changed")]


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One security event of an account. by_other: somebody else did it. address, user_agent: where it came from;
    empty when the account has been deleted since, or no request caused it. details: depends on the event."""

    id: UUID
    at: datetime
    event: str
    by_other: bool
    address: str
    user_agent: str
    request_id: str
    details: dict[str, Any]


class StaffLine(msgspec.Struct, frozen=True, kw_only=True):
    """The same for staff. user_id: whose log it is. actor_id: who did it, when that was somebody else."""

    id: UUID
    at: datetime
    event: str
    user_id: UUID
    actor_id: UUID | None
    address: str
    user_agent: str
    request_id: str
    details: dict[str, Any]

    def own(self) -> AuditLine:
        """What the account itself is shown: not who of the staff it was."""
        return AuditLine(
            id=self.id,
            at=self.at,
            event=self.event,
            by_other=self.actor_id is not None,
            address="" if self.actor_id else self.address,
            user_agent="" if self.actor_id else self.user_agent,
            request_id=self.request_id,
            details=self.details,
        )


class OwnQuery(PageQuery, frozen=True, kw_only=True):
    """event: only lines of this event."""

    event: EventName | None = None


class StaffQuery(OwnQuery, frozen=True, kw_only=True):
    """user: only the log of this account. actor: only what this account did to others."""

    user: UUID | None = None
    actor: UUID | None = None
