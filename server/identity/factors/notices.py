"""What owners are told of their second factors: a line in the log of security events, and a mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from server.identity import store as accounts
from server.kit.audit import Audit
from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.mail import Mailer
from storage.postgres import Connection


class Notices:
    def __init__(self, mailer: Mailer, audit: Audit, base_url: str) -> None:
        self._mailer = mailer
        self._audit = audit
        self._base_url = base_url

    async def changed(
        self, connection: Connection, user_id: UUID, event: str, what: str, origin: Origin, **details: Any
    ) -> None:
        """The factors changed. what: for the mail, without anything that somebody typed."""
        await self._audit.record(connection, user_id, event, origin, **details)
        await self._mail(connection, user_id, "factor_changed", what=what, when=_now())

    async def few_codes(self, connection: Connection, user_id: UUID, left: int) -> None:
        await self._mail(connection, user_id, "recovery_codes_low", left=left)

    async def refused(self, connection: Connection, user_id: UUID, origin: Origin, **details: Any) -> None:
        """Somebody had the password, or a session, and not the factor."""
        await self._audit.record(connection, user_id, "account.sign_in_failed", origin, **details)

    async def locked(
        self, connection: Connection, user_id: UUID, pause: timedelta, origin: Origin, *, tell: bool, kind: str
    ) -> None:
        """Answers of this kind have to wait. tell: by mail as well, once for a row of wrong answers."""
        seconds = int(pause.total_seconds())
        await self._audit.record(connection, user_id, "account.locked", origin, seconds=seconds, what=kind)
        if tell:
            await self._refusal(connection, user_id, "Wrong codes, many times; they are not taken for a while", origin)

    async def cloned(self, connection: Connection, user_id: UUID, name: str, origin: Origin) -> None:
        """The counter of a passkey went back."""
        await self._audit.record(connection, user_id, "passkey.cloned", origin, name=name)
        await self._refusal(connection, user_id, "A passkey of which there seems to be a copy", origin)

    async def _refusal(self, connection: Connection, user_id: UUID, what: str, origin: Origin) -> None:
        await self._mail(
            connection,
            user_id,
            "second_factor_refused",
            what=what,
            when=_now(),
            address=origin.address,
            user_agent=origin.user_agent,
            url_reset=f"{self._base_url}/account/reset",
        )

    async def _mail(self, connection: Connection, user_id: UUID, template: str, **values: object) -> None:
        account = await accounts.by_id(connection, user_id)
        # an address that is only claimed may be a stranger's, who must not be written to about an account of others
        if account is not None and account.email_verified_at is not None and account.email_lapsed_at is None:
            await self._mailer.send(connection, account.email, template, {"username": account.username, **values})


def _now() -> str:
    return now().isoformat(timespec="seconds")
