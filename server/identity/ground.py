"""What the parts of identity stand on, put together once by `service.Identity`, which owns all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from server.identity.models import Account, Facts
from server.identity.passwords import Passwords
from server.identity.tokens import AccessTokens
from server.kit.audit import Audit
from server.kit.auth import Caller
from server.kit.mail import Mailer
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database


class Factors(Protocol):
    """Whoever keeps the second factors of accounts."""

    async def needed(self, connection: Connection, account: Account) -> list[str]:
        """What completes a sign-in beside the password: of `totp`, `recovery`, `passkey`; empty when that is enough."""
        ...

    async def challenge(self, connection: Connection, account: Account, methods: Sequence[str]) -> str:
        """What goes back with the second factor: says who has shown what, and is good for some minutes."""
        ...


class Keys(Protocol):
    """Whoever keeps API keys."""

    async def check(self, token: str) -> Caller:
        """The caller behind a key. Raises Unauthorized, whatever the key looks like."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """ended, changed: called with the sessions that are over, and with accounts as they are now, after the transaction
    that wrote it."""

    database: Database
    settings: Settings
    mailer: Mailer
    audit: Audit
    secrets: Secrets
    passwords: Passwords
    tokens: AccessTokens
    ended: Callable[[Iterable[UUID]], None]
    changed: Callable[[Iterable[Facts]], None]

    def url(self, page: str) -> str:
        """The address of one of our pages, as `account/verify`."""
        return f"{self.settings.base_url}/{page}"
