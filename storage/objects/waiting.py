"""What of one prefix the store has not got yet. Owned by the spool, touched on the loop only; dies when all is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_PLAYLISTS = (".m3u8", ".mpd")
"""These name other files, so they go to the store after all that came before them."""
_AT_ONCE = 4
"""Files of one prefix under way at once."""
JOURNAL_SECONDS = 10.0
"""A journal that grows is sent again at most this often, unless the spool is told otherwise,"""
JOURNAL_BYTES_PER_SECOND = 64 * 1024
"""and more seldom when it is long: it is sent whole."""
REMOVE_SECONDS = 20.0
REMOVE_COUNT = 200
"""Names to remove are collected this long, or up to this many."""
CHECK_SECONDS = 30.0
"""After something was sent, whether its prefix was deleted by another process meanwhile is asked this much later."""
MOST_GIVEN_UP = 4096
"""Losses kept for whoever asks; nobody may."""

GivenUp = tuple[tuple[str, ...], bytes]
"""What one add could not keep: its names and its line of the journal."""


@dataclass(slots=True)
class Line:
    """A line of the journal: the byte where it ends and how many of its files the store still lacks."""

    end: int
    left: int


@dataclass(slots=True)
class Waiting:
    """A file in the spool. version tells two of the same name apart."""

    size: int
    version: int
    line: Line | None = None


@dataclass(slots=True)
class Writing:
    """A file on its way to the disk."""

    version: int
    chunks: Sequence[bytes]
    size: int


@dataclass(slots=True)
class Prefix:
    name: str
    writing: dict[str, Writing] = field(default_factory=dict)
    files: dict[str, Waiting] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    removing: dict[str, None] = field(default_factory=dict)
    remove_at: float = 0.0
    remove_active: bool = False
    lost: int = 0
    given_up: deque[GivenUp] = field(default_factory=lambda: deque(maxlen=MOST_GIVEN_UP))
    has_journal: bool = False
    lines: deque[Line] = field(default_factory=deque)
    journal_safe: int = 0
    """The journal up to here speaks only of files that the store has."""
    journal_sent: int = 0
    journal_at: float = 0.0
    journal_active: bool = False
    check_wanted: bool = False
    check_at: float = 0.0
    check_active: bool = False
    closing: bool = False
    journal_seconds: float = JOURNAL_SECONDS

    def give_up(self, names: Iterable[str], entry: bytes) -> int:
        """Note a loss; how many files it is."""
        self.given_up.append((tuple(names), entry))
        count = len(self.given_up[-1][0])
        self.lost += count
        return count

    def next_file(self) -> str | None:
        """The next file to send: the first that is not under way, unless it must wait for those before it."""
        if len(self.active) >= _AT_ONCE:
            return None
        for place, name in enumerate(self.files):
            if name in self.active:
                continue
            if place and name.endswith(_PLAYLISTS):
                return None
            return name
        return None

    def add_line(self, end: int, left: int) -> Line:
        line = Line(end, left)
        self.lines.append(line)
        self.settle()
        return line

    def settle(self) -> None:
        while self.lines and self.lines[0].left <= 0:
            self.journal_safe = self.lines.popleft().end

    def sent(self, name: str, version: int) -> Waiting | None:
        """The store has this version; the entry if that settles the file, None if a newer one waits."""
        waiting = self.files.get(name)
        if waiting is None or waiting.version != version:
            return None
        del self.files[name]
        self._settle_line(waiting)
        return waiting

    def drop(self, name: str) -> Waiting | None:
        waiting = self.files.pop(name, None)
        if waiting is not None:
            self._settle_line(waiting)
        return waiting

    def _settle_line(self, waiting: Waiting) -> None:
        if waiting.line is not None:
            waiting.line.left -= 1
            self.settle()

    def journal_wanted(self) -> bool:
        return self.has_journal and self.journal_safe > self.journal_sent

    def journal_due(self, now: float) -> bool:
        return self.journal_wanted() and not self.journal_active and (self.closing or now >= self.journal_at)

    def journal_went(self, end: int, now: float) -> None:
        self.journal_sent = max(self.journal_sent, end)
        self.journal_at = now + max(self.journal_seconds, end / JOURNAL_BYTES_PER_SECOND)

    def removal_due(self, now: float) -> bool:
        return (
            bool(self.removing)
            and not self.remove_active
            and (self.closing or now >= self.remove_at or len(self.removing) >= REMOVE_COUNT)
        )

    def want_check(self, now: float) -> None:
        """Something went, or is about to go, to the store."""
        if not self.check_wanted:
            self.check_wanted = True
            self.check_at = now + CHECK_SECONDS

    def check_due(self, now: float) -> bool:
        return (
            self.check_wanted and not self.check_active and (now >= self.check_at or (self.closing and self.sent_all))
        )

    def due_at(self) -> float | None:
        """When the clock alone will give work here."""
        times = []
        if self.journal_wanted() and not self.journal_active:
            times.append(self.journal_at)
        if self.removing and not self.remove_active:
            times.append(self.remove_at)
        if self.check_wanted and not self.check_active:
            times.append(self.check_at)
        return min(times, default=None)

    @property
    def busy(self) -> bool:
        """Something is on its way to the store."""
        return bool(self.active) or self.journal_active or self.remove_active

    @property
    def sent_all(self) -> bool:
        return not (self.writing or self.files or self.removing or self.busy or self.journal_wanted())

    @property
    def idle(self) -> bool:
        """Nothing to write, to send, to remove or to ask."""
        return self.sent_all and not self.check_wanted and not self.check_active
