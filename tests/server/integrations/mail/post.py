"""The whole way of a mail: enqueued in a transaction, delivered by a worker to an SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from server.integrations.mail import Delivery, Mails, MailServer, Sender, SmtpServer, Templates
from server.integrations.mail.smtp import Outlet
from server.kit.secrets import Secrets
from storage.jobs import Jobs, Worker
from storage.postgres import Database

BASE = "https://live.example.org"
LINK = f"{BASE}/account/verify#token=a-secret-token"
SECRET = "the installation's secret, long enough"


@dataclass
class Post:
    database: Database
    mails: Mails
    delivery: Delivery
    worker: Worker

    async def send(self, to: str = "ada@example.org", template: str = "verify_email", **values: Any) -> None:
        given = {"username": "ada", "url": LINK, "hours": 24, **values}
        async with self.database.transaction() as connection:
            await self.mails.send(connection, to, template, given)

    async def jobs(self) -> list[tuple[str, bytes]]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch("select status::text, payload from pgqueuer where entrypoint = 'mail.send'")
        return [(row["status"], row["payload"]) for row in rows]


@asynccontextmanager
async def post(
    database: Database, dsn: str, outlet: Outlet, *, attempts: int = 5, seconds: float = 30.0, start: bool = True
) -> AsyncIterator[Post]:
    templates = Templates(BASE)
    secrets = Secrets(database, SECRET)
    sender = Sender.parse("Social Flow <no-reply@live.example.org>", "localhost")
    delivery = Delivery(database, secrets, templates, outlet, sender, attempts=attempts, seconds=seconds)
    worker = Worker(dsn, look=timedelta(milliseconds=50))
    delivery.register(worker, pause=timedelta(milliseconds=20))
    if start:
        await worker.start()
    try:
        yield Post(database, Mails(Jobs(), secrets, templates), delivery, worker)
    finally:
        await worker.close()


def to(port: int, **options: Any) -> SmtpServer:
    return SmtpServer(MailServer(**{"host": "localhost", "port": port, "tls": "none", "timeout": 5.0, **options}))
