"""Presence in Redis: one sorted set a channel, scored by the last sign of life on Redis's own clock. Keys expire
by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.presence import Attendance, Attending

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
# KEYS: the set. ARGV: linger in ms, most, sample, how many are gone, those, then who is here.
_ATTEND = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local linger, most, sample, gone = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 5, 4 + gone do redis.call('ZREM', KEYS[1], ARGV[i]) end
for i = 5 + gone, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - linger)
if #ARGV > 4 + gone then redis.call('PEXPIRE', KEYS[1], linger + 1000) end
local count = redis.call('ZCARD', KEYS[1])
if count <= most then return {count, redis.call('ZRANGE', KEYS[1], 0, -1)} end
if sample == 0 then return {count, {}} end
return {count, redis.call('ZRANDMEMBER', KEYS[1], sample)}
"""
_AMONG = """
local t = redis.call('TIME')
local oldest = t[1] * 1000 + math.floor(t[2] / 1000) - tonumber(ARGV[1])
local found = {}
for i = 2, #ARGV do
    local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if at and tonumber(at) > oldest then found[#found + 1] = ARGV[i] end
end
return found
"""
_ARGUMENTS = 2000  # keys a call
_AT_ONCE = 500  # the same, where many calls follow each other


class RedisPresence:
    def __init__(self, url: str, *, linger: float = 15.0, prefix: str = "sf:viewers:", patience: float = 3.0) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience, retry=None)
        self._linger = linger
        self._prefix = prefix
        self._told: dict[str, tuple[float, set[str]]] = {}
        self._attended: dict[str, tuple[float, frozenset[str]]] = {}

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

    async def attend(self, rooms: Mapping[str, Attending]) -> dict[str, Attendance]:
        """Raises RedisError or OSError when Redis does not answer."""
        told: dict[str, tuple[float, frozenset[str]]] = {}
        now = time.monotonic()
        calls: deque[tuple[str, list[Any]]] = deque()
        for room, asked in rooms.items():
            at, known = self._attended.get(room, (0.0, frozenset()))
            fresh = at + self._linger / 3 > now
            told[room] = (at if fresh else now, asked.here)
            calls += self._attending(room, asked, asked.here - known if fresh else asked.here)
        results: dict[str, Any] = {}
        try:
            while calls:
                results |= await self._some(calls)
        except (RedisError, OSError):
            self._attended.clear()
            raise
        found = {}
        for room, (count, keys_there) in results.items():
            keys_found = frozenset(key.decode() for key in keys_there)
            found[room] = Attendance(count, keys_found)
            ours = told[room][1]
            if len(ours) > count or (count == len(keys_found) and not ours <= keys_found):
                told[room] = (0.0, ours)  # lost with Redis, or taken out by another node: told anew with the next call
        self._attended = {room: kept for room, kept in self._attended.items() if room not in told} | told
        self._attended = {room: kept for room, kept in self._attended.items() if kept[0] + self._linger > now}
        return found

    def _attending(self, room: str, asked: Attending, news: Collection[str]) -> Iterator[tuple[str, list[Any]]]:
        """The arguments of each call that is needed; the last one's answer counts."""
        gone, here, linger = list(asked.gone), list(news), int(self._linger * 1000)
        while len(gone) + len(here) > _AT_ONCE:
            some, gone = gone[:_AT_ONCE], gone[_AT_ONCE:]
            more = _AT_ONCE - len(some)
            yield room, [linger, 0, 0, len(some), *some, *here[:more]]
            here = here[more:]
        yield room, [linger, asked.most, asked.sample, len(gone), *gone, *here]

    async def _some(self, calls: deque[tuple[str, list[Any]]]) -> dict[str, Any]:
        """Make the first few of these calls together, no more than can be made into bytes in one turn of the loop."""
        rooms: list[str] = []
        size = 0
        async with self._redis.pipeline(transaction=False) as pipe:
            while calls and (not size or size + len(calls[0][1]) <= _AT_ONCE):
                room, arguments = calls.popleft()
                pipe.eval(_ATTEND, 1, self._room(room), *arguments)
                rooms.append(room)
                size += len(arguments)
            return dict(zip(rooms, await pipe.execute(), strict=True))

    async def among(self, room: str, keys: Collection[str]) -> frozenset[str]:
        """Raises RedisError or OSError when Redis does not answer."""
        wanted = list(keys)
        linger = int(self._linger * 1000)
        async with self._redis.pipeline(transaction=False) as pipe:
            for first in range(0, len(wanted), _ARGUMENTS):
                pipe.eval(_AMONG, 1, self._room(room), linger, *wanted[first : first + _ARGUMENTS])
            results = await pipe.execute()
        return frozenset(key.decode() for found in results for key in found)

    async def clear(self, channel: str) -> None:
        self._told.pop(channel, None)
        await self._redis.delete(self._prefix + channel)

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(3.0):
                await self._redis.aclose()

    def describe(self) -> dict[str, Any]:
        return {"kind": "redis", "channels": len(self._told), "rooms": len(self._attended)}

    def _room(self, room: str) -> str:
        return f"{self._prefix}room:{room}"

    def _call(self, pipe: Any, channel: str, viewers: list[str]) -> None:
        pipe.eval(_REFRESH, 1, self._prefix + channel, int(self._linger * 1000), *viewers)
