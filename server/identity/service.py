"""Accounts and who is who: the facade that other features, the HTTP kit and the sockets use.

Logging in by username always reaches that account. Logging in by e-mail address reaches the account that has verified
it, and only that one; while nobody has, it reaches whichever of the accounts that claim the address has the password
(the oldest, when several have the same). So somebody who registers with a stranger's address neither learns whether it
is known nor stands in the stranger's way.

Sessions that another process revoked are read every second, so a token is refused everywhere within two; those that
this process revoked, at once. While the database is away nobody can revoke, and checked tokens stay good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from server.identity import store
from server.identity.errors import EmailTaken, RegistrationClosed, UsernameTaken, WrongCredentials
from server.identity.keys import KeyRing
from server.identity.models import Account, Jwk, LoginBody, Person, Profile, RegisterBody, SignedIn
from server.identity.names import check_email, check_username, email_key
from server.identity.passwords import Passwords
from server.identity.sessions import Reuse, Sessions
from server.identity.tokens import AccessTokens
from server.kit.auth import ADMIN, Caller
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.problems import Invalid, NotFound
from server.settings import Settings
from storage.postgres import Connection, Database

_log = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0
_KEYS_EVERY = 60  # rounds of the watch
_PRUNE_EVERY = 600


class Identity:
    """Owns the checked tokens, the signing keys' copy, the hashing threads and the watch, from start to close."""

    def __init__(self, database: Database, settings: Settings, *, passwords: Passwords | None = None) -> None:
        self._database = database
        self._settings = settings
        self._passwords = passwords or Passwords(settings.argon2_concurrency)
        self._keys = KeyRing(database, settings.access_token_seconds)
        self._tokens = AccessTokens(self._keys, settings.access_token_seconds)
        self._sessions = Sessions(database, settings.refresh_token_days)
        self._seen_until: datetime | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._keys.start()
        await self._read_revocations()
        self._watch = asyncio.create_task(self.run(), name="identity watch")

    async def run(self) -> None:
        """Follow what other processes revoke and sign with; forget what is old."""
        round_, failed = 0, False
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            round_ += 1
            try:
                await self._read_revocations()
                if round_ % _KEYS_EVERY == 0:
                    await self._keys.refresh()
                    self._tokens.forget_old()
                if round_ % _PRUNE_EVERY == 1:
                    await self._prune()
                failed = False
            except Exception as error:
                if not failed:
                    _log.warning(
                        "sessions revoked by other processes cannot be read: %s: %s", type(error).__name__, error
                    )
                failed = True

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._passwords.close()

    def describe(self) -> dict[str, object]:
        return {"tokens": self._tokens.describe(), "passwords": self._passwords.describe()}

    # who is calling

    async def authenticate(self, token: str) -> Caller:
        """Raises Unauthorized."""
        return await self._tokens.check(token)

    def jwks(self) -> list[Jwk]:
        return self._keys.jwks()

    async def rotate_keys(self) -> str:
        """Sign with a new key from now on; its kid."""
        return await self._keys.rotate()

    # who is who

    async def people(self, ids: Collection[UUID]) -> dict[UUID, Person]:
        """Those of these ids that are accounts."""
        if not ids:
            return {}
        async with self._database.acquire() as connection:
            return {person.id: person for person in await store.people(connection, set(ids))}

    async def by_username(self, name: str) -> Person | None:
        async with self._database.acquire() as connection:
            account = await store.by_username(connection, name)
        return None if account is None else Person(account.id, account.username, account.display_name)

    async def profile(self, user_id: UUID) -> Profile:
        """Raises NotFound."""
        async with self._database.acquire() as connection:
            account = await store.by_id(connection, user_id)
        if account is None:
            raise NotFound("This account is gone.")
        return account.profile()

    # signing in and out

    async def register(self, body: RegisterBody, *, address: str = "", user_agent: str = "") -> SignedIn:
        """Raises RegistrationClosed, Invalid, UsernameTaken, HashingBusy."""
        if self._settings.registration == "closed":
            raise RegistrationClosed("Registration is closed on this server. Ask its administrator for an account.")
        username = check_username(body.username)
        account, key = await self._prepare(body.email, username, body.password, roles=[])
        async with self._database.transaction() as connection:
            if not await store.insert_account(connection, account, key):
                raise UsernameTaken(f"The username {username} is taken; choose another.")
            return await self._open(connection, account, address, user_agent)

    async def login(self, body: LoginBody, *, address: str = "", user_agent: str = "") -> SignedIn:
        """Raises WrongCredentials, HashingBusy."""
        async with self._database.acquire() as connection:
            if "@" in body.email:
                candidates = await store.by_email(connection, email_key(body.email))
            else:
                found = await store.by_username(connection, body.email.strip())
                candidates = [] if found is None else [found]
        match = await self._passwords.match(body.password, [account.password_hash for account in candidates])
        account = None if match is None else candidates[match.index]
        if match is None or account is None or account.disabled_at is not None:
            raise WrongCredentials("No account has this name and password.")
        async with self._database.transaction() as connection:
            if match.fresh is not None:
                await store.replace_hash(connection, account.id, account.password_hash, match.fresh)
            return await self._open(connection, account, address, user_agent)

    async def refresh(self, token: str) -> SignedIn:
        """Raises BadRefreshToken, RefreshTokenReused."""
        try:
            account, session_id, following = await self._sessions.rotate(token)
        except Reuse as reuse:
            self._tokens.revoke([reuse.session_id])
            _log.warning("session %s has ended: one of its refresh tokens was used twice", reuse.session_id)
            raise
        return self._signed_in(account, session_id, following)

    async def logout(self, token: str) -> None:
        """End the session of a refresh token. A token that is unknown has ended already."""
        session_id = await self._sessions.end(token)
        if session_id is not None:
            self._tokens.revoke([session_id])

    async def end_sessions(self, user_id: UUID, reason: str) -> int:
        """Sign an account out everywhere; how many sessions it had."""
        ids = await self._sessions.end_all(user_id, reason)
        self._tokens.revoke(ids)
        return len(ids)

    # for the operator

    async def create_admin(self, email: str, username: str, password: str) -> Profile:
        """An account with the role admin and a verified address. Needs no `start`.

        Raises Invalid, UsernameTaken, EmailTaken.
        """
        account, key = await self._prepare(email, check_username(username, operator=True), password, roles=[ADMIN])
        account = account.verified(account.created_at)
        async with self._database.transaction() as connection:
            owners = await store.by_email(connection, key)
            if owners and owners[0].email_verified_at is not None:
                raise EmailTaken(f"Another account has verified {email}.")
            if not await store.insert_account(connection, account, key):
                raise UsernameTaken(f"The username {username} is taken; choose another.")
        return account.profile()

    async def _prepare(self, email: str, username: str, password: str, roles: list[str]) -> tuple[Account, str]:
        email, key = check_email(email)
        if len(password) < self._settings.password_min_length:
            raise Invalid.at("$.password", f"a password has at least {self._settings.password_min_length} characters")
        async with self._database.acquire() as connection:
            if await store.by_username(connection, username) is not None:
                raise UsernameTaken(f"The username {username} is taken; choose another.")
            sharing = await store.by_email(connection, key)
        account = Account(
            id=uuid7(),
            username=username,
            display_name=username,
            email=email,
            email_verified_at=None,
            password_hash=await self._passwords.hash(password, sharing[0].password_hash if sharing else None),
            roles=roles,
            created_at=now(),
            disabled_at=None,
        )
        return account, key

    async def _open(self, connection: Connection, account: Account, address: str, user_agent: str) -> SignedIn:
        session_id, token = await self._sessions.open(connection, account, address, user_agent)
        return self._signed_in(account, session_id, token)

    def _signed_in(self, account: Account, session_id: UUID, refresh_token: str) -> SignedIn:
        return SignedIn(
            user=account.profile(),
            access_token=self._tokens.issue(account, session_id),
            refresh_token=refresh_token,
            expires_in=self._tokens.seconds,
        )

    async def _read_revocations(self) -> None:
        async with self._database.acquire() as connection:
            ids, self._seen_until = await store.revoked_since(connection, self._seen_until)
        self._tokens.revoke(ids)

    async def _prune(self) -> None:
        life = timedelta(seconds=2 * self._settings.access_token_seconds + 60)
        async with self._database.transaction() as connection:
            await store.prune(
                connection,
                revocations_before=now() - life,
                sessions_before=now() - timedelta(days=self._settings.refresh_token_days + 1),
            )
