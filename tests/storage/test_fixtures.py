"""The shared fixtures do what their words say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from storage.postgres import Database
from tests.conftest import S3
from tests.support import eventually


async def test_each_test_has_a_migrated_database_of_its_own(database: Database, database_url: str) -> None:
    async with database.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM schema_migrations") >= 1
        assert await connection.fetchval("SELECT current_database()") in database_url


async def test_redis_is_empty(redis_url: str) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    assert await client.dbsize() == 0
    await client.aclose()


async def test_s3_listens(s3: S3) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", s3.server.port)
    writer.close()
    await writer.wait_closed()


async def test_eventually_fails_in_words() -> None:
    with pytest.raises(AssertionError, match="the moon"):
        await eventually(lambda: False, within=0.05, what="the moon")


def test_a_held_loop_fails_a_test_that_asks(tmp_path: Path) -> None:
    """Under asyncio's debugger, whatever the environment says."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "conftest.py").write_text("from tests.conftest import quick_loop\n")
    (tmp_path / "test_it.py").write_text(
        "import time\n"
        "async def test_slow(quick_loop):\n"
        "    until = time.thread_time() + 0.5\n"
        "    while time.thread_time() < until:\n"
        "        pass\n"
        "async def test_quick(quick_loop):\n"
        "    assert __import__('asyncio').get_running_loop().get_debug()\n"
    )
    command = [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tmp_path)],
        env={**os.environ, "PYTHONASYNCIODEBUG": "", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 1 error" in run.stdout, run.stdout
    assert "the event loop was held" in run.stdout
