"""Accounts on a real database, with second factors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from server.identity.factors import totp
from server.identity.service import Identity
from storage.postgres import Database
from tests.fakes.authenticator import Authenticator
from tests.server.identity.factors.stack import ORIGIN, Clock, Person, person, serve_factors
from tests.server.identity.stack import Client, Events, Mailbox


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(int(time.time()) // totp.PERIOD)
    monkeypatch.setattr(totp, "now", clock.now)
    return clock


@pytest.fixture
async def client(identity: Identity, database: Database, mailbox: Mailbox, events: Events) -> AsyncIterator[Client]:
    async with serve_factors(identity, database, mailbox, events) as client:
        yield client


@pytest.fixture
def device() -> Authenticator:
    return Authenticator(ORIGIN)


@pytest.fixture
async def ada(client: Client, database: Database) -> Person:
    """An account whose address is its own."""
    ada = await person(client, "ada")
    async with database.acquire() as connection:
        await connection.execute("update users set email_verified_at = now() where username = 'ada'")
    return ada
