"""A whole server in the test's process, as its Wiring builds it, with mails kept instead of sent."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from server.app import build_app
from server.identity.profile.avatars import FILES_JOB
from server.settings import Settings
from server.wiring.process import Wiring
from storage.jobs import Worker
from tests.support import eventually

PASSWORD = "correct horse battery staple"


@dataclass
class Person:
    """Somebody who is signed in."""

    place: Place
    name: str
    id: str
    token: str
    email: str

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200, **options: Any) -> Any:
        return await self.place.call(method, path, body, expect=expect, token=self.token, **options)


class Inbox:
    """What would be sent: the address and the text of each mail."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []

    async def deliver(self, message: EmailMessage) -> None:
        part = message.get_body(("plain",))
        assert part is not None
        self.mails.append((str(message["To"]), part.get_content()))

    def describe(self) -> dict[str, object]:
        return {}


@dataclass
class Place:
    wiring: Wiring
    client: TestClient[Any, Any]
    worker: Worker
    inbox: Inbox

    async def call(
        self, method: str, path: str, body: Any = None, *, expect: int = 200, token: str = "", **options: Any
    ) -> Any:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        async with self.client.request(method, path, json=body, headers=headers, **options) as answer:
            data = await answer.read()
            assert answer.status == expect, f"{method} {path}: {answer.status} {data[:500]!r}"
            if not data or "json" not in answer.content_type:
                return data
            return await answer.json(content_type=None)

    async def register(self, name: str, *, email: str = "", verified: bool = True) -> Person:
        email = email or f"{name}@mail.example.org"
        body = await self.call(
            "POST",
            "/api/v1/auth/register",
            {"username": name, "email": email, "password": PASSWORD},
            expect=201,
            headers={"User-Agent": f"Browser-of-{name}"},
        )
        if verified:
            async with self.wiring.database.acquire() as connection:
                await connection.execute("update users set email_verified_at = now() where username = $1", name)
        if "access_token" not in body:
            body = await self.sign_in(name)
        return Person(self, name, body["user"]["id"], body["access_token"], email)

    async def sign_in(self, name: str, *, expect: int = 200) -> Any:
        return await self.call("POST", "/api/v1/auth/login", {"email": name, "password": PASSWORD}, expect=expect)

    async def sql(self, statement: str, *values: Any) -> Any:
        async with self.wiring.database.acquire() as connection:
            return await connection.fetchval(statement, *values)

    async def idle(self) -> None:
        """Until no job waits that is due."""

        async def none_due() -> bool:
            return not await self.sql(
                "select count(*) from pgqueuer where status <> 'failed' and execute_after <= now()"
            )

        await eventually(none_due, within=30)

    async def due(self, job: str) -> None:
        """As if the time of these jobs had come; another job wakes the worker. Then until they are done."""
        await self.sql("update pgqueuer set execute_after = now() where entrypoint = $1", job)
        async with self.wiring.database.acquire() as connection:
            await self.wiring.jobs.enqueue(connection, FILES_JOB, b"avatars/none")
        await self.idle()

    def token(self, to: str, page: str) -> str:
        """What the link to that page carries in the newest mail to the address that has one."""
        texts = [text for address, text in self.inbox.mails if address == to]
        return re.findall(rf"/account/{page}#token=(\S+)", " ".join(texts))[-1]


@asynccontextmanager
async def place(folder: Path, database_url: str, **settings: Any) -> AsyncIterator[Place]:
    given: dict[str, Any] = {
        "data_dir": str(folder),
        "database_url": database_url,
        "database_pool": 8,
        "rtmp_port": 0,
        "rtc_port": 0,
        "http_port": 0,
        **settings,
    }
    if "rate_limit_auth" in Settings.__dataclass_fields__:
        given.setdefault("rate_limit_auth", "off")
    wiring = Wiring(Settings(**given))
    await wiring.start()
    try:
        wiring.delivery._outlet = inbox = Inbox()
        async with TestClient(TestServer(build_app(wiring))) as client:
            yield Place(wiring, client, wiring.worker, inbox)
    finally:
        await wiring.close()


def picture(colour: tuple[int, int, int] = (200, 30, 30), size: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


async def unzipped(data: bytes) -> dict[str, bytes]:
    return await asyncio.to_thread(_unzipped, data)


def _unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def everything(database_url: str) -> AsyncIterator[tuple[str, str]]:
    """Every value of every table as (table.column, text): also arrays, JSON, and bytes both as hexadecimal digits and
    as the text they may be."""
    connection = await asyncpg.connect(database_url)
    try:
        columns = await connection.fetch(
            "select table_schema, table_name, column_name, data_type, udt_name from information_schema.columns"
            " where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, ordinal_position"
        )
        for schema, table, column, kind, udt in columns:
            name = f'"{schema}"."{table}"'
            both = "encode({0}, 'hex') || ' ' || encode({0}, 'escape')"
            shown = f'"{column}"::text'
            if kind == "bytea":
                shown = both.format(f'"{column}"')
            elif udt == "_bytea":
                shown = f"""(select string_agg({both.format("item")}, ' ') from unnest("{column}") item)"""
            for row in await connection.fetch(f'select {shown} as text from {name} where "{column}" is not null'):
                yield f"{table}.{column}", row["text"] or ""
    finally:
        await connection.close()
