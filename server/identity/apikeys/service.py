"""Makes, checks and deletes API keys. Owns the keys that have been checked, from `start` to `close`.

A key acts for its account within its scopes: with the roles that the account has now, never proving anybody's presence,
and never on what manages accounts and keys.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC
from uuid import UUID

from server.identity.apikeys import store, token
from server.identity.apikeys.checked import Checked, is_good
from server.identity.apikeys.errors import NoSuchKey, TooManyKeys
from server.identity.apikeys.models import ApiKey, ApiKeys, MadeKey, MakeKeyBody
from server.identity.store import by_id
from server.kit.audit import Audit
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.mail import Mailer
from server.kit.problems import Invalid, Unauthorized
from storage.postgres import Connection, Database
from storage.postgres.database import after_commit

_NOBODY = bytes(32)

Revoke = Callable[[Connection, Sequence[UUID], str], Awaitable[None]]


class Keys:
    """most: how many keys an account may have. revoke: as `Identity.revoke`, which tells all processes and those who
    hold on to a caller (sockets) what has ended. Implements server.identity.ground.Keys."""

    def __init__(
        self,
        database: Database,
        *,
        mailer: Mailer,
        audit: Audit,
        most: int,
        revoke: Revoke,
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._audit = audit
        self._most = most
        self._revoke = revoke
        self._scopes: frozenset[str] = frozenset()
        self._checked = Checked(database)

    async def start(self) -> None:
        await self._checked.start()

    async def close(self) -> None:
        await self._checked.close()

    def describe(self) -> dict[str, object]:
        return {**self._checked.describe(), "scopes": len(self._scopes)}

    def offer(self, scopes: Iterable[str]) -> None:
        """The scopes that keys may have from now on: those of the routes that take keys."""
        self._scopes = frozenset(scopes)

    async def check(self, text: str) -> Caller:
        """The caller behind a key. Raises Unauthorized, whatever the key looks like."""
        digest = token.digest(text)
        known = self._checked.find(digest)
        if known is not None:
            return known
        prefix = token.prefix_of(text)
        if prefix is None:
            raise Unauthorized("This API key is not one: it was cut or mistyped.")
        async with self._database.acquire() as connection:
            held = await store.by_prefix(connection, prefix)
        same = hmac.compare_digest(digest, _NOBODY if held is None else held.hash)
        if held is None or not same or not is_good(held):
            raise Unauthorized("This API key is unknown, was deleted or has expired.")
        return self._checked.remember(digest, held)

    async def make(self, user_id: UUID, body: MakeKeyBody, origin: Origin) -> MadeKey:
        """Raises Invalid, TooManyKeys, Unauthorized."""
        name = " ".join("".join(char if char.isprintable() else " " for char in body.name).split())
        name = unicodedata.normalize("NFC", name)
        if not 0 < len(name) <= 60:
            raise Invalid.at("$.name", "a name has 1 to 60 characters that can be seen")
        if unknown := sorted(set(body.scopes) - self._scopes):
            raise Invalid.at("$.scopes", f"there is no scope {unknown[0]}; there are {', '.join(sorted(self._scopes))}")
        at = now()
        if body.expires_at is not None and body.expires_at <= at:
            raise Invalid.at("$.expires_at", "this is in the past")
        made = token.make()
        key = ApiKey(
            id=uuid7(),
            name=name,
            prefix=made.prefix,
            scopes=sorted(set(body.scopes)),
            created_at=at,
            expires_at=None if body.expires_at is None else body.expires_at.astimezone(UTC),
            last_used_at=None,
        )
        async with self._database.transaction() as connection:
            await store.lock_account(connection, user_id)
            account = await by_id(connection, user_id)
            if account is None or account.disabled_at is not None:
                raise Unauthorized("This account cannot make keys.")
            if await store.count(connection, user_id) >= self._most:
                raise TooManyKeys(f"An account has at most {self._most} keys; delete one that is not needed.")
            await store.insert(connection, user_id, key, made.digest)
            await self._audit.record(
                connection, user_id, "key.made", origin, key_id=str(key.id), prefix=key.prefix, scopes=key.scopes
            )
            if account.email_verified_at is not None:
                values = {"username": account.username, "name": name, "when": at.isoformat()}
                await self._mailer.send(connection, account.email, "api_key_made", values)
        return MadeKey(key=key, secret=made.text)

    async def all(self, user_id: UUID) -> ApiKeys:
        async with self._database.acquire() as connection:
            return ApiKeys(items=await store.of_account(connection, user_id), available=sorted(self._scopes))

    async def delete(self, user_id: UUID, id: UUID, origin: Origin) -> None:
        """The key is refused here at once, elsewhere within 2 s. Raises NoSuchKey."""
        async with self._database.transaction() as connection:
            gone = await store.delete(connection, user_id, id)
            if gone is None:
                raise NoSuchKey("Your account has no such key.")
            await self._revoke(connection, [id], "API key deleted")
            await self._audit.record(connection, user_id, "key.revoked", origin, key_id=str(id), prefix=gone.prefix)
        after_commit(lambda: self._checked.forget({id}))
