"""The SQL of playback."""

from __future__ import annotations

import secrets

from storage.postgres.database import Connection

KEY_BYTES = 32


async def viewer_key(conn: Connection) -> bytes:
    """The fleet's key for viewers; made by whoever asks first."""
    await conn.execute(
        "insert into viewer_key (key) values ($1) on conflict do nothing", secrets.token_bytes(KEY_BYTES)
    )
    return bytes(await conn.fetchval("select key from viewer_key"))
