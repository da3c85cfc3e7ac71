from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from tests.server.routes.town import Town
from tests.server.streaming.conftest import ServerProcess
from tests.support import free_port

PLENTY = "1000000/minute"


@pytest.fixture
async def server(tmp_path: Path, database_url: str) -> AsyncIterator[ServerProcess]:
    """With limits that no test reaches, and with all that routes need to do their work."""
    port = free_port()
    classes = ("READ", "WRITE", "AUTH", "REFRESH", "UPLOAD")
    process = ServerProcess(
        tmp_path / "var",
        {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port),
            "RTMP_HOST": "127.0.0.1",
            "RTMP_PORT": str(free_port()),
            "RTC_PORT": "0",
            "DATABASE_URL": database_url,
            "DATABASE_POOL": "4",
            "REDIS_URL": "",
            "S3_ENDPOINT": "",
            "DISK_MIN_FREE": "0",
            "LOG_LEVEL": "warning",
            "GITHUB_CLIENT_ID": "an-id",
            "GITHUB_CLIENT_SECRET": "a-secret",
            "WRONG_PASSWORDS": "100000",
            "WRONG_PASSWORDS_ACCOUNT": "100000",
            "WRONG_PASSWORDS_ADDRESS": "100000",
            "ACCOUNT_MAILS_PER_HOUR": "100000",
            "API_KEYS_PER_ACCOUNT": "1000",
            "RESTREAM_TARGETS": "1000",
            "CHAT_BURST": "100000",
            **{f"RATE_LIMIT_{name}": PLENTY for name in classes},
        },
    )
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def town(server: ServerProcess, http: aiohttp.ClientSession, database_url: str) -> AsyncIterator[Town]:
    sql = await asyncpg.connect(database_url)
    yield Town(http, server.url, f"http://localhost:{urlsplit(server.url).port}", sql)
    await sql.close()
