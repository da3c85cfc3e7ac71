"""An Identity on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from server.identity.passwords import Cost, Passwords
from server.identity.service import Identity
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database
from tests.server.identity.stack import QUICK, SECRET, Client, Events, Mailbox, serve

MakeIdentity = Callable[..., Awaitable[Identity]]


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def make_identity(database: Database, mailbox: Mailbox, events: Events) -> AsyncIterator[MakeIdentity]:
    """Identities (processes, as it were) on one database, with cheap hashes."""
    made: list[Identity] = []

    async def make(cost: Cost = QUICK, **settings: Any) -> Identity:
        given = Settings(**{"rate_limit_auth": "1000/minute", **settings})
        secrets = Secrets(database, SECRET)
        identity = Identity(
            database, given, mailer=mailbox, audit=events, secrets=secrets, passwords=Passwords(2, cost)
        )
        made.append(identity)
        await identity.start()
        return identity

    yield make
    for identity in made:
        await identity.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the database from now on, in its order."""
    asked: list[str] = []

    def listen(name: str) -> None:
        call = getattr(asyncpg.Connection, name)

        def noted(self: Any, query: str, *values: Any, **more: Any) -> Any:
            asked.append(query)
            return call(self, query, *values, **more)

        monkeypatch.setattr(asyncpg.Connection, name, noted)

    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        listen(name)
    return asked


@pytest.fixture
async def identity(make_identity: MakeIdentity) -> Identity:
    return await make_identity()


@pytest.fixture
async def client(identity: Identity) -> AsyncIterator[Client]:
    async with serve(identity) as client:
        yield client
