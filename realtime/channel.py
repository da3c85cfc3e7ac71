"""One channel on this node: who holds it here, how far it has come, what it said last.

The hub opens a channel for its first holder and drops it some time after the last one left.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from realtime.fanout import Holders, Outbox
from realtime.history import Tail
from realtime.protocol.codec import Codec, Payload
from realtime.protocol.messages import Item, Message, Position, ServerMessage
from realtime.rules import ChannelRules, Entry, Slice
from realtime.session import Session

log = logging.getLogger(__name__)

_MOST_WAITING = 1000


class Channel:
    def __init__(self, name: str, rules: ChannelRules, outbox: Callable[[Holders], Outbox]) -> None:
        self.name = name
        self.rules = rules
        self.epoch = ""
        self.tail = Tail(0, 0, 0)
        self.waiting: dict[int, Entry] = {}  # came before their turn
        self.state: Any = None
        self.ready = False
        self.opening: asyncio.Task[None] | None = None
        self.catching_up: asyncio.Task[None] | None = None
        self.rereading: asyncio.Task[None] | None = None
        self.reading: dict[int, asyncio.Task[Slice]] = {}  # history being read, by the place it starts after
        self.behind = False  # something was said while the channel was being opened
        self.idle_since = 0.0
        # viewers
        self.newcomers: set[str] = set()  # since presence was last told
        self._present: frozenset[str] = frozenset()
        self._beyond: set[str] = set()  # who came since that was read
        self._viewers: dict[str, int] = {}  # connections of each, here
        self.counted: int | None = None  # the product's count, which goes before ours…
        self.counted_until = math.inf  # …until then
        self.shown: int | None = None  # the count that subscribers know
        self._holders: dict[Codec, dict[Session, None]] = {}
        self.outbox = outbox(self._holders)

    def load(self, history: Slice, max_entries: int, max_bytes: int) -> None:
        """Begin from what the feature knows."""
        self.epoch = history.head.epoch
        first = history.entries[0].offset - 1 if history.entries else history.head.offset
        self.tail = Tail(first, max_entries, max_bytes)
        for entry in history.entries:
            self.tail.append(entry)
        self.ready = True

    async def reread(self, max_entries: int, max_bytes: int) -> None:
        """Keep nothing of what was said before, then what the store has of it now. Whoever comes meanwhile waits."""
        self.tail = Tail(self.tail.end, max_entries, max_bytes)
        try:
            history = await self.rules.history(self.name, None, max_entries)
        except Exception as error:
            log.warning("cannot read %s again: %r", self.name, error)
            return
        entries = [entry for entry in history.entries if entry.offset <= self.tail.start]
        if history.head.epoch != self.epoch or not entries or entries[-1].offset != self.tail.start:
            return  # whoever asks for more than is kept here is answered from the store
        later, self.tail = self.tail, Tail(entries[0].offset - 1, max_entries, max_bytes)
        for entry in (*entries, *later.after(later.start)):
            self.tail.append(entry)

    @property
    def offset(self) -> int:
        """The last place that subscribers here have got, or will get from the outbox."""
        return self.tail.end

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    # holders

    @property
    def present(self) -> frozenset[str]:
        """Viewers over all nodes, as last read."""
        return self._present

    @present.setter
    def present(self, keys: frozenset[str]) -> None:
        self._present = keys
        self._beyond = (self._viewers.keys() | self.newcomers) - keys

    def add(self, session: Session) -> None:
        """The session has been told everything up to `offset`, perhaps not for the first time."""
        again = self.holds(session)
        if again:
            self.outbox.leave(session)  # what is being written it knows as well
        self.outbox.join(session)
        if again:
            return
        self._holders.setdefault(session.codec, {})[session] = None
        session.channels += (self.name,)
        viewer = session.viewer
        self.newcomers.add(viewer)
        self._viewers[viewer] = self._viewers.get(viewer, 0) + 1
        if viewer not in self._present:
            self._beyond.add(viewer)

    def remove(self, session: Session) -> bool:
        session.channels = tuple(name for name in session.channels if name != self.name)
        group = self._holders.get(session.codec)
        if group is None or session not in group:
            return False
        del group[session]
        if not group:
            del self._holders[session.codec]
        self.outbox.leave(session)
        left = self._viewers[session.viewer] - 1
        if left:
            self._viewers[session.viewer] = left
        else:
            del self._viewers[session.viewer]
        return True

    def holds(self, session: Session) -> bool:
        return session in self._holders.get(session.codec, ())

    def sessions(self) -> list[Session]:
        return [session for group in self._holders.values() for session in group]

    def holders(self) -> int:
        return sum(len(group) for group in self._holders.values())

    def viewer_keys(self) -> set[str]:
        return set(self._viewers)

    def viewers(self) -> int:
        """Asked by everybody who comes: a crowd is not counted anew for each of them."""
        if self.counted is not None:
            return self.counted
        return len(self._present) + len(self._beyond)

    # saying something

    def broadcast(self, message: ServerMessage) -> None:
        self.outbox.put(lambda codec: codec.frame_for_all(message))

    def emit(self, entry: Entry) -> None:
        """Say the next message: encoded and framed once a format, the same bytes to all without a view of their own."""
        self.tail.append(entry)
        self.outbox.put(
            lambda codec: codec.frame_for_all(self._message(codec, entry, entry.payload)),
            instead=self._views(entry) if entry.views else {},
        )

    def _views(self, entry: Entry) -> dict[Session, bytes]:
        found = {}
        for codec, group in self._holders.items():
            for session in group:
                payload = entry.seen_by(session.identity)
                if payload is not entry.payload:
                    found[session] = codec.frame(self._message(codec, entry, payload))
        return found

    def _message(self, codec: Codec, entry: Entry, payload: Payload) -> Message:
        return Message(channel=self.name, epoch=self.epoch, offset=entry.offset, data=codec.raw(payload))

    def take(self, entry: Entry) -> bool:
        """A message that may have come out of turn. False when one before it is missing."""
        if entry.offset <= self.offset:
            return True
        if entry.offset > self.offset + 1:
            if len(self.waiting) < _MOST_WAITING:
                self.waiting[entry.offset] = entry
            return False
        self.emit(entry)
        return self.drain()

    def drain(self) -> bool:
        """Say what waits and is next. True when nothing waits any more."""
        while (entry := self.waiting.pop(self.offset + 1, None)) is not None:
            self.emit(entry)
        if self.waiting:
            self.waiting = {at: entry for at, entry in self.waiting.items() if at > self.offset}
        return not self.waiting

    def items(self, session: Session, entries: list[Entry]) -> list[Item]:
        raw, who = session.codec.raw, session.identity
        return [Item(entry.offset, raw(entry.seen_by(who))) for entry in entries]
