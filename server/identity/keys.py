"""The keys that sign access tokens: rows in the database, shared by all processes.

KeyRing owns a copy of the keys from `start` on. A key that another process made is fetched when a token names it, or
with the next refresh; a retired key still checks tokens until the last one that it signed has expired.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.identity import store
from server.identity.models import Jwk
from server.kit.clock import now
from storage.postgres import Database

_LOOK_AGAIN = 1.0  # s; made-up key ids must not become a query each
_SLACK = timedelta(seconds=60)


class KeyRing:
    def __init__(self, database: Database, token_seconds: int) -> None:
        self._database = database
        self._life = timedelta(seconds=token_seconds) + _SLACK
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._private: dict[str, Ed25519PrivateKey] = {}
        self._public: dict[str, Ed25519PublicKey] = {}
        self._current = ""
        self._made_at = now()

    async def start(self) -> None:
        """Read the keys; make the first when there is none, also when two processes start at once."""
        await self.refresh()
        if not self._current:
            await self._create(retire=False)

    async def rotate(self) -> str:
        """Sign with a new key from now on; its kid. Tokens signed with the old one stay good until they expire."""
        return await self._create(retire=True)

    async def rotate_when_old(self, days: int) -> None:
        """Rotate when the key in use is older than that; one process of those that see it does. 0: never."""
        if days:
            await self._create(retire=True, older_than=timedelta(days=days))

    async def refresh(self) -> None:
        """Read the keys again. Raises what the database raises."""
        self._looked_at = time.monotonic()  # also when it fails: a database that is away is not asked for each token
        async with self._database.acquire() as connection:
            rows = await store.signing_keys(connection, now() - self._life)
        self._private = {
            row.kid: self._private.get(row.kid) or Ed25519PrivateKey.from_private_bytes(row.seed) for row in rows
        }
        self._public = {kid: self._public.get(kid) or key.public_key() for kid, key in self._private.items()}
        current = next((row for row in rows if row.retired_at is None), None)
        self._current = "" if current is None else current.kid
        self._made_at = now() if current is None else current.created_at

    @property
    def signing(self) -> tuple[str, Ed25519PrivateKey]:
        """The kid and the key to sign with. Only after `start`."""
        return self._current, self._private[self._current]

    async def public(self, kid: str) -> Ed25519PublicKey | None:
        """The key that checks tokens of this kid."""
        found = self._public.get(kid)
        if found is None and time.monotonic() - self._looked_at > _LOOK_AGAIN:
            async with self._lock:
                if kid not in self._public and time.monotonic() - self._looked_at > _LOOK_AGAIN:
                    await self.refresh()
            found = self._public.get(kid)
        return found

    def jwks(self) -> list[Jwk]:
        return [Jwk(kid=kid, x=_base64url(_raw(key))) for kid, key in self._public.items()]

    async def _create(self, *, retire: bool, older_than: timedelta | None = None) -> str:
        if older_than is not None and self._made_at > now() - older_than:
            return self._current
        seed = os.urandom(32)
        kid = thumbprint(Ed25519PrivateKey.from_private_bytes(seed).public_key())
        async with self._database.transaction() as connection:
            await store.lock_signing_keys(connection)
            others = await store.signing_keys(connection, now())
            in_time = older_than is not None and others and others[0].created_at > now() - older_than
            if (retire and not in_time) or not others:
                at = now()
                if others:  # strictly newer, so that every process picks the same one
                    at = max(at, others[0].created_at + timedelta(microseconds=1))
                await store.insert_signing_key(connection, kid, seed, at)
                await store.retire_signing_keys(connection, kid, at)
        await self.refresh()
        return self._current


def thumbprint(key: Ed25519PublicKey) -> str:
    """RFC 7638, with the members of RFC 8037, appendix A.3."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(_raw(key))}
    return _base64url(hashlib.sha256(msgspec.json.encode(members)).digest())


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
