"""What was not heard, read from the feature: by whoever comes back to a channel, and by a channel that has a hole.

Owns nothing but the count of holes: what is being read stands with its channel, and the tasks are the hub's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from realtime.channel import Channel
from realtime.history import joined
from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position
from realtime.rules import Entry, Refused, Slice

log = logging.getLogger(__name__)
T = TypeVar("T")

_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 5.0  # between two looks at a store that has not got it, seconds


class Own(Protocol):
    """Makes a task that somebody waits for in the end."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> asyncio.Task[T]: ...


class Recovery:
    def __init__(
        self, channels: Mapping[str, Channel], own: Own, begin_anew: Callable[[Channel], None], most: int
    ) -> None:
        """`channels`: the open ones, which change meanwhile. `begin_anew`: called for one whose history was discarded.
        `most`: messages that are read at once, and that a returning subscriber gets."""
        self._channels = channels
        self._own = own
        self._begin_anew = begin_anew
        self._most = most
        self._holes = 0

    def describe(self) -> dict[str, int]:
        return {"holes": self._holes}

    async def missed(self, channel: Channel, since: Position) -> list[Entry] | None:
        """What came after `since`, at least up to where the tail reaches; None when that cannot be said. Raises
        Refused."""
        if since.epoch != channel.epoch:
            return None
        if since.offset > channel.offset:  # the client has heard more than this node: another node was faster
            await asyncio.wait([self.catch_up(channel)])
        if channel.tail.covers(since.offset):
            return channel.tail.after(since.offset)
        if since.offset > channel.offset or channel.offset - since.offset > self._most:
            return None
        reading = channel.reading.get(since.offset)
        if reading is None:
            reading = self._own(self._read(channel, since.offset))
            channel.reading[since.offset] = reading
        await asyncio.wait([reading])
        if reading.cancelled() or reading.exception() is not None:
            raise Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
        history = reading.result()
        if history.head.epoch != channel.epoch:
            return None
        return joined(history.entries, channel.tail)

    async def _read(self, channel: Channel, after: int) -> Slice:
        try:
            return await channel.rules.history(channel.name, after, self._most)
        finally:
            channel.reading.pop(after, None)

    def catch_up(self, channel: Channel, patience: float = 0.0) -> asyncio.Task[None]:
        """`patience`: seconds in which what is missing may still be told."""
        if channel.catching_up is None or channel.catching_up.done():
            channel.catching_up = self._own(self._fill(channel, patience))
        return channel.catching_up

    async def _fill(self, channel: Channel, patience: float) -> None:
        """Read what was not told until nothing is missing."""
        if patience:
            await asyncio.sleep(patience)
            if channel.drain():
                return
        self._holes += 1
        wait = _SHORTEST_WAIT
        while self._channels.get(channel.name) is channel:
            before = channel.offset
            try:
                history = await channel.rules.history(channel.name, before, self._most)
            except Exception as error:
                log.warning("cannot read what %s missed: %r", channel.name, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            if history.head.epoch != channel.epoch:
                self._begin_anew(channel)
                return
            for entry in history.entries:
                channel.take(entry)
            complete = channel.drain()
            if channel.offset >= history.head.offset and (complete or channel.offset == before):
                channel.waiting.clear()
                return
            if channel.offset == before:  # the store has not got it yet
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
