"""Challenges: sealed, so that every process of a fleet knows what it gave out and nothing is stored for those that
nobody answers; rows count the answers, so that each is good once and is not guessed at for long.

A ticket carries the random bytes that a passkey signs (WebAuthn, section 13.4.3), what it was given for and to whom.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets as random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from server.identity.factors import store
from server.identity.factors.errors import BadChallenge
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.secrets import BrokenSeal, Secrets
from storage.postgres import Connection

SIGN_IN = "second factor"
PASSKEY_SIGN_IN = "passkey sign-in"
PASSKEY_ADD = "passkey registration"
STEP_UP = "step-up"

LIFE = timedelta(minutes=5)
MOST_ATTEMPTS = 5
_PURPOSE = "factor challenge"


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """bound: the account, for PASSKEY_ADD and STEP_UP with the session. methods: how the sign-in began.
    password: for SIGN_IN the `trace` of the account's password then; when it has another one, the sign-in begins anew.
    """

    id: UUID
    challenge: bytes
    expires: float
    user_id: UUID | None
    session_id: UUID | None
    methods: list[str]
    password: bytes = b""

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)


class Tickets:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def give(
        self,
        purpose: str,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
        methods: Sequence[str] = (),
        password: bytes = b"",
    ) -> tuple[Ticket, str]:
        """A new ticket, and how it is sent."""
        expires = (now() + LIFE).timestamp()
        ticket = Ticket(uuid7(), random.token_bytes(32), expires, user_id, session_id, list(methods), password)
        sealed = self._secrets.seal(_PURPOSE, msgspec.msgpack.encode(ticket), purpose.encode())
        return ticket, base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, purpose: str, text: str, user_id: UUID | None = None, session_id: UUID | None = None) -> Ticket:
        """Raises BadChallenge for one that we did not give, that was given for something or somebody else, or is old.

        user_id, session_id: whose it has to be, when they are known.
        """
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            plain = self._secrets.open(_PURPOSE, sealed, purpose.encode())
        except (BrokenSeal, binascii.Error, ValueError):
            raise BadChallenge("This challenge was not given by this server for this; begin again.") from None
        ticket = msgspec.msgpack.decode(plain, type=Ticket)
        if ticket.expires <= now().timestamp():
            raise BadChallenge("This challenge has expired; begin again.")
        if (user_id is not None and ticket.user_id != user_id) or (
            session_id is not None and ticket.session_id != session_id
        ):
            raise BadChallenge("This challenge was given to somebody else; begin again.")
        return ticket

    async def attempt(self, connection: Connection, ticket: Ticket) -> None:
        """Count an answer. Raises BadChallenge. Whoever answers at the same time waits for this transaction's end."""
        if not await store.attempt(connection, ticket.id, ticket.expires_at, MOST_ATTEMPTS):
            raise BadChallenge("This challenge was answered already, or tried too often; begin again.")

    async def spend(self, connection: Connection, ticket: Ticket) -> None:
        """It was answered well: from the commit on it is good for nothing."""
        await store.spend(connection, ticket.id, now())


def trace(password_hash: str) -> bytes:
    """Tells one password from the next, in a sealed ticket."""
    return hashlib.sha256(password_hash.encode()).digest()[:16]
