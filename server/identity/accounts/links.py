"""Tokens that go out by mail: 256 random bits in the fragment of a link, so that they stay out of logs and Referer;
stored as their SHA-256, good once, for some time, and until a newer one of the same purpose."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from server.identity.accounts import store
from server.identity.accounts.store import Mailed
from server.identity.errors import BadLink
from server.identity.models import Account
from server.identity.sessions import digest
from server.kit.clock import now
from storage.postgres import Connection


class Purpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"
    CHANGE = "change"


async def issue(
    connection: Connection, account: Account, purpose: Purpose, email: str, email_key: str, life: timedelta
) -> str:
    """A new token; the older ones of this account and purpose are void."""
    token, at = secrets.token_urlsafe(32), now()
    await store.put_mail_token(connection, digest(token), account.id, purpose, email, email_key, at, at + life)
    return token


async def look(connection: Connection, token: str, purpose: Purpose) -> Mailed:
    """What a token is for; it stays good. Raises BadLink."""
    return _found(await store.peek_mail_token(connection, digest(token), purpose, now()))


async def spend(connection: Connection, token: str, purpose: Purpose, at: datetime) -> Mailed:
    """What a token is for; it is gone when the caller's transaction commits, and there again when it does not.

    Whoever decides about the same address at the same time waits for that. Raises BadLink.
    """
    seen = await look(connection, token, purpose)
    await store.lock_address(connection, seen.email_key)
    return _found(await store.take_mail_token(connection, digest(token), purpose, at))


def _found(mailed: Mailed | None) -> Mailed:
    if mailed is None:
        raise BadLink("This link was used already, is too old, or a newer one has been sent; ask for another.")
    return mailed
