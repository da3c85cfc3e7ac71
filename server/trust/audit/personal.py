"""The log of security events as part of a person's data. Implements server.kit.personal.PersonalData."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from server.kit.personal import Item, rows
from server.trust.audit import store
from server.trust.audit.service import AuditLog
from storage.postgres import Connection, Database

BATCH = 500


class AuditData:
    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        yield Item("account/security_log.json", rows(self._lines(user_id)))

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """The log goes on: who takes the account back is written down too."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        """Nothing was taken away."""

    async def erase(self, user_id: UUID) -> None:
        """The lines stay, without the person."""
        async with self._database.transaction() as connection:
            await self._audit.erase(connection, user_id)

    async def _lines(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        before: UUID | None = None
        while True:
            async with self._database.acquire() as connection:
                found = await store.page(
                    connection, user_id=user_id, actor_id=None, event=None, before=before, limit=BATCH
                )
            if not found:
                return
            yield [line.own() for line in found]
            before = found[-1].id
