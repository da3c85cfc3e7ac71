"""Signing in and out: what every way in ends in, and what ends a session.

SignIn owns nothing but the second factors' keeper, which the composition root hands over.

Every way in (password, passkey, another company's account) ends in `open_session`. A password, or a company's word,
goes through `complete`, which asks for the second factor that the account has; what it has seen so far travels in the
challenge that the keeper of second factors gives, so that no half-open session is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from server.identity import notices, store
from server.identity.errors import RefreshTokenReused, SecondFactorRequired
from server.identity.ground import Factors, Ground
from server.identity.guesses import Guesses
from server.identity.models import Account, Facts, SignedIn
from server.identity.privacy.errors import AccountLeaving
from server.identity.privacy.passes import restore_pass
from server.identity.sessions import Sessions, digest
from server.kit.auth import Origin, Unauthorized
from server.kit.clock import now
from storage.postgres import Connection

_log = logging.getLogger(__name__)

NOWHERE = Origin()

SESSIONS = 200
"""That one account may have; beyond it the one that was used longest ago ends."""


class SignIn:
    def __init__(self, ground: Ground, guesses: Guesses) -> None:
        self._ground = ground
        self._guesses = guesses
        self._sessions = Sessions(ground.settings.refresh_token_days)
        self.factors: Factors | None = None

    async def complete(
        self, connection: Connection, account: Account, origin: Origin, *, methods: Sequence[str]
    ) -> SignedIn:
        """Sign in with what was shown, if that is enough for this account. Raises SecondFactorRequired."""
        if self.factors is not None and (factors := await self.factors.needed(connection, account)):
            raise SecondFactorRequired(await self.factors.challenge(connection, account, methods), factors)
        return await self.open_session(connection, account, origin, methods=methods)

    async def open_session(
        self, connection: Connection, account: Account, origin: Origin, *, methods: Sequence[str]
    ) -> SignedIn:
        """A new session of an account that has shown enough, in the caller's transaction. Raises AccountLeaving.

        The account is read again and held: whoever shuts it out, or sets a new password, does so before, or ends this
        session too.
        """
        locked = await store.lock_shared(connection, account.id)
        if locked is None:
            raise Unauthorized("This account is gone.")
        account = locked
        if account.leaves_at is not None and account.disabled_at is not None:
            raise AccountLeaving(restore_pass(self._ground.secrets, account.id, account.leaves_at), account.leaves_at)
        if account.disabled_at is not None:
            raise Unauthorized("This account cannot sign in.")
        if self._ground.tokens.disabled(account.id):  # it was until a moment ago, and the new tokens must be good now
            self._ground.changed(
                [Facts(account.id, account.username, frozenset(account.roles), account.tier, disabled=False)]
            )
        at = now()
        session_id, token = await self._sessions.open(connection, account, origin, methods, at)
        if surplus := await store.end_surplus(connection, account.id, SESSIONS, at):
            self._ground.ended(surplus)
        await self._ground.audit.record(
            connection, account.id, "account.signed_in", origin, session=str(session_id), methods=list(methods)
        )
        if not await self._guesses.at_home(connection, account.id, origin):
            await notices.new_sign_in(self._ground, connection, account, origin)
        return self.signed_in(account, session_id, at, token)

    async def prove(self, connection: Connection, session_id: UUID, method: str) -> str:
        """The person of this session has shown another factor: an access token that says so. Raises Unauthorized."""
        at = now()
        account = await store.prove(connection, session_id, method, at)
        if account is None or account.disabled_at is not None:
            raise Unauthorized("This session has ended; sign in again.")
        return self._ground.tokens.issue(account, session_id, at)

    async def refresh(self, token: str, origin: Origin = NOWHERE) -> SignedIn:
        """Raises BadRefreshToken, RefreshTokenReused."""
        async with self._ground.database.transaction() as connection:
            rotated = await self._sessions.rotate(connection, token)
            if rotated.token is None:
                id = str(rotated.session_id)
                await self._ground.audit.record(connection, rotated.account.id, "session.reused", origin, session=id)
                await notices.session_reused(self._ground, connection, rotated.account, origin)
        if rotated.token is None:
            self._ground.ended([rotated.session_id])
            _log.warning("session %s has ended: one of its refresh tokens was used twice", rotated.session_id)
            raise RefreshTokenReused("This refresh token was used before, so the session has ended; sign in again.")
        return self.signed_in(rotated.account, rotated.session_id, rotated.proven_at, rotated.token)

    async def logout(self, token: str, origin: Origin = NOWHERE) -> None:
        """End the session of a refresh token, used or not. A token that is unknown has ended already."""
        async with self._ground.database.transaction() as connection:
            session_id = await store.session_of_token(connection, digest(token))
            account = None if session_id is None else await store.account_of_session(connection, session_id)
            if session_id is None or account is None:
                return
            await store.revoke_sessions(connection, [session_id], "logged out", now())
            await self._ground.audit.record(
                connection, account.id, "account.signed_out", origin, session=str(session_id)
            )
        self._ground.ended([session_id])

    def signed_in(self, account: Account, session_id: UUID, proven_at: datetime, refresh_token: str) -> SignedIn:
        tokens = self._ground.tokens
        return SignedIn(
            user=account.profile(),
            access_token=tokens.issue(account, session_id, proven_at),
            refresh_token=refresh_token,
            expires_in=tokens.seconds,
        )
