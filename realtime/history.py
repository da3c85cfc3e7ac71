"""The recent past of a channel, kept in memory so that a storm of reconnects costs no query each.

A tail lives with its channel and ends with it; what is older is read from the feature.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from realtime.rules import Entry


class Tail:
    """The last entries of one channel, dense and ascending, bounded by number and by bytes."""

    __slots__ = ("_bytes", "_entries", "_max_bytes", "_max_entries", "start")

    def __init__(self, start: int, max_entries: int, max_bytes: int) -> None:
        self.start = start  # the offset before the first entry held
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    @property
    def end(self) -> int:
        return self.start + len(self._entries)

    def append(self, entry: Entry) -> None:
        """The entry must be the next one."""
        if entry.offset != self.end + 1:
            raise ValueError(f"entry {entry.offset} does not follow {self.end}")
        self._entries.append(entry)
        self._bytes += len(entry.payload.json)
        if entry.erases is not None:
            self.replace(entry.erases)
        while len(self._entries) > self._max_entries or (self._bytes > self._max_bytes and len(self._entries) > 1):
            gone = self._entries.popleft()
            self._bytes -= len(gone.payload.json)
            self.start += 1

    def covers(self, since: int) -> bool:
        """Whether everything after `since` is held."""
        return self.start <= since <= self.end

    def after(self, since: int) -> list[Entry]:
        return [entry for entry in self._entries if entry.offset > since]

    def last(self, count: int) -> list[Entry]:
        return list(self._entries)[-count:] if count else []

    def replace(self, entry: Entry) -> None:
        """Put other data at a place, as for a deleted message. Nothing happens when the place is not held."""
        at = entry.offset - self.start - 1
        if 0 <= at < len(self._entries):
            self._bytes += len(entry.payload.json) - len(self._entries[at].payload.json)
            self._entries[at] = entry


def joined(older: Iterable[Entry], tail: Tail) -> list[Entry] | None:
    """What was read from the feature, then what the tail has after it; None when a hole lies between the two."""
    entries = list(older)
    if not entries:
        return None
    last = entries[-1].offset
    if last < tail.start:
        return None
    return [entry for entry in entries if entry.offset <= tail.end] + tail.after(last)
