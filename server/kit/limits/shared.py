"""Rates counted in Redis, for all processes of a fleet.

Shared owns a pool of connections from `start` to `close`; the numbers are in Redis, each under a key that ends by
itself when all that it may do is there again. The clock is that of Redis: the processes' own need not agree. The
storage is that of the package limits, extended by the one strategy that it lacks: its own would take two or three
exchanges to tell what remains and when there is more, where this takes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, SSLConnection
from redis.asyncio.connection import RedisSSLContext
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from server.kit.limits.rate import Rate

AWAY = (RedisError, OSError, TimeoutError)
"""What `take` raises when Redis cannot be asked, or is asked by more than CONNECTIONS at once."""
ANSWER_SECONDS = 0.25
CONNECTIONS = 16

# Answers how much of the window was taken before this one. Times are whole microseconds, which a double holds exactly.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local used = tonumber(redis.call('GET', KEYS[1]) or now) - now
if used < 0 then used = 0 end
if used + interval <= window then
  redis.call('SET', KEYS[1], string.format('%.0f', now + used + interval),
             'PX', math.ceil((used + interval) / 1000) + 1)
end
return used
"""


class Shared:
    def __init__(self, url: str, *, prefix: str = "limits", answer_seconds: float = ANSWER_SECONDS) -> None:
        """answer_seconds: how long Redis has to take a connection, and to answer."""
        self._answer_seconds = answer_seconds
        self._url = url
        self._prefix = prefix
        self._pool: ConnectionPool | None = None
        self._unread: RedisSSLContext | None = None  # over TLS, until the authorities' certificates have been read
        self._take: Any = None
        self._key: Callable[[str], str] = str

    def start(self) -> None:
        """Connects only when asked. Raises ValueError on an address that is none."""
        self._pool = ConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            socket_timeout=self._answer_seconds,
            socket_connect_timeout=self._answer_seconds,
            # a connection from before a restart is replaced; an answer that does not come is not waited for twice
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            client_name="social-flow",
        )
        if issubclass(self._pool.connection_class, SSLConnection):
            tls = SSLConnection(**self._pool.connection_kwargs).ssl_context
            self._unread = tls
            self._pool.connection_class = _OverTls
            self._pool.connection_kwargs["tls"] = tls
        options: Any = {"connection_pool": self._pool}
        storage = RedisStorage(_storage_url(self._url), implementation="redispy", key_prefix=self._prefix, **options)
        self._key = storage.bridge.prefixed_key
        self._take = storage.bridge.get_connection().register_script(_TAKE)  # type: ignore[attr-defined]

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()

    async def take(self, key: str, rate: Rate) -> int:
        """How much of the window was taken before this one, µs; refused when what is left is too little. Raises one
        of AWAY when there is no answer in time."""
        if self._unread is not None:
            await asyncio.to_thread(self._unread.get)
            self._unread = None
        return int(await self._take(keys=[self._key(key)], args=[rate.interval, rate.window]))


class _OverTls(SSLConnection):
    """redis-py's own reads the certificates of the authorities for each connection: the loop would stand for it."""

    def __init__(self, *, tls: RedisSSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = tls


def _storage_url(url: str) -> str:
    """As limits writes it."""
    return "async+redis+" + url if url.startswith("unix:") else "async+" + url
