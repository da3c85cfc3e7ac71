"""Presence in Redis: one sorted set a channel, scored by the last sign of life on Redis's own clock. Keys expire
by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

# KEYS: the set. ARGV: linger in ms, then viewers. One clock for all nodes.
_REFRESH = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local linger = tonumber(ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - linger)
if #ARGV > 1 then redis.call('PEXPIRE', KEYS[1], linger + 1000) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
_ARGUMENTS = 2000  # viewers a call


class RedisPresence:
    def __init__(self, url: str, *, linger: float = 15.0, prefix: str = "sf:viewers:", patience: float = 3.0) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience, retry=None)
        self._linger = linger
        self._prefix = prefix
        self._told: dict[str, tuple[float, set[str]]] = {}

    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        """Raises RedisError or OSError when Redis does not answer."""
        told: dict[str, tuple[float, set[str]]] = {}
        now = time.monotonic()
        answers: dict[str, int] = {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for channel, viewers in held.items():
                at, known = self._told.get(channel, (0.0, set()))
                if at + self._linger / 3 > now:  # a viewer is told anew every third of the time it lingers
                    news = [viewer for viewer in viewers if viewer not in known]
                    told[channel] = (at, known | set(news))
                else:
                    news = list(viewers)
                    told[channel] = (now, set(news))
                for first in range(0, max(len(news), 1), _ARGUMENTS):
                    self._call(pipe, channel, news[first : first + _ARGUMENTS])
                answers[channel] = len(pipe.command_stack) - 1
            try:
                results = await pipe.execute()
            except (RedisError, OSError):
                self._told.clear()
                raise
        self._told = told
        return {channel: frozenset(key.decode() for key in results[at]) for channel, at in answers.items()}

    async def viewers(self, channel: str) -> frozenset[str]:
        async with self._redis.pipeline(transaction=False) as pipe:
            self._call(pipe, channel, [])
            (keys,) = await pipe.execute()
        return frozenset(key.decode() for key in keys)

    async def clear(self, channel: str) -> None:
        self._told.pop(channel, None)
        await self._redis.delete(self._prefix + channel)

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(3.0):
                await self._redis.aclose()

    def describe(self) -> dict[str, Any]:
        return {"kind": "redis", "channels": len(self._told)}

    def _call(self, pipe: Any, channel: str, viewers: list[str]) -> None:
        pipe.eval(_REFRESH, 1, self._prefix + channel, int(self._linger * 1000), *viewers)
