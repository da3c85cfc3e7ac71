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
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from server.identity import notices, store
from server.identity.access.offices import Offices
from server.identity.accounts.changes import Changes
from server.identity.accounts.recovery import Recovery
from server.identity.accounts.registration import Registration
from server.identity.accounts.store import prune as prune_accounts
from server.identity.devices import Devices
from server.identity.errors import SecondFactorRequired, WrongCredentials
from server.identity.ground import Factors, Ground, Keys
from server.identity.guesses import AT_HOME_FOR, FORGET, Guesses
from server.identity.keys import KeyRing
from server.identity.models import Account, Facts, Jwk, LoginBody, Person, Profile, RegisterBody, SignedIn
from server.identity.names import email_key
from server.identity.passwords import Passwords
from server.identity.people import People
from server.identity.privacy.errors import AccountLeaving
from server.identity.profile import store as profiles
from server.identity.profile.models import Me, me_of
from server.identity.signin import NOWHERE, SignIn
from server.identity.tokens import AccessTokens
from server.kit.audit import Audit
from server.kit.auth import FREE, Caller, Origin
from server.kit.clock import now
from server.kit.mail import Mailer
from server.kit.problems import NotFound, Problem
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database
from storage.postgres.database import after_commit

_log = logging.getLogger(__name__)

API_KEY = "sfk_"
_LATER_MOST = 1000  # failed sign-ins that are being written down
_WATCH_SECONDS = 1.0
_KEYS_EVERY = 60  # rounds of the watch
_PRUNE_EVERY = 600


Ended = Callable[[Collection[UUID]], None]


class Identity:
    """Owns the checked tokens, the signing keys' copy, the hashing threads and the watch, from start to close."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        mailer: Mailer,
        audit: Audit,
        secrets: Secrets,
        passwords: Passwords | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._passwords = passwords or Passwords(settings.argon2_concurrency)
        self._keys = KeyRing(database, settings.access_token_seconds)
        self._tokens = AccessTokens(self._keys, settings.access_token_seconds)
        self._ground = Ground(
            database,
            settings,
            mailer,
            audit,
            secrets,
            self._passwords,
            self._tokens,
            self._ended_here,
            self._changed_here,
        )
        self._guesses = Guesses(secrets, settings)
        self._sign_in = SignIn(self._ground, self._guesses)
        self.registration = Registration(self._ground, self._sign_in, self._guesses)
        self.recovery = Recovery(self._ground, self.registration, self._guesses)
        self.changes = Changes(self._ground, self.registration, self._guesses)
        self.devices = Devices(self._ground)
        self.offices = Offices(self._ground)
        self._later: set[asyncio.Task[None]] = set()
        self._people = People(database)
        self._api_keys: Keys | None = None
        self._listeners: list[Ended] = []
        self._to_tell: set[UUID] = set()
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
                    await self._keys.rotate_when_old(self._settings.signing_key_days)
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
            self._tell()

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        await asyncio.gather(*self._later, return_exceptions=True)
        self._passwords.close()

    def describe(self) -> dict[str, object]:
        return {"tokens": self._tokens.describe(), "passwords": self._passwords.describe()}

    # what other parts plug in

    def use_factors(self, factors: Factors) -> None:
        """Ask there whether a sign-in needs a second factor."""
        self._sign_in.factors = factors

    def use_keys(self, keys: Keys) -> None:
        """Have tokens that begin with `sfk_` checked there."""
        self._api_keys = keys

    def on_ended(self, listener: Ended) -> None:
        """Call with the ids of sessions, keys and accounts whose tokens mean something else now, or nothing: within
        a second of this process knowing. It must not raise."""
        self._listeners.append(listener)

    # who is calling

    async def authenticate(self, token: str) -> Caller:
        """The caller behind an access token or an API key. Raises Unauthorized."""
        if token.startswith(API_KEY) and self._api_keys is not None:
            return self._tokens.present(await self._api_keys.check(token))
        return await self._tokens.check(token)

    def issue_access(self, account: Account, session_id: UUID, proven_at: datetime) -> str:
        """An access token of a session that exists."""
        return self._tokens.issue(account, session_id, proven_at)

    async def revoke(self, connection: Connection, ids: Sequence[UUID], reason: str) -> None:
        """End sessions, or API keys by their ids, in the caller's transaction: here at once, elsewhere within 2 s."""
        await store.revoke_sessions(connection, ids, reason, now())
        self._ended_here(ids)

    def jwks(self) -> list[Jwk]:
        return self._keys.jwks()

    async def rotate_keys(self) -> str:
        """Sign with a new key from now on; its kid."""
        return await self._keys.rotate()

    # who is who

    async def people(self, ids: Collection[UUID]) -> dict[UUID, Person]:
        """Those of these ids that are accounts."""
        return await self._people.get(ids)

    async def tier_of(self, connection: Connection, id: UUID) -> str:
        """What the account may have, in the caller's transaction."""
        return await store.tier_of(connection, id) or FREE

    async def by_username(self, name: str) -> Person | None:
        async with self._database.acquire() as connection:
            account = await store.by_username(connection, name)
        return None if account is None else Person(account.id, account.username, account.display_name)

    @property
    def database(self) -> Database:
        return self._database

    async def account_by_id(self, connection: Connection, user_id: UUID) -> Account | None:
        """The account, for other parts of identity."""
        return await store.by_id(connection, user_id)

    async def profile(self, user_id: UUID) -> Me:
        """Raises NotFound."""
        async with self._database.acquire() as connection:
            account = await store.by_id(connection, user_id)
            details = await profiles.details(connection, user_id)
        if account is None:
            raise NotFound("This account is gone.")
        return me_of(
            account, details, self._settings.public_url.rstrip("/"), timedelta(days=self._settings.username_change_days)
        )

    # signing in and out

    async def register(self, body: RegisterBody, origin: Origin = NOWHERE) -> SignedIn:
        """Raises RegistrationClosed, Invalid, UsernameTaken, HashingBusy."""
        return await self.registration.register(body, origin)

    async def add_account(
        self, connection: Connection, username: str, email: str, *, verified: bool, display_name: str = ""
    ) -> Account:
        """An account without a password, in the caller's transaction; with `verified` the address is its own at once,
        else a mail asks for that. Raises Invalid, UsernameTaken, EmailTaken."""
        return await self.registration.add(connection, username, email, verified=verified, display_name=display_name)

    async def login(self, body: LoginBody, origin: Origin = NOWHERE) -> SignedIn:
        """Raises WrongCredentials, TooManyAttempts, SecondFactorRequired, HashingBusy.

        Whatever the name: the same statements and one hash before the answer. What is written about a failure is
        written after it.
        """
        async with self._database.transaction() as connection:
            if "@" in body.email:
                candidates = await store.by_email(connection, email_key(body.email))
            else:
                name = body.email.strip()
                found = await store.by_username(connection, name if name.isascii() else "")  # İ is no i
                candidates = [] if found is None else [found]
            guess = await self._guesses.count(connection, body.email, [account.id for account in candidates], origin)
        usable = [account for account in candidates if account.password_hash]
        match = await self._passwords.match(body.password, [account.password_hash for account in usable])
        account = None if match is None else usable[match.index]
        if match is None or account is None or account.shut_out:
            if len(candidates) == 1:
                self._afterwards(self._failed(candidates[0], origin, locked=guess.locked))
            raise WrongCredentials("No account has this name and password.")
        async with self._database.transaction() as connection:
            # the hash took its time: whoever changed the password meanwhile has ended the sessions that were there
            lock = store.lock_shared if match.fresh is None else store.lock
            locked = await lock(connection, account.id)
            if locked is None or locked.password_hash not in (account.password_hash, match.fresh) or locked.shut_out:
                raise WrongCredentials("No account has this name and password.")
            account = locked
            await self._guesses.right(connection, guess)
            if match.fresh is not None:
                await store.replace_hash(connection, account.id, account.password_hash, match.fresh)
                account = msgspec.structs.replace(account, password_hash=match.fresh)
            try:
                return await self._sign_in.complete(connection, account, origin, methods=["pwd"])
            except (SecondFactorRequired, AccountLeaving) as needed:
                missing: Problem = needed  # the password was right all the same: its new hash and the counts stay
        raise missing

    async def complete_sign_in(
        self, connection: Connection, account: Account, origin: Origin, *, methods: Sequence[str]
    ) -> SignedIn:
        """Sign in with what was shown, if that is enough for this account. Raises SecondFactorRequired, Unauthorized.

        methods: as in RFC 8176: `pwd`, `oidc:google`, …
        """
        return await self._sign_in.complete(connection, account, origin, methods=methods)

    async def open_session(
        self, connection: Connection, account: Account, origin: Origin, *, methods: Sequence[str]
    ) -> SignedIn:
        """A new session of an account that has shown enough, in the caller's transaction. Raises Unauthorized."""
        return await self._sign_in.open_session(connection, account, origin, methods=methods)

    async def prove(self, connection: Connection, session_id: UUID, method: str) -> str:
        """Step-up: the person of this session has shown another factor (or the password again), in the caller's
        transaction. A new access token. Raises Unauthorized."""
        return await self._sign_in.prove(connection, session_id, method)

    async def verify_password(self, account: Account, password: str) -> bool:
        """Whether that is the account's password; one hash is computed in any case. Raises HashingBusy."""
        return (
            await self._passwords.match(password, [account.password_hash] if account.password_hash else []) is not None
        )

    async def refresh(self, token: str, origin: Origin = NOWHERE) -> SignedIn:
        """Raises BadRefreshToken, RefreshTokenReused."""
        return await self._sign_in.refresh(token, origin)

    async def logout(self, token: str, origin: Origin = NOWHERE) -> None:
        """End the session of a refresh token. A token that is unknown has ended already."""
        await self._sign_in.logout(token, origin)

    async def end_sessions(self, user_id: UUID, reason: str) -> int:
        """Sign an account out everywhere; how many sessions it had."""
        async with self._database.transaction() as connection:
            ids = await store.live_sessions(connection, user_id)
            await self.revoke(connection, ids, reason)
        return len(ids)

    # for the operator

    async def create_admin(self, email: str, username: str, password: str) -> Profile:
        """An account with the role admin and a verified address. Needs no `start`.

        Raises Invalid, UsernameTaken, EmailTaken.
        """
        return (await self.registration.create_admin(email, username, password)).profile()

    async def _failed(self, account: Account, origin: Origin, *, locked: bool) -> None:
        async with self._database.transaction() as connection:
            await self._ground.audit.record(connection, account.id, "account.sign_in_failed", origin)
            if locked:
                await self._ground.audit.record(connection, account.id, "account.locked", origin)
                await notices.locked_out(self._ground, connection, account)

    def _afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it when the answer has gone: how long it takes tells nobody anything."""
        if len(self._later) >= _LATER_MOST:
            work.close()
            _log.warning("too many failed sign-ins at once: one is missing in the audit log")
            return
        task = asyncio.create_task(work, name="failed sign-in")
        self._later.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a failed sign-in could not be written down: %s: %s", type(error).__name__, error)

    def _ended_here(self, ids: Iterable[UUID]) -> None:
        ended = list(ids)
        after_commit(lambda: self._sessions_ended(ended))

    def _changed_here(self, changed: Iterable[Facts]) -> None:
        facts = list(changed)
        after_commit(lambda: self._adopt(facts))

    def _adopt(self, facts: Sequence[Facts]) -> None:
        self._to_tell |= self._tokens.adopt(facts)

    def _sessions_ended(self, ids: Iterable[UUID]) -> None:
        self._to_tell.update(self._tokens.revoke(ids))

    def _tell(self) -> None:
        """Those who hold on to a checked token learn what has become of it."""
        if self._to_tell:
            ended, self._to_tell = self._to_tell, set()
            for listener in self._listeners:
                try:
                    listener(ended)
                except Exception:
                    _log.exception("a listener for ended sessions failed")

    async def _read_revocations(self) -> None:
        async with self._database.acquire() as connection:
            changed = await store.changed_since(connection, self._seen_until)
            ids, self._seen_until = await store.revoked_since(connection, self._seen_until)
        self._sessions_ended(ids)
        self._adopt(changed)

    async def _prune(self) -> None:
        life = timedelta(seconds=2 * self._settings.access_token_seconds + 60)
        async with self._database.transaction() as connection:
            await store.prune(
                connection,
                revocations_before=now() - life,
                sessions_before=now() - timedelta(days=self._settings.refresh_token_days + 1),
            )
            await prune_accounts(connection, now(), FORGET, AT_HOME_FOR)
