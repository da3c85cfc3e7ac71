"""The bus between nodes: bytes on a topic, at most once, in the order of each sender. What it loses, channels read
again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Broker(Protocol):
    @property
    def connected(self) -> bool:
        """Whether what is published now reaches the other nodes."""
        ...

    async def start(self, receive: Callable[[str, bytes], None], status: Callable[[bool], None]) -> None:
        """`receive(topic, payload)` is called for every message of a subscribed topic, one's own too; `status` on
        every change of `connected`, which is False for a moment whenever something published was lost.
        """
        ...

    async def close(self) -> None: ...

    async def subscribe(self, topic: str) -> None:
        """Returns when messages published from now on arrive; or at once while disconnected: the topic is taken up
        on connecting.
        """
        ...

    async def unsubscribe(self, topic: str) -> None: ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue and return. Dropped while disconnected."""
        ...

    def describe(self) -> dict[str, Any]: ...
