"""What realtime asks of the product: who somebody is, what they may do in a channel, and what was said there before.

A feature answers for all channels with one prefix (`live:…`). It numbers its own messages: it takes the offset in the
transaction
that stores the message, and hands the message to the hub after the commit.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from realtime.protocol.codec import Payload
from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position


class Identity(Protocol):
    """A signed-in user."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def username(self) -> str: ...


class Discretion(Protocol):
    async def hidden(self, ids: Collection[str]) -> Collection[str]:
        """Of these users, who is not to be named to others. Asked every few seconds about whoever is there."""
        ...


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Identity:
        """Who the token speaks for. Raises an exception when the token is not, or no longer, valid."""
        ...


class Refused(Exception):
    """A feature says no: a code for programs, a sentence for people, and when to try again (s)."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Unheard(Refused):
    """A feature says no, and that the person is not to know: he is answered as if it had been done."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.FORBIDDEN, ErrorCode.FORBIDDEN.sentence)


class Action(enum.Enum):
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    PRESENCE = "presence"  # see who is there
    TYPING = "typing"  # be shown as writing


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a channel, at its place. `erases`: an earlier place and what stands there from now on, as for
    a deletion. `views`: what some people (ids) get instead.
    """

    offset: int
    payload: Payload
    erases: Entry | None = None
    views: Mapping[UUID, Payload] = field(default_factory=dict)

    def seen_by(self, who: Identity | None) -> Payload:
        return self.payload if who is None or not self.views else self.views.get(who.user_id, self.payload)


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a channel's history: dense, ascending. `head` is the channel's last place when it was read."""

    head: Position
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Published:
    position: Position
    data: Any


class ChannelRules(Protocol):
    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        """Returns when `who` (None: a guest) may. Raises Refused."""
        ...

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        """Returns once it is on disk. Raises Refused."""
        ...

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        """The first `limit` entries after `since`; the last `limit` when it is None."""
        ...

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        """The last place of each channel, in one question for all. A channel whose subject is gone may be left out: its
        subscribers are asked for their right again.
        """
        ...

    async def state(self, channel: str) -> Any:
        """The latest ephemeral fact about the channel's subject, JSON-like; None when there is none."""
        ...
