"""A chat's messages and changes, as clients see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Literal, Protocol
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from realtime.rules import Entry
from server.community.chat.mode import Bond, Mode
from server.kit.auth import Caller
from storage.postgres import Connection

MAX_PAGE = 500


class Author(Struct, frozen=True):
    id: UUID
    username: str


class ChatMessage(Struct, frozen=True, kw_only=True):
    """`text` is plain text, never markup; "" with `deleted` once it was deleted. `media_time` is the moment of the
    picture (program date-time) that its author saw; null when that is not known. `offset` is its place among the chat's
    changes. `edited_at`: when its author changed the text last. `replaced`: a later `edit` has the text. `mentions`:
    ids of those whose @name stands in the text. `badge`: what the author was in this chat. `reactions`: how many of
    each; given in the state, the replay and for one message: the log has them as changes. `hidden`: others do not see
    it, as its author is shadow-banned or as it waits for the chat's delay; told to the staff alone."""

    id: UUID
    author: Author
    text: str
    at: datetime
    media_time: datetime | None
    offset: int
    deleted: bool | UnsetType = UNSET
    edited_at: datetime | UnsetType = UNSET
    replaced: bool | UnsetType = UNSET
    reply_to: UUID | UnsetType = UNSET
    mentions: list[UUID] | UnsetType = UNSET
    badge: Literal["owner", "moderator"] | UnsetType = UNSET
    reactions: dict[str, int] | UnsetType = UNSET
    hidden: Literal["shadowed", "held"] | UnsetType = UNSET


class Said(Struct, frozen=True, tag_field="kind", tag="message"):
    """A message was written. One that is known already is replaced by it."""

    message: ChatMessage


class Edited(Struct, frozen=True, tag_field="kind", tag="edit"):
    """A message that is known has this text now; its reactions stay. One that is not known is left out."""

    message: ChatMessage


class Deleted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="delete"):
    """A message was deleted: take it off the screen, and from the pins."""

    id: UUID
    by: UUID


class Reacted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="reactions"):
    """All reactions to a message, as they are now."""

    id: UUID
    counts: dict[str, int]


class Pinned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="pin"):
    """A message was pinned, behind those that are. Fetch it when it is not known."""

    id: UUID
    by: UUID


class Unpinned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="unpin"):
    id: UUID
    by: UUID


class ModeChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="mode"):
    """All of the mode, as it is now."""

    mode: Mode
    by: UUID


class Banned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="ban"):
    """Somebody may not write: until then, or for good (null). `reason` and `by` are told to him and to the staff;
    `shadow`, of which he is not to know, to the staff alone."""

    user: UUID
    until: datetime | None
    reason: str | UnsetType = UNSET
    by: UUID | UnsetType = UNSET
    shadow: bool | UnsetType = UNSET


class Unbanned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="unban"):
    user: UUID


class Appointed(Struct, frozen=True, kw_only=True, tag_field="kind", tag="moderator"):
    """Somebody moderates the chat from now on, or (`moderates` false) no more."""

    user: UUID
    moderates: bool


class FiltersChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="filters"):
    """The word filters are others; told to the staff alone."""

    by: UUID


class EmotesChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="emotes"):
    """An emote of the channel shows this from now on; null: it is gone."""

    name: str
    art: str | None


class Hidden(Struct, frozen=True, tag_field="kind", tag="hidden"):
    """Something that is not for the one who reads. Its place counts like any other."""


Change = (
    Said
    | Edited
    | Deleted
    | Reacted
    | Pinned
    | Unpinned
    | ModeChanged
    | Banned
    | Unbanned
    | Appointed
    | FiltersChanged
    | EmotesChanged
    | Hidden
)


class Allowance(Struct, frozen=True, kw_only=True):
    """How much more one may write. `left`: messages right now; null: as many as one likes. `next_in`: seconds until the
    next one may go; 0: now."""

    left: int | None
    next_in: float


class Sent(Struct, frozen=True, kw_only=True, tag_field="kind", tag="message"):
    """The ack of a message."""

    message: ChatMessage
    allowance: Allowance


class LogEntry(Struct, frozen=True):
    offset: int
    data: Change


class ChatLog(Struct, frozen=True, kw_only=True):
    """Changes in their order. `offset`: the place after the last item, to go on from; `head`: the chat's last place."""

    epoch: str
    offset: int
    head: int
    items: list[LogEntry]


class LogQuery(Struct, frozen=True, kw_only=True):
    since: (
        Annotated[int, Meta(ge=0, le=2**53 - 1, description="changes after this place; without it the latest ones")]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class ReplayQuery(Struct, frozen=True, kw_only=True):
    """Without `from_time` from the beginning."""

    from_time: Annotated[datetime, Meta(tz=True, description="messages shown at or after this moment")] | None = None
    to_time: Annotated[datetime, Meta(tz=True, description="messages shown before this moment")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Annotated[str, Meta(max_length=512)] | None = None


class Room(Protocol):
    """The broadcast that a chat belongs to."""

    @property
    def id(self) -> UUID: ...
    @property
    def owner_id(self) -> UUID: ...
    @property
    def open(self) -> bool:
        """Whether messages may be written."""
        ...

    @property
    def started_at(self) -> datetime | None: ...


class Rooms(Protocol):
    async def room(self, id: UUID) -> Room | None:
        """The broadcast with this id; None when there is none."""
        ...


class Doors(Protocol):
    async def may_still(self, id: UUID, viewer: Caller | None) -> bool:
        """Whether he may watch the broadcast, and so be in the room beside it. Asked often."""
        ...


class Audience(Protocol):
    """What is known of the bonds between people and the owner of a channel. Asked in the transaction that writes."""

    def knows(self, bond: Bond) -> bool:
        """Whether there is such a bond here at all. A mode that needs one that is not is refused."""
        ...

    async def followers(
        self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]
    ) -> Mapping[UUID, datetime]:
        """Of these, who follows the owner, and since when."""
        ...

    async def subscribers(self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]) -> Collection[UUID]:
        """Of these, who pays for a subscription to the owner."""
        ...


class NoAudience:
    """Where nobody can follow or subscribe."""

    def knows(self, bond: Bond) -> bool:
        return False

    async def followers(
        self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]
    ) -> Mapping[UUID, datetime]:
        return {}

    async def subscribers(self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]) -> Collection[UUID]:
        return ()


class Named(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def username(self) -> str: ...


class People(Protocol):
    async def people(self, ids: Collection[UUID]) -> Mapping[UUID, Named]:
        """Those of these ids who have an account."""
        ...

    async def by_username(self, name: str) -> Named | None: ...


class Fanout(Protocol):
    """Where committed changes go: the hub."""

    def recheck(self, name: str) -> None:
        """Who may hold the channel has changed."""
        ...

    def deliver(self, name: str, epoch: str, entry: Entry) -> None: ...


def channel_of(room_id: UUID) -> str:
    """Everybody's view of the chat."""
    return f"live:{room_id}"


def staff_channel_of(room_id: UUID) -> str:
    """The staff's view: the same places, nothing hidden."""
    return f"staff:{room_id}"
