"""Writes, shows, prunes and erases the log. Implements server.kit.audit.Audit; owns nothing between calls."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID, uuid4

from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.http import Page, decode_cursor
from server.kit.ids import uuid7
from server.trust.audit import store
from server.trust.audit.models import EVENT, AuditLine, OwnQuery, StaffLine, StaffQuery
from storage.postgres import Connection, Database

PRUNE_JOB = "audit.prune"
PRUNE_CRON = "41 3 * * *"

_EVENT = re.compile(EVENT.strip("^$"))
_ADDRESS = 64
_USER_AGENT = 200
_REQUEST_ID = 128


class AuditLog:
    """retention_days: lines are deleted after this; 0: never."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._retention_days = retention_days

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
        """One line, in the caller's transaction: gone when that is rolled back, kept for good when it commits.

        Raises ValueError for an event that is not `<noun>.<verb>`, TypeError for details that JSON cannot carry.
        """
        if _EVENT.fullmatch(event) is None:
            raise ValueError(f"{event!r} is not <noun>.<verb>")
        given = origin or Origin()
        line = StaffLine(
            id=uuid7(),
            at=now(),
            event=event,
            user_id=user_id,
            actor_id=None if actor_id == user_id else actor_id,
            address=_storable(given.address, _ADDRESS),
            user_agent=_storable(given.user_agent, _USER_AGENT),
            request_id=_storable(given.request_id, _REQUEST_ID),
            details={name: _clean(value) for name, value in details.items()},
        )
        await store.insert(connection, line)

    async def own(self, user_id: UUID, query: OwnQuery) -> Page[AuditLine]:
        """The log of one account, newest first. Raises BadCursor."""
        lines = await self._lines(user_id, None, query)
        return Page[AuditLine].cut(lines, query.limit, _position, StaffLine.own)

    async def all(self, query: StaffQuery) -> Page[StaffLine]:
        """Everybody's, newest first. Raises BadCursor."""
        lines = await self._lines(query.user, query.actor, query)
        return Page[StaffLine].cut(lines, query.limit, _position, lambda line: line)

    async def erase(self, connection: Connection, user_id: UUID) -> None:
        """For the deletion of an account: event and time stay, under a random id that stands in for its own."""
        await store.erase(connection, user_id, uuid4())

    async def prune(self) -> int:
        """Delete what is older than the retention; how many lines it was."""
        if not self._retention_days:
            return 0
        before, total = now() - timedelta(days=self._retention_days), 0
        while True:
            async with self._database.transaction() as connection:
                gone = await store.prune(connection, before)
            total += gone
            if not gone:
                return total

    async def prune_job(self, payload: bytes) -> None:
        await self.prune()

    async def _lines(self, user_id: UUID | None, actor_id: UUID | None, query: OwnQuery) -> list[StaffLine]:
        before: UUID | None = None if query.cursor is None else decode_cursor(query.cursor, UUID)[0]
        async with self._database.acquire() as connection:
            return await store.page(
                connection,
                user_id=user_id,
                actor_id=actor_id,
                event=query.event,
                before=before,
                limit=query.limit + 1,
            )


def _position(line: StaffLine) -> tuple[object, ...]:
    return (line.id,)


def _storable(text: str, longest: int) -> str:
    """A header's text as PostgreSQL can keep it."""
    return text.encode(errors="replace").decode().replace("\x00", "")[:longest]


def _clean(value: object) -> object:
    """jsonb takes no NUL and no half of a surrogate pair."""
    if isinstance(value, str):
        return _storable(value, 1000)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_storable(str(name), 100): _clean(item) for name, item in value.items()}
    return value
