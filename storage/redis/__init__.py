"""Redis by address: one client a process, whose connections are pooled. Its owner closes it with `aclose`."""

from __future__ import annotations

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 5.0
"""A command without an answer fails after this; blocking reads and subscriptions set their own."""
_HEALTH_SECONDS = 15
_CONNECTIONS = 128


def connect(url: str) -> redis.Redis:
    """A client for redis:// or rediss://. Connects at the first command; answers are bytes. Raises ValueError on a bad
    address; commands raise redis.exceptions.RedisError (ConnectionError, TimeoutError) after three short attempts."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        socket_keepalive=True,
        health_check_interval=_HEALTH_SECONDS,
        max_connections=_CONNECTIONS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        client_name="social-flow",
        decode_responses=False,
    )
