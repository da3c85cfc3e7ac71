"""Channels and their stream keys: random, stored hashed, shown once.

A key is 32 characters of 160 random bits after a short prefix, so a plain SHA-256 is enough to store it: there is
nothing to guess, and finding a channel by its key is one look-up.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any
from uuid import UUID

from server.kit.clock import now
from server.streaming.addresses import Address
from server.streaming.channels import store
from server.streaming.channels.models import Channel, KeyView
from storage.postgres.database import Database

KEY_PREFIX = "sf_"


def hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class Channels:
    """The facade of channels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show_key(self, user_id: UUID, address: Address) -> KeyView:
        async with self._database.acquire() as conn:
            channel = await store.of_user(conn, user_id)
        return _view(channel, None, address)

    async def rotate_key(self, user_id: UUID, address: Address) -> tuple[KeyView, UUID]:
        """A new key and the channel it opens; the old one is dead at once."""
        async with self._database.transaction() as conn:
            channel = await store.ensure(conn, user_id)
            channel, key = await self._new_key(conn, channel)
            if channel.key_hint:
                await store.add_event(conn, channel.id, None, "key", "a new stream key was made")
        return _view(channel, key, address), channel.id

    async def prepare(self, conn: Any, user_id: UUID) -> tuple[Channel, str | None]:
        """In the caller's transaction: the user's channel, and its key when it had to be made just now."""
        channel = await store.ensure(conn, user_id)
        if channel.key_hint is not None:
            return channel, None
        return await self._new_key(conn, channel)

    async def _new_key(self, conn: Any, channel: Channel) -> tuple[Channel, str]:
        key = KEY_PREFIX + base64.b32encode(secrets.token_bytes(20)).decode().lower()
        return await store.set_key(conn, channel.id, hash_key(key), key[-4:], now()), key


def _view(channel: Channel | None, key: str | None, address: Address) -> KeyView:
    return KeyView(
        exists=channel is not None and channel.key_hint is not None,
        hint=channel.key_hint if channel else None,
        created_at=channel.key_created_at if channel else None,
        ingest=address.ingest(key),
        stream_key=key,
    )
