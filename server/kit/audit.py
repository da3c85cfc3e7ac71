"""What features ask of whoever keeps the log of security events."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from server.kit.auth import Origin
from storage.postgres import Connection


class Audit(Protocol):
    async def record(
        self,
        connection: Connection,
        user_id: UUID,
        event: str,
        origin: Origin | None = None,
        *,
        actor_id: UUID | None = None,
        **details: object,
    ) -> None:
        """One line in the log of the account `user_id`, in the caller's transaction.

        event: `<noun>.<verb>`, as `password.changed`. actor_id: who did it when that was somebody else. details: what
        JSON can carry; never a secret.
        """
        ...


class NoAudit:
    """Where no log of security events is kept."""

    async def record(
        self,
        connection: Connection,
        user_id: UUID,
        event: str,
        origin: Origin | None = None,
        *,
        actor_id: UUID | None = None,
        **details: object,
    ) -> None:
        return
