"""The bus of nodes in one process. `Exchange` is the wire between them; a lone node has one to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Exchange:
    """Who listens to what. Lives as long as the nodes that share it."""

    def __init__(self) -> None:
        self.listeners: dict[str, dict[MemoryBroker, None]] = {}


class MemoryBroker:
    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange or Exchange()
        self._receive: Callable[[str, bytes], None] | None = None
        self._status: Callable[[bool], None] | None = None
        self._topics: set[str] = set()
        self._connected = False
        self._published = 0

    @property
    def connected(self) -> bool:
        return self._connected

    async def start(self, receive: Callable[[str, bytes], None], status: Callable[[bool], None]) -> None:
        self._receive, self._status = receive, status
        self.connect()

    async def close(self) -> None:
        self._status = None
        self.cut()
        self._receive = None

    def cut(self) -> None:
        """Lose touch with the others, as when a network breaks."""
        if self._connected:
            self._connected = False
            for topic in self._topics:
                self._ignore(topic)
            if self._status:
                self._status(False)

    def connect(self) -> None:
        if not self._connected:
            self._connected = True
            for topic in self._topics:
                self._listen(topic)
            if self._status:
                self._status(True)

    async def subscribe(self, topic: str) -> None:
        self._topics.add(topic)
        if self._connected:
            self._listen(topic)

    async def unsubscribe(self, topic: str) -> None:
        self._topics.discard(topic)
        self._ignore(topic)

    def publish(self, topic: str, payload: bytes) -> None:
        if self._connected:
            self._published += 1
            for listener in self._exchange.listeners.get(topic, ()):
                asyncio.get_running_loop().call_soon(listener._deliver, topic, payload)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "memory",
            "connected": self._connected,
            "topics": len(self._topics),
            "published": self._published,
        }

    def _listen(self, topic: str) -> None:
        self._exchange.listeners.setdefault(topic, {})[self] = None

    def _ignore(self, topic: str) -> None:
        listeners = self._exchange.listeners.get(topic)
        if listeners is not None:
            listeners.pop(self, None)
            if not listeners:
                del self._exchange.listeners[topic]

    def _deliver(self, topic: str, payload: bytes) -> None:
        if self._receive is not None and self._connected and topic in self._topics:
            self._receive(topic, payload)
