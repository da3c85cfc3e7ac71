"""What a process without channels of its own has to say to the nodes that have them.

Owns its use of the broker, and what could not be said while that was away; both end with `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from realtime import envelopes
from realtime.envelopes import Reread

_MOST_UNSAID = 10_000
"""Channels. With more, nodes find the rest when they compare with the store, as after any outage."""


class Bus(Protocol):
    @property
    def connected(self) -> bool: ...

    async def start(self, receive: Callable[[str, bytes], None], status: Callable[[bool], None]) -> None: ...

    async def close(self) -> None: ...

    def publish(self, topic: str, payload: bytes) -> None: ...


class Messenger:
    def __init__(self, bus: Bus, node: str) -> None:
        """`node`: a name that no node of channels has."""
        self._bus = bus
        self._node = node
        self._unsaid: dict[str, None] = {}

    async def start(self) -> None:
        await self._bus.start(_unheard, self._status)

    async def close(self) -> None:
        await self._bus.close()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    def reread(self, channel: str) -> None:
        """What stood in the channel is not so any more: no node keeps any of it."""
        if self._bus.connected:
            self._bus.publish(channel, envelopes.encode(Reread(node=self._node, channel=channel)))
        elif len(self._unsaid) < _MOST_UNSAID:
            self._unsaid[channel] = None

    def _status(self, connected: bool) -> None:
        if connected:
            unsaid, self._unsaid = self._unsaid, {}
            for channel in unsaid:
                self.reread(channel)


def _unheard(topic: str, payload: bytes) -> None:
    """Nothing is subscribed to."""
