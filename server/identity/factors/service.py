"""Second factors: which an account has, signing in with them, and showing them again for what asks for it (step-up).

An account that has an authenticator app or a passkey has a second factor: its password alone signs nobody in any more.
A passkey signs in without any password, as its authenticator has checked who is there. Recovery codes stand in for
either. Turning factors on and off leaves the account's other sessions as they are: whoever may change them has just
shown one, everybody's owner gets a mail, and can end sessions from the list.

Owns nothing that lives: rows are in the database, challenges travel sealed.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from server.identity import store as accounts
from server.identity.accounts.store import set_password
from server.identity.errors import WrongCredentials
from server.identity.factors import lockout, recovery, store, totp
from server.identity.factors.errors import (
    BadChallenge,
    CodesLocked,
    FactorConflict,
    FactorNeeded,
    LastWayIn,
    WrongFactor,
    WrongProof,
)
from server.identity.factors.models import (
    FactorList,
    PasskeyLoginBody,
    PasskeyOptions,
    RecoveryCodes,
    SecondFactorBody,
    SteppedUp,
    StepUpBody,
    Totp,
    TotpSetup,
)
from server.identity.factors.notices import Notices
from server.identity.factors.passkeys import Asserted, Passkeys, shown
from server.identity.factors.relying import RelyingParty
from server.identity.factors.tickets import PASSKEY_SIGN_IN, SIGN_IN, STEP_UP, Tickets, trace
from server.identity.models import Account, SignedIn
from server.identity.privacy.errors import AccountLeaving
from server.kit.audit import Audit
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.mail import Mailer
from server.kit.problems import Invalid, NotFound, Problem
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database

SETUP_LIFE = timedelta(hours=1)
_SECRET = "totp secret"


class Accounts(Protocol):
    """What the facade of accounts does for those who have shown enough."""

    async def open_session(
        self, connection: Connection, account: Account, origin: Origin, *, methods: Sequence[str]
    ) -> SignedIn: ...

    async def prove(self, connection: Connection, session_id: UUID, method: str) -> str: ...

    async def verify_password(self, account: Account, password: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Failed:
    """retry_after: seconds, when answers of this kind are not heard for a while."""

    kind: str
    retry_after: float = 0.0


class Factors:
    def __init__(
        self,
        database: Database,
        settings: Settings,
        accounts: Accounts,
        *,
        mailer: Mailer,
        audit: Audit,
        secrets: Secrets,
    ) -> None:
        self._database = database
        self._settings = settings
        self._accounts = accounts
        self._secrets = secrets
        self._notices = Notices(mailer, audit, settings.base_url)
        self._tickets = Tickets(secrets)
        self._relying = RelyingParty(settings)
        self.passkeys = Passkeys(database, secrets, self._relying, self._tickets, self._notices)

    # for the facade of accounts, and for those who delete accounts

    async def needed(self, connection: Connection, account: Account) -> list[str]:
        """What completes a sign-in beside the password: some of `totp`, `passkey`, `recovery`; empty: nothing does."""
        return _names(await store.held(connection, account.id))

    async def challenge(self, connection: Connection, account: Account, methods: Sequence[str]) -> str:
        """What goes back with the second factor: says who has shown what, and is good for five minutes."""
        return self._tickets.give(SIGN_IN, account.id, methods=methods, password=trace(account.password_hash))[1]

    async def signs_in(self, connection: Connection, user_id: UUID) -> bool:
        """Whether the account can be signed in to by a passkey alone."""
        return (await store.held(connection, user_id)).passkeys > 0

    async def forget(self, connection: Connection, user_id: UUID) -> None:
        """Delete all factors of an account that is being erased."""
        await store.forget(connection, user_id)

    # signing in

    async def second_factor_options(self, challenge: str) -> PasskeyOptions:
        """How the browser is to ask for a passkey that completes a sign-in. Raises BadChallenge, FactorConflict."""
        ticket = self._tickets.open(SIGN_IN, challenge)
        assert ticket.user_id is not None
        return await self._request_options(challenge, ticket.challenge, ticket.user_id)

    async def complete(self, body: SecondFactorBody, origin: Origin) -> SignedIn:
        """Raises BadChallenge, WrongFactor, CodesLocked."""
        _exactly_one(code=body.code, passkey=body.passkey)
        ticket = self._tickets.open(SIGN_IN, body.challenge)
        assert ticket.user_id is not None
        asserted = None
        if body.passkey is not None:
            asserted = await self.passkeys.asserted(body.passkey, ticket.challenge, ticket.user_id)
        async with self._database.transaction() as connection:
            await self._tickets.attempt(connection, ticket)
            await store.lock_account(connection, ticket.user_id)
            account = await accounts.by_id(connection, ticket.user_id)
            if account is None or account.shut_out:
                raise WrongCredentials("This account cannot sign in.")
            if not hmac.compare_digest(ticket.password, trace(account.password_hash)):
                raise BadChallenge("The account has another password by now; begin again.")
            shown = await self._show(connection, account, body.code, asserted, origin)
            if isinstance(shown, str):
                await self._tickets.spend(connection, ticket)
                try:
                    return await self._accounts.open_session(
                        connection, account, origin, methods=[*ticket.methods, shown]
                    )
                except AccountLeaving as leaving:
                    refused: Problem = leaving  # what was shown is used up all the same
            else:
                await self._notices.refused(connection, account.id, origin, factor=shown.kind)
                refused = _problem(shown, WrongFactor)
        raise refused

    def sign_in_options(self) -> PasskeyOptions:
        """How the browser is to ask for any passkey of ours. Raises PasskeysUnavailable."""
        ticket, text = self._tickets.give(PASSKEY_SIGN_IN)
        return PasskeyOptions(challenge=text, public_key=self._relying.request_options(ticket.challenge))

    async def sign_in(self, body: PasskeyLoginBody, origin: Origin) -> SignedIn:
        """By a passkey alone, which says itself whose it is. Raises BadChallenge, WrongFactor."""
        ticket = self._tickets.open(PASSKEY_SIGN_IN, body.challenge)
        asserted = await self.passkeys.asserted(body.passkey, ticket.challenge)
        if asserted is None:
            raise _problem(Failed("passkey"), WrongFactor)
        user_id = asserted.passkey.user_id
        async with self._database.transaction() as connection:
            await self._tickets.attempt(connection, ticket)
            account = await accounts.by_id(connection, user_id)
            if account is None or account.shut_out:
                raise WrongCredentials("This account cannot sign in.")
            if await self.passkeys.use(connection, asserted, origin):
                await self._tickets.spend(connection, ticket)
                try:
                    return await self._accounts.open_session(connection, account, origin, methods=["passkey"])
                except AccountLeaving as leaving:
                    refused: Problem = leaving  # the answer is used up all the same
            else:
                await self._notices.refused(connection, user_id, origin, factor="passkey")
                refused = _problem(Failed("passkey"), WrongFactor)
        raise refused

    # step-up

    async def step_up_options(self, caller: Caller) -> PasskeyOptions:
        """Raises FactorConflict, PasskeysUnavailable."""
        ticket, text = self._tickets.give(STEP_UP, caller.user_id, caller.session_id)
        return await self._request_options(text, ticket.challenge, caller.user_id)

    async def step_up(self, caller: Caller, body: StepUpBody, origin: Origin) -> SteppedUp:
        """Raises WrongProof, FactorNeeded, CodesLocked, BadChallenge, HashingBusy."""
        _exactly_one(password=body.password, code=body.code, passkey=body.passkey)
        async with self._database.acquire() as connection:
            account = await accounts.by_id(connection, caller.user_id)
            if account is None:
                raise NotFound("This account is gone.")
            factors = await self.needed(connection, account)
            waiting = await lockout.wait(connection, account.id, lockout.PASSWORD)
        ticket = asserted = None
        right = False
        if body.password is not None:
            if factors:
                raise FactorNeeded(f"Show one of: {', '.join(factors)}.", factors=factors)
            if waiting:
                raise _problem(Failed(lockout.PASSWORD, waiting), WrongProof)
            right = await self._accounts.verify_password(account, body.password)
        elif body.passkey is not None:
            ticket = self._tickets.open(STEP_UP, body.challenge or "", caller.user_id, caller.session_id)
            asserted = await self.passkeys.asserted(body.passkey, ticket.challenge, caller.user_id)
        async with self._database.transaction() as connection:
            if ticket is not None:
                await self._tickets.attempt(connection, ticket)
            if body.password is not None:
                shown = await self._show_password(connection, account, right, origin)
            else:
                shown = await self._show(connection, account, body.code, asserted, origin)
            if isinstance(shown, str):
                if ticket is not None:
                    await self._tickets.spend(connection, ticket)
                token = await self._accounts.prove(connection, caller.session_id, shown)
                return SteppedUp(access_token=token, expires_in=self._settings.access_token_seconds)
            await self._notices.refused(connection, account.id, origin, factor=shown.kind, step_up=True)
        raise _problem(shown, WrongProof)

    # the authenticator app and the recovery codes

    async def overview(self, user_id: UUID) -> FactorList:
        """What the account has."""
        async with self._database.acquire() as connection:
            held = await store.held(connection, user_id)
            passkeys = await store.passkeys_of(connection, user_id)
            account = await accounts.by_id(connection, user_id)
        return FactorList(
            needed=_names(held),
            password=account is not None and bool(account.password_hash),
            totp=Totp(enabled=held.totp_since is not None, since=held.totp_since),
            passkeys=[shown(row) for row in passkeys],
            recovery_codes_left=held.recovery_codes,
        )

    async def begin_totp(self, caller: Caller) -> TotpSetup:
        """A new secret, which takes the place of the present one, if there is one, with its first right code."""
        secret = totp.new_secret()
        sealed = self._secrets.seal(_SECRET, secret.encode(), caller.user_id.bytes)
        address = totp.address(secret, caller.username, self._relying.name)
        picture = await totp.picture(address)
        async with self._database.transaction() as connection:
            await store.set_pending(connection, caller.user_id, sealed, now())
        return TotpSetup(secret=secret, otpauth_uri=address, qr=picture, expires_in=int(SETUP_LIFE.total_seconds()))

    async def confirm_totp(self, caller: Caller, code: str, origin: Origin) -> RecoveryCodes:
        """Raises FactorConflict, WrongProof, CodesLocked."""
        user_id = caller.user_id
        async with self._database.transaction() as connection:
            await store.lock_account(connection, user_id)
            row = await store.totp(connection, user_id)
            if row is None or row.pending is None or row.pending_at is None or row.pending_at < now() - SETUP_LIFE:
                raise FactorConflict("No authenticator app is being added; begin with enable-2fa.")
            if waiting := await lockout.wait(connection, user_id, lockout.SETUP):
                raise _problem(Failed(lockout.SETUP, waiting), WrongProof)
            secret = self._secrets.open(_SECRET, row.pending, user_id.bytes).decode()
            step = totp.step_of(secret, code, 0)
            if step is not None:
                await lockout.succeeded(connection, user_id, lockout.SETUP)
                await store.confirm_pending(connection, user_id, step, now())
                codes = await self._new_codes(connection, user_id)
                what = "An authenticator app was added" if row.secret is None else "The authenticator app was replaced"
                await self._notices.changed(connection, user_id, "totp.enabled", what, origin)
                return RecoveryCodes(recovery_codes=codes)
            await lockout.failed(connection, user_id, lockout.SETUP)
        raise WrongProof(
            "This is not the code that the app shows for the new secret; wait for the next one and try again."
        )

    async def disable_totp(self, caller: Caller, origin: Origin) -> None:
        """Raises FactorConflict."""
        async with self._database.transaction() as connection:
            await store.lock_account(connection, caller.user_id)
            if not await store.delete_totp(connection, caller.user_id):
                raise FactorConflict("The account has no authenticator app.")
            held = await store.held(connection, caller.user_id)
            if not held.passkeys:
                await store.replace_codes(connection, caller.user_id, [])
            await self._notices.changed(
                connection, caller.user_id, "totp.disabled", "The authenticator app was removed", origin
            )

    async def renew_codes(self, caller: Caller, origin: Origin) -> RecoveryCodes:
        """Ten new recovery codes; the old ones are void. Raises FactorConflict."""
        async with self._database.transaction() as connection:
            await store.lock_account(connection, caller.user_id)
            held = await store.held(connection, caller.user_id)
            if held.totp_since is None and not held.passkeys:
                raise FactorConflict("Recovery codes stand in for a second factor, and the account has none.")
            codes = await self._new_codes(connection, caller.user_id)
            await self._notices.changed(
                connection, caller.user_id, "recovery.renewed", "New recovery codes were made", origin
            )
        return RecoveryCodes(recovery_codes=codes)

    # without a password

    async def remove_password(self, caller: Caller, origin: Origin) -> None:
        """From now on passkeys, or an account elsewhere, are the only way in. A mail sets a new password, so the
        address has to be the account's own. Raises LastWayIn, FactorConflict."""
        async with self._database.transaction() as connection:
            await store.lock_account(connection, caller.user_id)
            account = await accounts.by_id(connection, caller.user_id)
            if account is None:
                raise NotFound("This account is gone.")
            if not account.password_hash:
                raise FactorConflict("The account has no password.")
            if not await self.passkeys.without_password(connection, account.id):
                raise LastWayIn("Add a passkey before you remove the password.")
            if account.email_verified_at is None:
                raise FactorConflict("Verify your e-mail address first: it is the way back when the passkey is lost.")
            await set_password(connection, account.id, "")
            await self._notices.changed(
                connection, account.id, "password.removed", "The password was removed; passkeys sign in", origin
            )

    # what was shown

    async def _show(
        self, connection: Connection, account: Account, code: str | None, asserted: Asserted | None, origin: Origin
    ) -> str | Failed:
        """The method, when the factor is right; it is used up with the commit. Two at once take turns here."""
        await store.lock_account(connection, account.id)
        if code is None:
            used = asserted is not None and await self.passkeys.use(connection, asserted, origin)
            return "passkey" if used else Failed("passkey")
        if totp.is_code(code):
            return await self._show_totp(connection, account.id, code, origin)
        return await self._show_recovery(connection, account.id, code, origin)

    async def _show_totp(self, connection: Connection, user_id: UUID, code: str, origin: Origin) -> str | Failed:
        if waiting := await lockout.wait(connection, user_id, lockout.TOTP):
            return Failed(lockout.TOTP, waiting)
        row = await store.totp(connection, user_id)
        if row is not None and row.secret is not None:
            secret = self._secrets.open(_SECRET, row.secret, user_id.bytes).decode()
            step = totp.step_of(secret, code, row.last_step)
            if step is not None and await store.use_step(connection, user_id, step):
                await lockout.succeeded(connection, user_id, lockout.TOTP)
                return "otp"
        return await self._count(connection, user_id, lockout.TOTP, origin)

    async def _show_recovery(self, connection: Connection, user_id: UUID, code: str, origin: Origin) -> str | Failed:
        hash = recovery.hash_code(self._secrets, user_id, code)
        if not await store.use_code(connection, user_id, hash, now()):
            return Failed("recovery")
        left = (await store.held(connection, user_id)).recovery_codes
        await self._notices.changed(
            connection,
            user_id,
            "recovery.used",
            "A recovery code was used in place of the second factor",
            origin,
            left=left,
        )
        if left <= recovery.FEW:
            await self._notices.few_codes(connection, user_id, left)
        return "recovery"

    async def _show_password(
        self, connection: Connection, account: Account, right: bool, origin: Origin
    ) -> str | Failed:
        await store.lock_account(connection, account.id)
        if waiting := await lockout.wait(connection, account.id, lockout.PASSWORD):
            return Failed(lockout.PASSWORD, waiting)  # tried meanwhile by others, too often
        # by now the account may have a factor, or another password
        if right and not await self.needed(connection, account):
            fresh = await accounts.by_id(connection, account.id)
            if fresh is not None and fresh.password_hash == account.password_hash:
                await lockout.succeeded(connection, account.id, lockout.PASSWORD)
                return "pwd"
        return await self._count(connection, account.id, lockout.PASSWORD, origin)

    async def _count(self, connection: Connection, user_id: UUID, kind: str, origin: Origin) -> Failed:
        pause, first = await lockout.failed(connection, user_id, kind)
        if pause is not None:
            await self._notices.locked(connection, user_id, pause, origin, tell=first, kind=kind)
        return Failed(kind)

    async def _new_codes(self, connection: Connection, user_id: UUID) -> list[str]:
        codes = recovery.new_codes()
        hashes = [recovery.hash_code(self._secrets, user_id, code) for code in codes]
        await store.replace_codes(connection, user_id, hashes)
        return codes

    async def _request_options(self, text: str, challenge: bytes, user_id: UUID) -> PasskeyOptions:
        async with self._database.acquire() as connection:
            known = await store.passkeys_of(connection, user_id)
        if not known:
            raise FactorConflict("The account has no passkey.")
        return PasskeyOptions(challenge=text, public_key=self._relying.request_options(challenge, known))


def _names(held: store.Held) -> list[str]:
    names = ["totp"] * (held.totp_since is not None) + ["passkey"] * (held.passkeys > 0)
    return [*names, "recovery"] if names and held.recovery_codes else names


def _exactly_one(**given: object) -> None:
    if sum(value is not None for value in given.values()) != 1:
        raise Invalid.at("$", f"one of {', '.join(given)} is needed, and only one")


def _problem(failed: Failed, wrong: type[Problem]) -> Problem:
    if failed.retry_after:
        instead = (
            "wait, or sign in again" if failed.kind == lockout.PASSWORD else "wait, or use a passkey or a recovery code"
        )
        return CodesLocked(f"Too many wrong answers for this account: {instead}.", failed.retry_after)
    if failed.kind == "passkey":
        return wrong("This passkey is not one of the account, or its answer does not hold.")
    if failed.kind == lockout.PASSWORD:
        return wrong("This is not the password of the account.")
    return wrong("This code is not right, or was used before.")
