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

# KEYS: the set. ARGV: linger in ms, most, sample, how many are gone, those, then who is here. One clock for all nodes.
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
_AT_ONCE = 500  # keys that are told and answered together: as many as are made into bytes in a turn of the loop


class RedisPresence:
    def __init__(self, url: str, *, linger: float = 15.0, prefix: str = "sf:viewers:", patience: float = 3.0) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience, retry=None)
        self._linger = linger
        self._prefix = prefix
        self._told: dict[str, tuple[float, set[str]]] = {}
        self._attended: dict[str, tuple[float, frozenset[str]]] = {}
        self._sizes: dict[str, int] = {}  # keys in each set when it was last asked for

    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        """Raises RedisError or OSError when Redis does not answer."""
        told: dict[str, tuple[float, set[str]]] = {}
        now = time.monotonic()
        calls: deque[tuple[str, list[Any]]] = deque()
        for channel, viewers in held.items():
            at, known = self._told.get(channel, (0.0, set()))
            if at + self._linger / 3 > now:  # a viewer is told anew every third of the time it lingers
                news = [viewer for viewer in viewers if viewer not in known]
                told[channel] = (at, known | set(news))
            else:
                news = list(viewers)
                told[channel] = (now, set(news))
            calls += self._telling(self._prefix + channel, (), news, _AT_ONCE)
        try:
            found = await self._present(calls)
        except (RedisError, OSError):
            self._told.clear()
            raise
        self._told = told
        self._sizes = {name: self._sizes[name] for name in found}
        return {channel: found[self._prefix + channel] for channel in held}

    async def viewers(self, channel: str) -> frozenset[str]:
        name = self._prefix + channel
        return (await self._present(deque(self._telling(name, (), (), _AT_ONCE))))[name]

    async def _present(self, calls: deque[tuple[str, list[Any]]]) -> dict[str, frozenset[str]]:
        """Make the calls; who is in each of their sets, however many these are."""
        found: dict[str, frozenset[str]] = {}
        while calls:
            for name, (count, keys) in (await self._some(calls)).items():
                found[name] = frozenset(key.decode() for key in keys)
                self._sizes[name] = count
        for name in found:
            if self._sizes[name] > _AT_ONCE:
                found[name] = await self._all(name)
        return found

    async def _all(self, name: str) -> frozenset[str]:
        """Everybody who is in a set from the first step to the last; who comes or goes meanwhile may be missing."""
        keys: set[str] = set()
        cursor = 0
        while True:
            answer: Any = await self._redis.zscan(name, cursor, count=_AT_ONCE)
            cursor, some = answer
            keys.update(key.decode() for key, _ in some)
            if not cursor:
                return frozenset(keys)

    async def attend(self, rooms: Mapping[str, Attending]) -> dict[str, Attendance]:
        """Raises RedisError or OSError when Redis does not answer."""
        told: dict[str, tuple[float, frozenset[str]]] = {}
        now = time.monotonic()
        calls: deque[tuple[str, list[Any]]] = deque()
        for room, asked in rooms.items():
            at, known = self._attended.get(room, (0.0, frozenset()))
            fresh = at + self._linger / 3 > now
            told[room] = (at if fresh else now, asked.here)
            news = asked.here - known if fresh else asked.here
            calls += self._telling(self._room(room), asked.gone, news, asked.most, asked.sample)
        results: dict[str, Any] = {}
        try:
            while calls:
                results |= await self._some(calls)
        except (RedisError, OSError):
            self._attended.clear()
            raise
        found = {}
        for room in rooms:
            count, keys_there = results[self._room(room)]
            keys_found = frozenset(key.decode() for key in keys_there)
            found[room] = Attendance(count, keys_found)
            ours = told[room][1]
            if len(ours) > count or (count == len(keys_found) and not ours <= keys_found):
                told[room] = (0.0, ours)  # lost with Redis, or taken out by another node: told anew with the next call
        self._attended = {room: kept for room, kept in self._attended.items() if room not in told} | told
        self._attended = {room: kept for room, kept in self._attended.items() if kept[0] + self._linger > now}
        return found

    def _telling(
        self, name: str, gone: Collection[str], here: Collection[str], most: int, sample: int = 0
    ) -> Iterator[tuple[str, list[Any]]]:
        """The arguments of each call that is needed; the last one's answer counts."""
        away, come, linger = list(gone), list(here), int(self._linger * 1000)
        while len(away) + len(come) > _AT_ONCE:
            some, away = away[:_AT_ONCE], away[_AT_ONCE:]
            more = _AT_ONCE - len(some)
            yield name, [linger, 0, 0, len(some), *some, *come[:more]]
            come = come[more:]
        yield name, [linger, most, sample, len(away), *away, *come]

    async def _some(self, calls: deque[tuple[str, list[Any]]]) -> dict[str, Any]:
        """Make the first few of these calls together, no more than can be made into bytes in one turn of the loop."""
        names: list[str] = []
        size = 0
        async with self._redis.pipeline(transaction=False) as pipe:
            while calls:
                name, arguments = calls[0]
                size += len(arguments) + min(self._sizes.get(name, 0), arguments[1])
                if names and size > _AT_ONCE:
                    break
                calls.popleft()
                pipe.eval(_ATTEND, 1, name, *arguments)
                names.append(name)
            return dict(zip(names, await pipe.execute(), strict=True))

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
