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
from datetime import datetime, timedelta
from uuid import UUID

from server.identity import store
from server.identity.errors import BadRefreshToken, RefreshTokenReused
from server.identity.models import Account
from server.kit.clock import now
from server.kit.ids import uuid7
from storage.postgres import Connection, Database

GRACE = timedelta(seconds=10)


class Sessions:
    """Holds nothing but the way to the database."""

    def __init__(self, database: Database, refresh_days: int) -> None:
        self._database = database
        self._life = timedelta(days=refresh_days)

    async def open(self, connection: Connection, account: Account, address: str, user_agent: str) -> tuple[UUID, str]:
        """The id of a new session and its first refresh token, in the caller's transaction."""
        session_id, at = uuid7(), now()
        await store.insert_session(
            connection,
            session_id,
            account.id,
            at=at,
            expires_at=at + self._life,
            address=address,
            user_agent=_plain(user_agent),
        )
        return session_id, await _issue(connection, session_id, at)

    async def rotate(self, token: str) -> tuple[Account, UUID, str]:
        """The account, the session and the next token. Raises BadRefreshToken; Reuse, after ending the session."""
        moment = now()
        async with self._database.transaction() as connection:
            found = await store.lock_refresh_token(connection, digest(token))
            if found is None or found.revoked or min(found.expires_at, found.issued_at + self._life) <= moment:
                raise BadRefreshToken("This refresh token is unknown, has expired or was revoked; sign in again.")
            used = found.used_at
            if used is None or (found.lost_answer_possible and moment - used <= GRACE):
                account = await store.account_of_session(connection, found.session_id)
                if account is None or account.disabled_at is not None:
                    raise BadRefreshToken("This account cannot sign in.")
                await store.use_refresh_tokens(connection, found.session_id, used or moment, moment - self._life)
                await store.prolong_session(connection, found.session_id, moment, moment + self._life)
                return account, found.session_id, await _issue(connection, found.session_id, moment)
            await store.revoke_sessions(connection, [found.session_id], "a refresh token was used twice", moment)
        raise Reuse(found.session_id)

    async def end(self, token: str) -> UUID | None:
        """Revoke the session of a refresh token, used or not; None when there is no such token."""
        async with self._database.transaction() as connection:
            session_id = await store.session_of_token(connection, digest(token))
            if session_id is not None:
                await store.revoke_sessions(connection, [session_id], "logged out", now())
        return session_id

    async def end_all(self, user_id: UUID, reason: str) -> list[UUID]:
        """Revoke every session of an account."""
        async with self._database.transaction() as connection:
            ids = await store.live_sessions(connection, user_id)
            await store.revoke_sessions(connection, ids, reason, now())
        return ids


class Reuse(RefreshTokenReused):
    """Carries the session that has been ended for it."""

    def __init__(self, session_id: UUID) -> None:
        super().__init__("This refresh token was used before, so the session has ended; sign in again.")
        self.session_id = session_id


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
