"""The sessions of an account as their owner sees them, and their end.

With somebody else's session ends what may have been begun in it: a change of the address that only waits for its link.
"""

from __future__ import annotations

from uuid import UUID

from server.identity import store
from server.identity.accounts import store as mailed
from server.identity.accounts.links import Purpose
from server.identity.errors import NoSuchSession
from server.identity.ground import Ground
from server.identity.models import SessionList, SessionView
from server.kit.auth import Caller, Origin
from server.kit.clock import now


class Devices:
    """Owns nothing."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def list(self, caller: Caller) -> SessionList:
        """Those that can still be refreshed, last used first."""
        async with self._ground.database.acquire() as connection:
            rows = await store.sessions_of(connection, caller.user_id, now())
        return SessionList(
            items=[
                SessionView(
                    id=row.id,
                    device=row.device,
                    user_agent=row.user_agent,
                    address=row.address,
                    methods=row.methods,
                    created_at=row.created_at,
                    last_used_at=row.last_used_at,
                    current=row.id == caller.session_id,
                )
                for row in rows
            ]
        )

    async def end(self, caller: Caller, id: UUID, origin: Origin) -> None:
        """Raises NoSuchSession, also for somebody else's."""
        ground = self._ground
        async with ground.database.transaction() as connection:
            if id not in await store.live_sessions(connection, caller.user_id):
                raise NoSuchSession("You have no such session; perhaps it has ended already.")
            await store.revoke_sessions(connection, [id], "ended by its owner", now())
            if id != caller.session_id:
                await mailed.void_mail_tokens(connection, caller.user_id, [Purpose.CHANGE])
            await ground.audit.record(connection, caller.user_id, "session.revoked", origin, session=str(id))
        ground.ended([id])

    async def end_all(self, caller: Caller, origin: Origin, *, current: bool) -> None:
        """current: this one as well."""
        ground = self._ground
        async with ground.database.transaction() as connection:
            ids = await store.live_sessions(connection, caller.user_id)
            ids = [id for id in ids if current or id != caller.session_id]
            await mailed.void_mail_tokens(connection, caller.user_id, [Purpose.CHANGE])
            if ids:
                await store.revoke_sessions(connection, ids, "ended by its owner", now())
                await ground.audit.record(
                    connection, caller.user_id, "session.revoked", origin, sessions=[str(id) for id in ids]
                )
        ground.ended(ids)
