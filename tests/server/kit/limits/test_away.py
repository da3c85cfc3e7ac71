"""Redis comes and goes; the limits go on."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import uuid
from contextlib import closing
from typing import Any

import pytest

from server.kit.limits import Limits, Rate
from server.kit.limits.shared import AWAY, Shared
from tests.servers.redis import RedisServer
from tests.support import eventually

RATE = Rate(3, 30_000)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "limits"]


async def test_redis_goes_and_comes_back(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "limits")
    if redis_server.process is None:
        redis_server.start()
    limits = Limits(redis_server.url, prefix=str(uuid.uuid4()), away_seconds=0.05, answer_seconds=10)
    limits.start()
    assert (await limits.take("a", RATE)).remaining == 2
    await asyncio.gather(*(limits.take("many", Rate(100, 1)) for _ in range(40)))  # all connections are in use
    redis_server.close()
    try:
        # what Redis had said is known: one of three is taken
        assert [(await limits.take("a", RATE)).allowed for _ in range(3)] == [True, True, False]
        assert (await limits.take("b", RATE)).remaining == 2
        assert limits.describe() == {"counted": "in this process", "callers": 3}
    finally:
        redis_server.start()

    async def back() -> bool:
        return (await limits.take("c", Rate(1000, 1))).allowed and not limits.away

    await eventually(back)
    # no connection of before is in the way
    await asyncio.gather(*(limits.take("many", Rate(100, 1)) for _ in range(40)))
    assert len(messages(caplog)) == 2
    assert "does not answer" in messages(caplog)[0]
    assert "answers again" in messages(caplog)[1]
    assert limits.describe()["counted"] == "in Redis"
    await limits.close()


async def test_nobody_waits_for_a_redis_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """It takes connections and says nothing: the first ones wait a moment, the rest do not even ask."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as silent:
        limits = Limits(f"redis://127.0.0.1:{silent.getsockname()[1]}", away_seconds=3600)
        limits.start()
        async with asyncio.timeout(5):
            verdicts = await asyncio.gather(*(limits.take("a", RATE) for _ in range(20)))
            assert sum(verdict.allowed for verdict in verdicts) == 3
            for number in range(2000):
                assert (await limits.take(str(number), RATE)).allowed
                if number % 100 == 0:  # none of them waits: the test itself lets the loop go on
                    await asyncio.sleep(0)
        await limits.close()
    assert len(messages(caplog)) == 1


async def test_a_rush_is_no_absence(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    if redis_server.process is None:
        redis_server.start()
    limits = Limits(redis_server.url, prefix=str(uuid.uuid4()), answer_seconds=5)
    limits.start()
    verdicts = await asyncio.gather(*(limits.take("rush", Rate(20, 10**7)) for _ in range(60)))
    assert sum(verdict.allowed for verdict in verdicts) == 20
    assert not messages(caplog)
    await limits.close()


async def test_an_address_without_redis(caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        limits = Limits(f"redis://:secret-password@127.0.0.1:{taken.getsockname()[1]}/0")
        limits.start()
        assert (await limits.take("a", RATE)).remaining == 2
        assert limits.away
        await limits.close()
    assert "secret-password" not in caplog.text


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock", "unix:///nowhere/redis.sock?db=3", "redis://[::1]:1/2"])
async def test_every_kind_of_address_is_taken(url: str) -> None:
    limits = Limits(url)
    limits.start()
    assert [(await limits.take("a", RATE)).remaining for _ in range(3)] == [2, 1, 0]
    assert limits.away
    await limits.close()


async def test_an_address_with_tls_is_taken() -> None:
    limits = Limits("rediss://user:password@redis.example.org:6380/2")
    limits.start()
    await limits.close()


async def test_certificates_are_read_once_for_all_connections() -> None:
    shared = Shared("rediss://127.0.0.1:1/0?ssl_cert_reqs=none")
    shared.start()
    try:
        with pytest.raises(AWAY):  # nobody is there; the loop's guard sees that it was not held
            await shared.take("a", RATE)
        pool: Any = shared._pool
        one, two = pool.make_connection(), pool.make_connection()
        assert one.ssl_context is two.ssl_context
        assert one.ssl_context.context.verify_mode is ssl.CERT_NONE, "it has been read, as the address says"
    finally:
        await shared.close()
