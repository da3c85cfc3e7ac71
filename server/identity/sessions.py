"""Sessions: a family of refresh tokens that replace each other (RFC 9700, section 4.14.2).

A refresh token is 256 random bits, stored as their SHA-256, and good once. One that comes back after its use means that
two parties have it, so the session ends for both. One exception, for an answer that was lost on the way: within
GRACE after its use, while the token given for it has not been used, the old one is taken again, and the one given in
between becomes void. A thief gains nothing by it: whoever of the two comes later with the void token ends the session,
as without the exception.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from server.identity import store
from server.identity.device import device_name
from server.identity.errors import BadRefreshToken
from server.identity.models import Account
from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from storage.postgres import Connection

GRACE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a refresh token was traded for. token: the next one; None: the old one had been used before, and the
    session has ended for it."""

    account: Account
    session_id: UUID
    proven_at: datetime
    token: str | None


class Sessions:
    """Holds nothing but the lifetime of a refresh token."""

    def __init__(self, refresh_days: int) -> None:
        self._life = timedelta(days=refresh_days)

    async def open(
        self, connection: Connection, account: Account, origin: Origin, methods: Sequence[str], at: datetime
    ) -> tuple[UUID, str]:
        """The id of a new session and its first refresh token, in the caller's transaction."""
        session_id = uuid7()
        await store.insert_session(
            connection,
            session_id,
            account.id,
            at=at,
            expires_at=at + self._life,
            address=origin.address,
            user_agent=_plain(origin.user_agent),
            device=device_name(origin.user_agent),
            methods=methods,
        )
        return session_id, await _issue(connection, session_id, at)

    async def rotate(self, connection: Connection, token: str) -> Rotated:
        """In the caller's transaction, which has to commit also when the token was used before.

        Raises BadRefreshToken.
        """
        moment = now()
        found = await store.lock_refresh_token(connection, digest(token))
        if found is None or found.revoked or min(found.expires_at, found.issued_at + self._life) <= moment:
            raise BadRefreshToken("This refresh token is unknown, has expired or was revoked; sign in again.")
        used, id = found.used_at, found.session_id
        account = await store.account_of_session(connection, id)
        if account is None or account.disabled_at is not None:
            raise BadRefreshToken("This account cannot sign in.")
        proven_at = await store.proven_at(connection, id)
        if used is None or (found.lost_answer_possible and moment - used <= GRACE):
            await store.use_refresh_tokens(connection, id, used or moment, moment - self._life)
            await store.prolong_session(connection, id, moment, moment + self._life)
            return Rotated(account, id, proven_at, await _issue(connection, id, moment))
        await store.revoke_sessions(connection, [id], "a refresh token was used twice", moment)
        return Rotated(account, id, proven_at, None)


def digest(token: str) -> bytes:
    """What is stored of a token. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


async def _issue(connection: Connection, session_id: UUID, at: datetime) -> str:
    token = secrets.token_urlsafe(32)
    await store.insert_refresh_token(connection, digest(token), session_id, at)
    return token


def _plain(text: str) -> str:
    """A header's text as PostgreSQL can keep it."""
    return text.encode(errors="replace").decode().replace("\x00", "")[:200]
