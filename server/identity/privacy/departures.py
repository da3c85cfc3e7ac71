"""Leaving: an account is disabled at once, and erased when its time of grace is over. Owns nothing between calls.

While it waits, others see nothing of it and nothing can be done with it; its owner may sign in only to take it back.
Then every part of the product removes what it keeps, each in transactions of its own that may be repeated after a
crash; last of all goes the account's row, and with it the note that there was something to do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from server.identity import store as accounts
from server.identity.models import Account
from server.identity.privacy import store
from server.identity.privacy.errors import LastAdministrator, NotLeaving
from server.identity.privacy.models import Leaving
from server.identity.privacy.passes import fits, read_pass, restore_pass
from server.identity.profile import store as profiles
from server.identity.profile.avatars import FILES_JOB
from server.identity.profile.avatars import PREFIX as AVATARS
from server.kit.audit import Audit
from server.kit.auth import ADMIN, Origin
from server.kit.clock import now
from server.kit.mail import Mailer
from server.kit.personal import PersonalData
from server.kit.problems import NotFound
from server.kit.secrets import BrokenSeal, Secrets
from server.settings import Settings
from storage.jobs import Jobs
from storage.postgres import Connection, Database

_log = logging.getLogger(__name__)

ERASE_JOB = "identity.erase"
ERASE_SECONDS = 3600.0
SWEEP_JOB = "identity.privacy_sweep"
SWEEP_CRON = "23 * * * *"
_BATCH = 500


class Sessions(Protocol):
    """Who ends sessions and keys, here at once and elsewhere within two seconds."""

    async def revoke(self, connection: Connection, ids: Sequence[UUID], reason: str) -> None: ...


class Departures:
    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        settings: Settings,
        secrets: Secrets,
        parts: Sequence[PersonalData],
        *,
        mailer: Mailer,
        audit: Audit,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._base_url = settings.base_url
        self._grace = timedelta(days=settings.deletion_grace_days)
        self._held = timedelta(days=settings.username_reserved_days)
        self._secrets = secrets
        self._parts = parts
        self._mailer = mailer
        self._audit = audit

    async def leave(self, user_id: UUID, sessions: Sessions, origin: Origin | None = None) -> Leaving:
        """Raises LastAdministrator, NotFound."""
        at = now()
        due_at = at + self._grace
        async with self._database.unit() as connection:
            account = await accounts.by_id(connection, user_id)
            if account is None or not await self._may_leave(connection, account):
                raise NotFound("This account is gone.")
            if not await store.depart(connection, user_id, at, due_at):
                known = await store.lock_departure(connection, user_id)
                return Leaving(due_at=known or due_at)
            for part in self._parts:
                await part.suspend(connection, user_id)
            await accounts.account_changed(connection, user_id)
            await sessions.revoke(connection, await accounts.live_sessions(connection, user_id), "account deleted")
            await self._audit.record(connection, user_id, "deletion.scheduled", origin, due=due_at.isoformat())
            await self._mail_scheduled(connection, account, due_at)
            await self._jobs.enqueue(connection, ERASE_JOB, user_id.bytes, after=self._grace or None)
        return Leaving(due_at=due_at)

    async def restore(self, text: str, origin: Origin | None = None) -> None:
        """Take the account back with what a sign-in answered, or the mail's link holds. Raises NotLeaving."""
        refusal = NotLeaving("This account is not leaving any more, or the link is not whole.")
        try:
            user_id, departure = read_pass(self._secrets, text)
        except BrokenSeal:
            raise refusal from None
        async with self._database.transaction() as connection:
            due_at = await store.lock_departure(connection, user_id)
            # once it is due the erasing may have begun
            if due_at is None or not fits(departure, due_at) or due_at <= now():
                raise refusal
            await store.come_back(connection, user_id)
            for part in self._parts:
                await part.resume(connection, user_id)
            await accounts.account_changed(connection, user_id)
            await self._audit.record(connection, user_id, "deletion.cancelled", origin)

    # jobs

    async def erase(self, payload: bytes) -> None:
        """The job ERASE_JOB. Nothing to do for an account that was taken back, or is erased already."""
        user_id = UUID(bytes=payload)
        async with self._database.transaction() as connection:
            due_at = await store.lock_departure(connection, user_id)
        if due_at is None or due_at > now():
            return
        for part in self._parts:
            await part.erase(user_id)
        await self._erase_account(user_id)
        _log.info("an account whose owner left was erased")

    async def sweep(self) -> None:
        """Have accounts erased whose job has failed, or was lost with a backup."""
        async with self._database.transaction() as connection:
            for user_id in await store.due_departures(connection, now(), _BATCH):
                await self._jobs.enqueue(connection, ERASE_JOB, user_id.bytes, dedupe=f"erase:{user_id}")

    async def _erase_account(self, user_id: UUID) -> None:
        async with self._database.transaction() as connection:
            if await store.lock_departure(connection, user_id) is None:
                return
            account = await accounts.by_id(connection, user_id)
            if account is None:
                return
            details = await profiles.details(connection, user_id)
            gone = await store.prefixes_of(connection, user_id)
            if details.avatar is not None:
                gone.append(f"{AVATARS}/{details.avatar}")
            for prefix in gone:
                await self._jobs.enqueue(connection, FILES_JOB, prefix.encode())
            await profiles.hold_username(connection, account.username, None, now() + self._held)
            if account.email_verified_at is not None:
                await self._mailer.send(connection, account.email, "account_deleted", {"username": account.username})
            await store.delete_account(connection, user_id)

    async def _may_leave(self, connection: Connection, account: Account) -> bool:
        # as when roles are taken: of two who leave, or one who leaves and one who is unmade, the second waits here
        if ADMIN in account.roles and await accounts.lock_admins(connection) == [account.id]:
            raise LastAdministrator("You are the last administrator: make somebody else one first.")
        return await store.lock_account(connection, account.id)

    async def _mail_scheduled(self, connection: Connection, account: Account, due_at: datetime) -> None:
        # to an address that is the account's for sure: the link brings the account back
        if account.email_verified_at is None or not self._grace:
            return
        token = restore_pass(self._secrets, account.id, due_at)
        await self._mailer.send(
            connection,
            account.email,
            "deletion_scheduled",
            {
                "username": account.username,
                "date": due_at.isoformat(timespec="seconds"),
                "url_cancel": f"{self._base_url}/account/restore#token={token}",
            },
        )
