"""How many view each channel: the product's own count where it has one, else the distinct viewers who hold it.

Owns the counts that this node has told the others. The hub runs the rounds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

from realtime import envelopes
from realtime.channel import Channel
from realtime.envelopes import ViewerCount
from realtime.presence import Presence
from realtime.protocol.messages import Presence as PresenceMessage

log = logging.getLogger(__name__)

COUNT_SECONDS = 30.0
"""A count that another node told is believed so long: that node repeats it every 10 s while it lives."""
_REPEAT = 5  # rounds


class ViewerCounts:
    def __init__(
        self,
        channels: Mapping[str, Channel],
        presence: Presence,
        publish: Callable[[str, bytes], None],
        node: str,
        clock: Callable[[], float],
    ) -> None:
        """`channels`: the open ones, which change meanwhile."""
        self._channels = channels
        self._presence = presence
        self._publish = publish
        self._node = node
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._rounds = 0

    def set(self, name: str, viewers: int | None) -> None:
        """The product's count; None: it has none."""
        if viewers is None:
            if self._counts.pop(name, None) is not None:
                self._tell(name, None)
        elif self._counts.get(name) != viewers:
            self._counts[name] = viewers
            self._tell(name, viewers)
        channel = self._channels.get(name)
        if channel is not None:
            channel.counted = viewers
            channel.counted_until = math.inf

    def of(self, name: str) -> int | None:
        return self._counts.get(name)

    def forget(self, name: str) -> None:
        self._counts.pop(name, None)

    def take(self, count: ViewerCount) -> None:
        """What another node tells."""
        channel = self._channels.get(count.channel)
        if channel is not None:
            channel.counted = count.viewers
            channel.counted_until = self._clock() + COUNT_SECONDS

    async def round(self) -> None:
        self._rounds += 1
        held: dict[str, set[str]] = {}
        for channel in self._channels.values():
            held[channel.name] = channel.viewer_keys() | channel.newcomers
            channel.newcomers = set()
        try:
            present = await self._presence.refresh(held)
        except Exception as error:
            log.warning("viewers of other nodes cannot be counted: %s", error)
            present = {name: frozenset(keys) for name, keys in held.items()}
        for name, keys in present.items():
            found = self._channels.get(name)
            if found is not None:
                found.present = keys
                if found.counted_until < self._clock():
                    found.counted = None
                self._show(found)
        if self._rounds % _REPEAT == 0:  # for nodes that opened the channel after the last change
            for name, count in self._counts.items():
                self._tell(name, count)

    def _show(self, channel: Channel) -> None:
        viewers = channel.viewers()
        if channel.ready and viewers != channel.shown:
            channel.shown = viewers
            channel.broadcast(PresenceMessage(channel=channel.name, viewers=viewers))

    def _tell(self, name: str, viewers: int | None) -> None:
        self._publish(name, envelopes.encode(ViewerCount(node=self._node, channel=name, viewers=viewers)))
