"""One row of a room's log as different people see it. Whoever may not see a change sees that its place is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET

from realtime.protocol.codec import Payload
from realtime.rules import Entry
from server.community.chat.mode import Mode
from server.community.chat.models import (
    Appointed,
    Author,
    Banned,
    Change,
    ChatMessage,
    Deleted,
    Edited,
    EmotesChanged,
    FiltersChanged,
    Hidden,
    ModeChanged,
    Pinned,
    Reacted,
    Said,
    Unbanned,
    Unpinned,
)

_encode = msgspec.json.Encoder().encode

NOBODY = UUID(int=0)  # who stands where a person stood who is not here any more

Audience = Literal["all", "own", "self", "staff"]
Kind = Literal[
    "message", "edit", "delete", "reactions", "pin", "unpin", "mode", "ban", "unban", "moderator", "filters", "emotes"
]


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it stands in the database. text_at: the place of the log with its text. released_at: the place where
    all were shown what was held back."""

    message: ChatMessage
    text_at: int
    released_at: int | None = None
    shadowed: bool = False
    held_until: datetime | None = None

    @property
    def private(self) -> bool:
        return self.shadowed or self.held_until is not None


@dataclass(frozen=True, slots=True)
class LogRow:
    """One change. subject: whom it is about. prior: where the message's text stood before. own: reactions to the
    message that only those people see who gave them."""

    offset: int
    kind: Kind
    at: datetime
    by: UUID | None = None
    kept: Kept | None = None
    subject: UUID | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    prior: int | None = None
    audience: Audience = "all"
    own: Mapping[UUID, Mapping[str, int]] = field(default_factory=dict)

    def concerned(self) -> set[UUID]:
        """Those who may see something else here than everybody does."""
        found = set(self.own)
        if self.audience in ("own", "self") and self.subject is not None:
            found.add(self.subject)
        if self.kept is not None and self.kept.released_at is not None and self.prior == self.kept.message.offset:
            found.add(self.kept.message.author.id)  # he alone saw it there
        return found - {NOBODY}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads. reactions: those of his that only he sees, by message."""

    user_id: UUID | None = None
    staff: bool = False
    reactions: Mapping[UUID, Mapping[str, int]] = field(default_factory=dict)

    def sees(self, row: LogRow) -> bool:
        if row.audience == "all":
            return True
        if self.staff and row.audience != "self":
            return True
        return row.audience != "staff" and self.user_id is not None and self.user_id == row.subject

    def sees_message(self, kept: Kept) -> bool:
        return not kept.private or self.staff or kept.message.author.id == self.user_id

    def message(self, kept: Kept) -> ChatMessage:
        """With its reactions, which the log leaves to changes of their own."""
        return msgspec.structs.replace(_marked(kept, self), reactions=self.counts(kept))

    def counts(self, kept: Kept) -> dict[str, int]:
        reactions = kept.message.reactions
        return self.with_own(kept.message.id, {} if reactions is UNSET else reactions)

    def with_own(self, message_id: UUID, counts: Mapping[str, int]) -> dict[str, int]:
        together = dict(counts)
        for emoji, count in self.reactions.get(message_id, {}).items():
            together[emoji] = together.get(emoji, 0) + count
        return together


PUBLIC = Viewer()
STAFF = Viewer(staff=True)


def change(row: LogRow, viewer: Viewer) -> Change:
    """The change as the viewer sees it, with its message as that stands now."""
    if not viewer.sees(row):
        return Hidden()
    by = row.by or NOBODY
    match row.kind:
        case "message" | "edit":
            assert row.kept is not None
            return _text(row.kind, row.kept, row.offset, viewer)
        case "mode":
            return ModeChanged(mode=msgspec.convert(row.data, Mode), by=by)
        case "ban":
            told = viewer.staff or viewer.user_id == row.subject
            until = row.data.get("until")
            return Banned(
                user=row.subject or NOBODY,
                until=datetime.fromisoformat(until) if until else None,
                reason=row.data.get("reason", "") if told else UNSET,
                by=by if told else UNSET,
                shadow=True if viewer.staff and row.data.get("shadow") else UNSET,
            )
        case "unban":
            return Unbanned(user=row.subject or NOBODY)
        case "moderator":
            return Appointed(user=row.subject or NOBODY, moderates=bool(row.data.get("moderates")))
        case "filters":
            return FiltersChanged(by=by)
        case "emotes":
            return EmotesChanged(name=row.data["name"], art=row.data.get("art"))
    assert row.kept is not None
    id = row.kept.message.id
    if row.kind == "delete":
        return Deleted(id=id, by=by)
    if row.kind == "reactions":
        return Reacted(id=id, counts=viewer.with_own(id, row.data.get("counts", {})))
    return Pinned(id=id, by=by) if row.kind == "pin" else Unpinned(id=id, by=by)


def erased(row: LogRow, viewer: Viewer) -> tuple[int, Change] | None:
    """The earlier place that holds a text no more since this change, and what stands there from now on."""
    if row.prior is None or row.kept is None:
        return None
    message = row.kept.message
    kind: Kind = "message" if row.prior in (message.offset, row.kept.released_at) else "edit"
    own = viewer.staff or viewer.user_id == message.author.id
    if row.prior == message.offset and row.kept.released_at is not None and not own:
        return None  # others never saw it there
    if row.audience != "all" and not viewer.sees(row):
        return None
    return row.prior, _text(kind, row.kept, row.prior, viewer)


def entry(row: LogRow, viewer: Viewer) -> Entry:
    """The row as a channel has it: for all who see what `viewer` sees, and for those who see something else."""
    data = _encode(change(row, viewer))
    earlier = erased(row, viewer)
    views: dict[UUID, Payload] = {}
    earlier_views: dict[UUID, Payload] = {}
    for person in () if viewer.staff else row.concerned():
        counts = {row.kept.message.id: row.own[person]} if row.kept is not None and person in row.own else {}
        his = Viewer(person, reactions=counts)
        if (own := _encode(change(row, his))) != data:
            views[person] = Payload(own)
        if (before := erased(row, his)) is not None and before != earlier:
            earlier_views[person] = Payload(_encode(before[1]))
    if earlier is None and earlier_views:
        assert row.prior is not None
        earlier = row.prior, Hidden()
    erases = Entry(earlier[0], Payload(_encode(earlier[1])), None, earlier_views) if earlier is not None else None
    return Entry(row.offset, Payload(data), erases, views)


def _text(kind: Kind, kept: Kept, place: int, viewer: Viewer) -> Change:
    message = kept.message
    if message.deleted is not True and place != kept.text_at:
        # its author is left out as well: should he leave one day, only the place with the text leads to him
        message = msgspec.structs.replace(
            message, author=Author(NOBODY, ""), text="", replaced=True, mentions=UNSET, reply_to=UNSET, reactions=UNSET
        )
    else:
        message = msgspec.structs.replace(_marked(kept, viewer), reactions=UNSET)
    return Said(message) if kind == "message" else Edited(message)


def _marked(kept: Kept, viewer: Viewer) -> ChatMessage:
    if not viewer.staff or not kept.private:
        return kept.message
    return msgspec.structs.replace(kept.message, hidden="shadowed" if kept.shadowed else "held")
