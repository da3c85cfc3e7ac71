"""The secret of this installation, and the keys that are derived from it: one for each purpose.

It is made at the first start and kept in the database, so that all processes of a fleet have the same; SECRET_KEY sets
it from outside instead, which keeps it out of the database's backups. Whoever loses it loses what was sealed with it.
"""

from __future__ import annotations

import secrets as random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.postgres import Database

_BYTES = 32
_NONCE = 12


class BrokenSeal(Exception):
    """Not sealed by this installation for this purpose, or changed since."""


class Secrets:
    """Holds the secret from `start` on."""

    def __init__(self, database: Database, secret_key: str = "") -> None:
        self._database = database
        self._master = secret_key.encode()
        self._keys: dict[tuple[str, int], bytes] = {}

    async def start(self) -> None:
        if self._master:
            return
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into installation (name, secret) values ('secret', $1) on conflict do nothing",
                random.token_bytes(_BYTES),
            )
            self._master = await connection.fetchval("select secret from installation where name = 'secret'")

    def key(self, purpose: str, length: int = _BYTES) -> bytes:
        """The key of one purpose, as `page cursor` (HKDF, RFC 5869). The same in every process and after a restart."""
        known = self._keys.get((purpose, length))
        if known is None:
            if not self._master:
                raise RuntimeError("Secrets.start has not run")
            known = HKDF(SHA256(), length, salt=None, info=purpose.encode()).derive(self._master)
            self._keys[purpose, length] = known
        return known

    def seal(self, purpose: str, plain: bytes, bound: bytes = b"") -> bytes:
        """Encrypt for this installation alone (AES-256-GCM). bound: what it belongs to; opening asks for the same."""
        nonce = random.token_bytes(_NONCE)
        return nonce + AESGCM(self.key(purpose)).encrypt(nonce, plain, bound)

    def open(self, purpose: str, sealed: bytes, bound: bytes = b"") -> bytes:
        """Raises BrokenSeal."""
        try:
            return AESGCM(self.key(purpose)).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise BrokenSeal("this was not sealed here, or has been changed") from error
