"""A chat's messages and changes, as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_PAGE = 500
MAX_BODY_TEXT = 8000  # far over any limit that an operator may set: the service says how long a text may be


class Author(Struct, frozen=True):
    id: UUID
    username: str


class ChatMessage(Struct, frozen=True, kw_only=True):
    """`text` is plain text, never markup; "" with `deleted` once it was deleted. `media_time` is the moment of the
    picture (program
    date-time) that its author saw; null when that is not known. `offset` is its place among the chat's changes."""

    id: UUID
    author: Author
    text: str
    at: datetime
    media_time: datetime | None
    offset: int
    deleted: bool | UnsetType = UNSET


class Said(Struct, frozen=True, tag_field="kind", tag="message"):
    """A message was written."""

    message: ChatMessage


class Deleted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="delete"):
    """A message was deleted: take it off the screen."""

    id: UUID
    by: UUID


Change = Said | Deleted


class LogEntry(Struct, frozen=True):
    offset: int
    data: Change


class ChatLog(Struct, frozen=True, kw_only=True):
    """Changes in their order. `offset`: the place after the last item, to go on from; `head`: the chat's last place."""

    epoch: str
    offset: int
    head: int
    items: list[LogEntry]


class WriteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`nonce`: up to 64 visible ASCII characters of the client's; a second message of the same author with the same
    nonce is the first one
    again.
    """

    text: Annotated[str, Meta(max_length=MAX_BODY_TEXT)]
    media_time: Annotated[datetime, Meta(tz=True)] | None = None
    nonce: Annotated[str, Meta(pattern=r"^[!-~]{1,64}$")] | None = None


class DeleteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    delete: UUID


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


class Fanout(Protocol):
    """Where committed changes go: the hub."""

    def deliver(
        self, name: str, epoch: str, offset: int, data: bytes, erased: tuple[int, bytes] | None = None
    ) -> None: ...


def channel_of(room_id: UUID) -> str:
    return f"live:{room_id}"
