"""What clients send to a chat, and the lists that its staff reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from server.community.chat.emotes import LONGEST_ART
from server.community.chat.mode import Mode, ModeBody
from server.community.chat.models import Author, ChatMessage
from server.community.chat.words import Action

MAX_BODY_TEXT = 8000  # far over any limit that an operator may set: the service says how long a text may be

Text = Annotated[str, Meta(max_length=MAX_BODY_TEXT)]
Emoji = Annotated[str, Meta(min_length=1, max_length=34, description="one emoji, or the code of an emote as :fire:")]
Nonce = Annotated[str, Meta(pattern=r"^[!-~]{1,64}$")]
Reason = Annotated[str, Meta(max_length=200)]
Kind = Literal["ban", "timeout", "shadow"]


class WriteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`nonce`: up to 64 visible ASCII characters of the client's; a second message of the same author with the same
    nonce is the first one again. `reply_to`: the message that this one answers.
    """

    text: Text
    media_time: Annotated[datetime, Meta(tz=True)] | None = None
    nonce: Nonce | None = None
    reply_to: UUID | None = None


class EditMessageBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Text


class BanBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ban`: for good. `timeout`: for `seconds`. `shadow`: he may write, but others do not see it. `clear`: delete what
    he wrote lately in this chat. Replaces what holds already."""

    kind: Kind = "ban"
    seconds: Annotated[int, Meta(ge=1, le=366 * 86400, description="with timeout")] | None = None
    reason: Reason = ""
    clear: bool = False


class FilterBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pattern`: a word, or several that follow each other; `*` at the beginning or the end of one stands for any
    letters. `refuse`: the message is not taken. `mask`: stars stand in its place. `shadow`: nobody else sees the
    message, and its author is not told."""

    pattern: Annotated[str, Meta(min_length=1, max_length=60)]
    action: Action = "refuse"


class EmoteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`art`: the emoji that stand for it."""

    art: Annotated[str, Meta(min_length=1, max_length=LONGEST_ART)]


# the same through the socket's publish, where the deed's name says which


class DeleteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    delete: UUID


class EditDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    edit: UUID
    text: Text


class ReactDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    react: UUID
    emoji: Emoji
    remove: bool = False


class PinDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pin: UUID


class UnpinDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    unpin: UUID


class ModeDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: ModeBody


class BanDeed(BanBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ban: UUID


class UnbanDeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    unban: UUID


# what is read


class EmoteView(Struct, frozen=True, kw_only=True):
    name: str
    art: str


class ChatState(Struct, frozen=True, kw_only=True):
    """The chat as it is at `offset`: apply the changes after that place, and it is as it will be. `messages`: the
    latest ones, oldest first. `moderators`: ids."""

    epoch: str
    offset: int
    mode: Mode
    pins: list[ChatMessage]
    moderators: list[UUID]
    emotes: list[EmoteView]
    messages: list[ChatMessage]


class OwnBan(Struct, frozen=True, kw_only=True):
    kind: Literal["ban", "timeout"]
    until: datetime | None
    reason: str


class InTheRoom(Struct, frozen=True, kw_only=True):
    """What the caller is in this chat. `ban`: why he may not write. `reactions`: his to the latest ones."""

    role: Literal["viewer", "moderator", "owner", "platform"]
    ban: OwnBan | None
    reactions: dict[UUID, list[str]]


class BanView(Struct, frozen=True, kw_only=True):
    user: Author
    kind: Kind
    until: datetime | None
    reason: str
    by: UUID
    at: datetime


class ModeratorView(Struct, frozen=True, kw_only=True):
    user: Author
    at: datetime


class FilterView(Struct, frozen=True, kw_only=True):
    id: UUID
    pattern: str
    action: Action
    at: datetime


class Moderators(Struct, frozen=True, kw_only=True):
    items: list[ModeratorView]


class Filters(Struct, frozen=True, kw_only=True):
    items: list[FilterView]


class Emotes(Struct, frozen=True, kw_only=True):
    """The channel's own, and those that every channel has."""

    items: list[EmoteView]
    everywhere: list[EmoteView]


class Reactions(Struct, frozen=True, kw_only=True):
    counts: dict[str, int]
