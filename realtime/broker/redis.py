"""The bus over Redis publish/subscribe (Redis 6.2 is enough).

Owns one connection that listens and a bounded queue with one task that publishes. Both die with `close`. A connection
that is lost
is made again for as long as it takes; `status` tells the hub, which then reads again what it may have missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

_LOST = (RedisError, OSError, TimeoutError)


class RedisBroker:
    def __init__(
        self,
        url: str,
        *,
        prefix: str = "sf:",
        silence: float = 2.0,
        patience: float = 3.0,
        queue: int = 10_000,
        first_retry: float = 0.1,
        last_retry: float = 2.0,
    ) -> None:
        """`silence`: ask Redis for a sign of life after so many seconds without one; `patience`: how long to wait
        for it.
        """
        self._url = url
        self._prefix = prefix
        self._silence = silence
        self._patience = patience
        self._retries = (first_retry, last_retry)
        self._topics: set[str] = set()
        self._confirmations: dict[str, asyncio.Event] = {}
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(queue)
        self._receive: Callable[[str, bytes], None] | None = None
        self._status: Callable[[bool], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._redis: Redis | None = None
        self._pubsub: Any = None
        self._connected = False
        self._first_try = asyncio.Event()
        self._counts = {"published": 0, "received": 0, "dropped": 0, "lost_connections": 0}

    @property
    def connected(self) -> bool:
        return self._connected

    async def start(self, receive: Callable[[str, bytes], None], status: Callable[[bool], None]) -> None:
        self._receive, self._status = receive, status
        self._redis = Redis.from_url(
            self._url, socket_connect_timeout=self._patience, socket_timeout=self._patience, retry=None
        )
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._send())]
        await self._first_try.wait()

    async def close(self) -> None:
        self._status = None
        pending = set(self._tasks)
        while pending:  # the client's library may swallow a cancellation: then it is asked again
            for task in pending:
                task.cancel()
            ended, pending = await asyncio.wait(pending, timeout=1.0)
            for task in ended:
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("the bus ended badly", exc_info=error)
        self._tasks = []
        self._connected = False
        if self._redis is not None:
            with contextlib.suppress(*_LOST):
                async with asyncio.timeout(self._patience):
                    await self._redis.aclose()
            self._redis = None

    async def subscribe(self, topic: str) -> None:
        name = self._prefix + topic
        if name not in self._topics:
            self._topics.add(name)
            self._confirmations[name] = asyncio.Event()
            if self._pubsub is not None:
                with contextlib.suppress(*_LOST):  # the listening task finds the same and takes the topic up again
                    await self._pubsub.subscribe(name)
        confirmed = self._confirmations.get(name)
        if confirmed is not None and self._connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(confirmed.wait(), self._patience)

    async def unsubscribe(self, topic: str) -> None:
        name = self._prefix + topic
        self._topics.discard(name)
        self._confirmations.pop(name, None)
        if self._pubsub is not None:
            with contextlib.suppress(*_LOST):
                await self._pubsub.unsubscribe(name)

    def publish(self, topic: str, payload: bytes) -> None:
        if not self._connected:
            self._counts["dropped"] += 1
            return
        try:
            self._outgoing.put_nowait((self._prefix + topic, payload))
        except asyncio.QueueFull:
            self._counts["dropped"] += 1
            self._mark(False)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "redis",
            "connected": self._connected,
            "topics": len(self._topics),
            "waiting": self._outgoing.qsize(),
            **self._counts,
        }

    async def _listen(self) -> None:
        assert self._redis is not None
        first, last = self._retries
        wait = first
        while True:
            pubsub: Any = self._redis.pubsub()
            try:
                async with asyncio.timeout(self._patience):
                    await pubsub.subscribe(self._prefix + "ping", *self._topics)
                wait = first
                await self._read(pubsub)
            except _LOST as error:
                if self._connected:
                    self._counts["lost_connections"] += 1
                    log.warning("Redis is gone: %s", error)
            finally:
                self._pubsub = None
                self._mark(False)
                self._first_try.set()
                for confirmed in self._confirmations.values():
                    confirmed.clear()
                with contextlib.suppress(*_LOST):
                    await pubsub.aclose()
            await asyncio.sleep(wait)
            wait = min(wait * 2, last)

    async def _read(self, pubsub: Any) -> None:
        """Until the connection is lost. Connected from the moment that every topic is confirmed."""
        receive = self._receive
        assert receive is not None
        self._pubsub = pubsub
        wanted = set(self._topics)
        if missing := wanted - {name.decode() for name in pubsub.channels}:
            await pubsub.subscribe(*missing)  # taken up while the connection was being made
        asked = False
        while True:
            wanted &= self._topics
            if not self._connected and not wanted and (not self._topics or self._all_confirmed()):
                self._mark(True)
            message = await pubsub.get_message(timeout=self._patience if asked else self._silence)
            if message is None:
                if asked:
                    raise TimeoutError("no sign of life")
                asked = True
                await pubsub.ping()
                continue
            asked = False
            if message["type"] == "message":
                self._counts["received"] += 1
                try:
                    receive(message["channel"].decode().removeprefix(self._prefix), message["data"])
                except Exception:
                    log.exception("a message from another node could not be taken")
            elif message["type"] == "subscribe":
                name = message["channel"].decode()
                wanted.discard(name)
                if (confirmed := self._confirmations.get(name)) is not None:
                    confirmed.set()

    def _all_confirmed(self) -> bool:
        return all(confirmed.is_set() for confirmed in self._confirmations.values())

    async def _send(self) -> None:
        assert self._redis is not None
        while True:
            batch = [await self._outgoing.get()]
            while len(batch) < 256 and not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            try:
                async with asyncio.timeout(self._patience), self._redis.pipeline(transaction=False) as pipe:
                    for name, payload in batch:
                        pipe.publish(name, payload)
                    await pipe.execute()
                self._counts["published"] += len(batch)
            except _LOST as error:
                # not sent again: order would break, and what matters is read again from the features
                self._counts["dropped"] += len(batch)
                log.warning("%d messages did not reach the other nodes: %s", len(batch), error)
                self._mark(False)  # until the listening side finds Redis well, which tells everybody about the gap

    def _mark(self, connected: bool) -> None:
        if connected != self._connected:
            self._connected = connected
            self._first_try.set()
            if self._status is not None:
                self._status(connected)
