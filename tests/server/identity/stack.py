"""The whole stack of HTTP around an Identity, and the calls that tests make most."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.identity.access.routes import routes as access_routes
from server.identity.accounts.recovery import RESET_JOB
from server.identity.passwords import Cost
from server.identity.routes import routes
from server.identity.service import Identity
from server.integrations.mail.templates import NEEDS
from server.kit.auth import Origin
from server.kit.http import install
from server.settings import Settings
from storage.postgres import Connection

QUICK = Cost(passes=1, memory=64)
PASSWORD = "correct horse battery"

SECRET = "a secret of the tests, long enough"


@dataclass
class Sent:
    to: str
    template: str
    values: dict[str, Any]

    @property
    def token(self) -> str:
        """What the mail's link carries."""
        url: str = self.values["url"]
        return url.partition("#token=")[2]


class Mailbox:
    """Keeps what would be sent, in the order of the transactions' statements."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    async def send(self, connection: Connection, to: str, template: str, values: Mapping[str, object]) -> None:
        assert NEEDS[template] == tuple(values), template
        self.sent.append(Sent(to, template, dict(values)))

    def to(self, address: str, template: str = "") -> list[Sent]:
        return [mail for mail in self.sent if mail.to == address and template in ("", mail.template)]


class Events:
    """Keeps the log of security events."""

    def __init__(self) -> None:
        self.lines: list[tuple[UUID, str, dict[str, object]]] = []

    async def record(
        self,
        connection: Connection,
        user_id: UUID,
        event: str,
        origin: Origin | None = None,
        *,
        actor_id: UUID | None = None,
        **details: object,
    ) -> None:
        self.lines.append((user_id, event, details))

    def of(self, user_id: object) -> list[str]:
        return [event for user, event, _ in self.lines if str(user) == str(user_id)]


Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serve(identity: Identity, **settings: Any) -> AsyncIterator[Client]:
    given = Settings(**{"rate_limit_auth": "1000/minute", **settings})
    app = web.Application()
    install(app, [routes(identity, given), access_routes(identity)], authenticator=identity, settings=given)
    async with TestClient(TestServer(app)) as client:
        yield client


def coming_from(address: str) -> dict[str, str]:
    """The header of a client there, for a server whose trusted proxy is 127.0.0.1."""
    return {"X-Forwarded-For": address}


async def post(client: Client, path: str, headers: Mapping[str, str] | None = None, **body: Any) -> tuple[int, Any]:
    """Status and body of `POST /api/v1/auth/…`."""
    answer = await client.post(f"/api/v1/auth/{path}", json=body, headers=headers)
    return answer.status, await answer.json() if answer.content_length else None


async def do_resets(identity: Identity) -> int:
    """Do the jobs that send mails to those who forgot their passwords."""
    async with identity.database.transaction() as connection:
        rows = await connection.fetch("delete from pgqueuer where entrypoint = $1 returning payload", RESET_JOB)
    for row in rows:
        await identity.recovery.mails.job(row["payload"])
    return len(rows)


async def register(client: Client, username: str, email: str = "", password: str = PASSWORD) -> dict[str, Any]:
    answer = await client.post(
        "/api/v1/auth/register",
        json={"username": username, "email": email or f"{username}@example.org", "password": password},
    )
    body: dict[str, Any] = await answer.json()
    assert answer.status == 201, body
    return body


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
