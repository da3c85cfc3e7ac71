"""The client of Redis: bytes, short waits, a server that comes back."""

from __future__ import annotations

import pytest
import redis.exceptions

from storage.redis import connect
from tests.servers.redis import RedisServer
from tests.support import eventually, free_port


async def test_bytes_in_and_out(redis_url: str) -> None:
    client = connect(redis_url)
    await client.set("k", b"\xff\x00")
    assert await client.get("k") == b"\xff\x00"
    await client.aclose()


async def test_nobody_there_is_an_error_soon() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.ping()
    await client.aclose()


async def test_a_server_that_comes_back(redis_server: RedisServer, redis_url: str) -> None:
    client = connect(redis_url)
    assert await client.ping()
    redis_server.close()
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.ping()
    redis_server.start()

    async def answers() -> bool:
        try:
            return bool(await client.ping())
        except redis.exceptions.ConnectionError:
            return False

    await eventually(answers)
    await client.aclose()


def test_a_bad_address() -> None:
    with pytest.raises(ValueError, match="redis://"):
        connect("http://localhost")
