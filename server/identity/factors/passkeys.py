"""Passkeys of accounts: adding, naming and removing them, and what their use in a sign-in or a step-up says.

Owns nothing that lives: rows are in the database, challenges travel sealed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from server.identity import store as accounts
from server.identity.factors import recovery, store
from server.identity.factors.errors import BadPasskey, FactorConflict, LastWayIn
from server.identity.factors.models import (
    AddedPasskey,
    AddPasskeyBody,
    Assertion,
    Passkey,
    PasskeyOptions,
)
from server.identity.factors.notices import Notices
from server.identity.factors.relying import Refused, RelyingParty, credential_id
from server.identity.factors.tickets import PASSKEY_ADD, Tickets
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.problems import NotFound
from server.kit.secrets import Secrets
from storage.postgres import Connection, Database

LIMIT = 20
"""Passkeys that one account may have."""

Way = Callable[[Connection, UUID], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Asserted:
    """A passkey whose signature is right; its counter has not been compared yet."""

    passkey: store.PasskeyRow
    sign_count: int


class Passkeys:
    def __init__(
        self, database: Database, secrets: Secrets, relying: RelyingParty, tickets: Tickets, notices: Notices
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._relying = relying
        self._tickets = tickets
        self._notices = notices
        self._ways: list[Way] = []

    def add_way(self, way: Way) -> None:
        """Tell of another way to sign in, as by an account elsewhere: whether the account has it."""
        self._ways.append(way)

    async def of(self, user_id: UUID) -> list[Passkey]:
        """Oldest first."""
        async with self._database.acquire() as connection:
            return [shown(row) for row in await store.passkeys_of(connection, user_id)]

    async def options(self, caller: Caller) -> PasskeyOptions:
        """What the browser is asked to make. Raises FactorConflict, PasskeysUnavailable."""
        async with self._database.acquire() as connection:
            account = await accounts.by_id(connection, caller.user_id)
            known = await store.passkeys_of(connection, caller.user_id)
        if account is None:
            raise NotFound("This account is gone.")
        _room(len(known))
        ticket, text = self._tickets.give(PASSKEY_ADD, caller.user_id, caller.session_id)
        return PasskeyOptions(
            challenge=text,
            public_key=self._relying.creation_options(
                ticket.challenge, account.id, account.username, account.display_name, known
            ),
        )

    async def add(self, caller: Caller, body: AddPasskeyBody, origin: Origin) -> AddedPasskey:
        """Raises BadChallenge, BadPasskey, FactorConflict."""
        ticket = self._tickets.open(PASSKEY_ADD, body.challenge, caller.user_id, caller.session_id)
        try:
            made = await self._relying.registered(body.passkey, ticket.challenge)
        except Refused as error:
            raise BadPasskey(f"This passkey does not fit the challenge: {error}.") from None
        codes = None
        async with self._database.transaction() as connection:
            await store.lock_account(connection, caller.user_id)
            await self._tickets.attempt(connection, ticket)
            held = await store.held(connection, caller.user_id)
            _room(held.passkeys)
            row = store.PasskeyRow(
                id=uuid7(),
                user_id=caller.user_id,
                credential_id=made.credential_id,
                public_key=made.public_key,
                sign_count=made.sign_count,
                name=_plain(body.name or "") or f"Passkey {held.passkeys + 1}",
                aaguid=made.aaguid,
                transports=made.transports,
                synced=made.synced,
                created_at=now(),
                last_used_at=None,
            )
            if not await store.insert_passkey(connection, row):
                raise BadPasskey("This passkey is known already.")
            if not held.passkeys and held.totp_since is None:
                codes = recovery.new_codes()
                await store.replace_codes(
                    connection,
                    caller.user_id,
                    [recovery.hash_code(self._secrets, caller.user_id, code) for code in codes],
                )
            await self._tickets.spend(connection, ticket)
            await self._notices.changed(
                connection, caller.user_id, "passkey.added", "A passkey was added", origin, name=row.name
            )
        return AddedPasskey(passkey=shown(row), recovery_codes=codes)

    async def rename(self, user_id: UUID, id: UUID, name: str) -> Passkey:
        """Raises NotFound."""
        async with self._database.transaction() as connection:
            row = await store.rename_passkey(connection, user_id, id, _plain(name) or "Passkey")
        if row is None:
            raise _unknown()
        return shown(row)

    async def remove(self, user_id: UUID, id: UUID, origin: Origin) -> None:
        """Raises NotFound, LastWayIn."""
        async with self._database.transaction() as connection:
            await store.lock_account(connection, user_id)
            name = await store.delete_passkey(connection, user_id, id)
            if name is None:
                raise _unknown()
            held = await store.held(connection, user_id)
            if not held.passkeys and not await self.other_way(connection, user_id):
                raise LastWayIn("Set a password or add another passkey before you remove this one.")
            if not held.passkeys and held.totp_since is None:
                await store.replace_codes(connection, user_id, [])  # they replace a second factor; there is none
            await self._notices.changed(
                connection, user_id, "passkey.removed", "A passkey was removed", origin, name=name
            )

    async def other_way(self, connection: Connection, user_id: UUID) -> bool:
        """Whether the account can be signed in to without a passkey."""
        account = await accounts.by_id(connection, user_id)
        if account is not None and account.password_hash:
            return True
        return await self._elsewhere(connection, user_id)

    async def without_password(self, connection: Connection, user_id: UUID) -> bool:
        """Whether the account can be signed in to without its password."""
        return (await store.held(connection, user_id)).passkeys > 0 or await self._elsewhere(connection, user_id)

    async def _elsewhere(self, connection: Connection, user_id: UUID) -> bool:
        for way in self._ways:
            if await way(connection, user_id):
                return True
        return False

    async def asserted(self, answer: Assertion, challenge: bytes, user_id: UUID | None = None) -> Asserted | None:
        """The passkey behind an answer to a challenge; None when there is none or the answer does not hold.

        user_id: whose it has to be. Without it the browser has to say whose it is (WebAuthn, section 7.2, step 6).
        """
        try:
            wanted = credential_id(answer)
            async with self._database.acquire() as connection:
                passkey = await store.passkey_by_credential(connection, wanted)
            if passkey is None or (user_id is not None and passkey.user_id != user_id):
                return None
            if user_id is None and not answer.response.userHandle:
                return None
            return Asserted(passkey, await self._relying.asserted(answer, challenge, passkey))
        except Refused:
            return None

    async def use(self, connection: Connection, asserted: Asserted, origin: Origin) -> bool:
        """Take the answer; False when the counter did not rise, which means that there are two of this authenticator
        (section 6.1.1): the account is told, and this answer counts for nothing."""
        passkey = asserted.passkey
        if await store.use_passkey(connection, passkey.id, asserted.sign_count, now()):
            return True
        await self._notices.cloned(connection, passkey.user_id, passkey.name, origin)
        return False


def shown(row: store.PasskeyRow) -> Passkey:
    return Passkey(
        id=row.id,
        name=row.name,
        synced=row.synced,
        aaguid=row.aaguid,
        transports=row.transports,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )


def _room(count: int) -> None:
    if count >= LIMIT:
        raise FactorConflict(f"An account has at most {LIMIT} passkeys; remove one first.")


def _plain(name: str) -> str:
    """A name on one line, as PostgreSQL can keep it."""
    text = "".join(letter if letter.isprintable() else " " for letter in name)
    return " ".join(text.encode(errors="replace").decode().split())


def _unknown() -> NotFound:
    return NotFound("The account has no such passkey.")
