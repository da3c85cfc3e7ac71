"""What clients did and saw during a run, as the verdict reads it. Lives as long as one run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the log, as somebody saw it. Two are equal when everything a reader is shown is."""

    offset: int
    id: str
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to a subscription. `since`: the place that was sent, as (epoch, offset)."""

    since: tuple[str, int] | None
    epoch: str
    offset: int
    recovered: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """A message that came unasked."""

    epoch: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Ack:
    """The server's word that a message is on disk. `epoch`: None over HTTP, which does not say. `at`: when it came,
    monotonic s.
    """

    epoch: str | None
    entry: Entry
    at: float


@dataclass(slots=True)
class Sent:
    """One message of a client under one nonce, however often it went out. `at`: the first time, monotonic s."""

    client: str
    author: str
    nonce: str
    text: str
    at: float
    attempts: int = 0
    acks: list[Ack] = field(default_factory=list)
    refused: bool = False  # for good: nothing of it may be in the log


@dataclass(slots=True)
class Sight:
    """All that one client was shown of the channel, in the order in which it came."""

    client: str
    events: list[Subscribed | Told] = field(default_factory=list)
    place: tuple[str, int] | None = None  # the epoch and offset that it holds

    def saw(self, event: Subscribed | Told) -> None:
        self.events.append(event)
        self.place = (event.epoch, event.offset if isinstance(event, Subscribed) else event.entry.offset)


@dataclass(slots=True)
class Record:
    sent: list[Sent] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
