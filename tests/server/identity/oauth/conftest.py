"""A stage for signing in with accounts elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from server.identity.service import Identity
from storage.postgres import Database
from tests.server.identity.oauth.stack import API, BASE, Stage, stage
from tests.server.identity.stack import Events, Mailbox
from tests.servers.oidc import OidcServer


@pytest.fixture
async def place(identity: Identity, database: Database, mailbox: Mailbox, events: Events) -> AsyncIterator[Stage]:
    async with stage(identity, database, mailbox, events) as place:
        yield place


@pytest.fixture(scope="session")
def oidc_server() -> Iterator[OidcServer]:
    keys = ("oidc", "es256", "public")
    server = OidcServer([f"{BASE}{API}/{key}/callback" for key in keys])
    server.start()
    yield server
    server.close()
