"""A new password by mail, for who has forgotten his.

Asking answers the same after the same work, one row in the table of jobs, whatever the address: whom it belongs to is
looked up by the job, which nobody waits for. The mail goes to the account that owns the address; while none does, to
the oldest of those that claim it, each of which is named in its own mail. Following the link proves the address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import msgspec

from server.identity import store as accounts
from server.identity.accounts import links, store
from server.identity.accounts.links import Purpose
from server.identity.accounts.quality import check_password
from server.identity.accounts.registration import Registration
from server.identity.apikeys import store as api_keys
from server.identity.errors import BadLink
from server.identity.factors import store as factors
from server.identity.ground import Ground
from server.identity.guesses import Guesses
from server.identity.models import Account
from server.identity.names import email_key
from server.identity.notices import password_changed
from server.identity.oauth import store as links_elsewhere
from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.mail import Mailer
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.jobs import Jobs
from storage.postgres import Connection, Database

HandedOver = Callable[[Connection, UUID], Awaitable[None]]

RESET_JOB = "identity.reset_asked"
_PURPOSE = "reset asked"
_CLAIMANTS = 3


class ResetMails:
    """Sends the mails that were asked for, in whichever process does the jobs. Owns nothing."""

    def __init__(self, database: Database, settings: Settings, mailer: Mailer, secrets: Secrets) -> None:
        self._database = database
        self._settings = settings
        self._mailer = mailer
        self._secrets = secrets
        self._guesses = Guesses(secrets, settings)

    async def ask(self, connection: Connection, email: str) -> None:
        """Remember that somebody asked, in the caller's transaction."""
        await Jobs().enqueue(connection, RESET_JOB, self._secrets.seal(_PURPOSE, msgspec.json.encode(email)))

    async def job(self, payload: bytes) -> None:
        """Raises BrokenSeal for what `ask` has not written."""
        key = email_key(msgspec.json.decode(self._secrets.open(_PURPOSE, payload), type=str))
        async with self._database.transaction() as connection:
            await store.lock_address(connection, key)
            found = await accounts.by_email(connection, key)
            if not found or not await self._guesses.may_mail(connection, key, Purpose.RESET):
                return
            for account in found[:_CLAIMANTS]:
                if account.disabled_at is None:
                    await self._send(connection, account, key)

    async def _send(self, connection: Connection, account: Account, key: str) -> None:
        minutes = self._settings.reset_password_minutes
        token = await links.issue(connection, account, Purpose.RESET, account.email, key, timedelta(minutes=minutes))
        values: dict[str, object] = {
            "username": account.username,
            "url": f"{self._settings.base_url}/account/reset#token={token}",
            "minutes": round(minutes),
        }
        await self._mailer.send(connection, account.email, "reset_password", values)


class Recovery:
    """Owns nothing."""

    def __init__(self, ground: Ground, registration: Registration, guesses: Guesses) -> None:
        self._ground = ground
        self._registration = registration
        self._guesses = guesses
        self.mails = ResetMails(ground.database, ground.settings, ground.mailer, ground.secrets)
        self._handed_over: list[HandedOver] = []

    def on_handed_over(self, listener: HandedOver) -> None:
        """Call when an account passes from who made it to who reads its address: what opens something without a
        sign-in, as a stream key, is to be taken away."""
        self._handed_over.append(listener)

    async def ask(self, email: str) -> None:
        async with self._ground.database.transaction() as connection:
            await self.mails.ask(connection, email)

    async def confirm(self, token: str, password: str, origin: Origin) -> None:
        """Set the password of whoever followed the link. All sessions end; whoever was kept out by wrong guesses may
        sign in. An account whose address was verified before is still asked for its second factor.

        Raises BadLink, Invalid, EmailTaken, HashingBusy.
        """
        ground, at = self._ground, now()
        async with ground.database.acquire() as connection:
            mailed = await links.look(connection, token, Purpose.RESET)
            account = await accounts.by_id(connection, mailed.user_id)
        if account is None:
            raise BadLink("This account is gone.")
        await check_password(password, ground.settings.password_min_length, account.username, account.email)
        hash = await ground.passwords.hash(password)
        keys: list[UUID] = []
        async with ground.database.transaction() as connection:
            mailed = await links.spend(connection, token, Purpose.RESET, at)
            account = await accounts.lock(connection, mailed.user_id)
            if account is None or email_key(account.email) != mailed.email_key:
                raise BadLink("This account is gone, or has another address now.")
            if account.email_verified_at is None:
                keys = await _hand_over(connection, account.id)
                for listener in self._handed_over:
                    await listener(connection, account.id)
                await self._registration.own(connection, account, account.email, mailed.email_key, at)
                await ground.audit.record(connection, account.id, "email.verified", origin, email=account.email)
            await store.set_password(connection, account.id, hash)
            await store.void_mail_tokens(connection, account.id, [Purpose.RESET, Purpose.CHANGE])
            ended = [*await accounts.live_sessions(connection, account.id), *keys]
            await accounts.revoke_sessions(connection, ended, "the password was reset", at)
            await self._guesses.forgive(connection, [account.username, account.email], origin)
            await self._guesses.at_home(connection, account.id, origin)
            await ground.audit.record(connection, account.id, "password.reset", origin, sessions_ended=len(ended))
            await password_changed(ground, connection, account, origin)
        ground.ended(ended)


async def _hand_over(connection: Connection, user_id: UUID) -> list[UUID]:
    """Whoever made the account had not shown that the address is his, and somebody who reads it takes it over: no
    other way in that was laid before may stay (passkeys, an app, accounts elsewhere, API keys). The ids of the keys."""
    await factors.forget(connection, user_id)
    for link in await links_elsewhere.of_account(connection, user_id):
        await links_elsewhere.delete(connection, link.id)
    keys = [key.id for key in await api_keys.of_account(connection, user_id)]
    for id in keys:
        await api_keys.delete(connection, user_id, id)
    return keys
