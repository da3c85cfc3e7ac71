"""One transaction on a room: its changes in their order, each at the next place.

A turn is made when the room's row is locked and dies with the commit, or without one. Operations check first and write
then, so that one that is refused leaves nothing behind.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from server.community.chat.errors import NotYours
from server.community.chat.models import Audience as Bonds
from server.community.chat.models import ChatMessage, Fanout
from server.community.chat.options import ChatOptions
from server.community.chat.recall import Recall, Rules
from server.community.chat.rights import Actor, Deed, Role, may, role_of
from server.community.chat.rules_store import RulesStore, Standing
from server.community.chat.store import ChatStore, New, RoomRow
from server.community.chat.view import Audience, Kept, Kind, LogRow
from server.community.chat.words import Word
from server.kit.audit import Audit
from server.kit.auth import Origin
from storage.postgres.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Parts:
    """What every room's writer works with."""

    database: Database
    store: ChatStore
    rules: RulesStore
    fanout: Fanout
    bonds: Bonds
    audit: Audit
    options: ChatOptions
    recall: Recall


@dataclass(frozen=True, slots=True)
class Stored:
    """A change that is on disk. row: none when nothing had to change. kept: its message, as it stands now."""

    epoch: int
    offset: int
    row: LogRow | None = None
    kept: Kept | None = None
    data: Any = None

    @property
    def message(self) -> ChatMessage:
        assert self.kept is not None
        return self.kept.message


@dataclass(kw_only=True)
class Operation(abc.ABC):
    """Something that somebody does in a room. `apply` raises Problem when it may not be."""

    actor: Actor
    at: datetime
    origin: Origin | None = None
    done: asyncio.Future[Stored] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future(), repr=False, compare=False
    )

    def concerns(self) -> tuple[UUID, ...]:
        """Whose standing has to be known."""
        return (self.actor.user_id,)

    @abc.abstractmethod
    async def apply(self, turn: Turn) -> Stored: ...


class Turn:
    def __init__(
        self,
        parts: Parts,
        connection: Connection,
        room_id: UUID,
        owner_id: UUID,
        room: RoomRow,
        standing: Standing,
        known: Mapping[tuple[UUID, str], Kept],
        rules: Rules | None = None,
    ) -> None:
        """rules: without, they are read when they are asked for."""
        self.parts = parts
        self.connection = connection
        self.room_id = room_id
        self.owner_id = owner_id
        self.room = room
        self.standing = standing
        self.known = dict(known)  # by author and nonce
        self.rows: list[LogRow] = []
        self.recheck_staff = False
        self._new: list[New] = []
        self._last_said: dict[UUID, datetime | None] = {}
        self.rules = rules
        self._emotes: dict[str, str] | None = None

    @property
    def store(self) -> ChatStore:
        return self.parts.store

    @property
    def options(self) -> ChatOptions:
        return self.parts.options

    def role(self, actor: Actor) -> Role:
        return actor.role(self.owner_id, self.standing.moderators)

    def role_of(self, user_id: UUID) -> Role:
        return role_of(user_id, self.owner_id, self.standing.moderators)

    def need(self, actor: Actor, deed: Deed) -> Role:
        """Raises NotYours."""
        role = self.role(actor)
        if not may(role, deed):
            raise NotYours(deed.sentence)
        return role

    # what is known, read at most once

    async def last_said(self, author_id: UUID) -> datetime | None:
        if author_id not in self._last_said:
            found = await self.store.last_said(self.connection, self.room_id, [author_id])
            self._last_said[author_id] = found.get(author_id)
        return self._last_said[author_id]

    async def words(self) -> Sequence[Word]:
        if self.rules is None:
            self.rules = Rules.of(await self.parts.rules.filters(self.connection, self.owner_id))
        return self.rules.words

    async def emotes(self) -> dict[str, str]:
        if self._emotes is None:
            self._emotes = await self.parts.rules.emotes(self.connection, self.owner_id)
        return self._emotes

    def forget_rules(self) -> None:
        """They have changed."""
        self.rules = self._emotes = None

    async def message(self, id: UUID) -> Kept | None:
        await self.flush()
        return await self.store.message(self.connection, self.room_id, id)

    # what is done

    def next_place(self) -> int:
        return self.room.offset + 1

    def log(
        self,
        kind: Kind,
        at: datetime,
        by: UUID | None,
        *,
        kept: Kept | None = None,
        subject: UUID | None = None,
        data: Mapping[str, Any] | None = None,
        prior: int | None = None,
        audience: Audience = "all",
        own: Mapping[UUID, Mapping[str, int]] | None = None,
    ) -> LogRow:
        """The next change of the room. What is done to a message that others do not see, others do not see."""
        if kept is not None and kept.private and audience == "all":
            audience, subject = "own", kept.message.author.id
        row = LogRow(self.next_place(), kind, at, by, kept, subject, data or {}, prior, audience, own or {})
        self.room = replace(self.room, offset=row.offset)
        self.rows.append(row)
        return row

    def write(self, kept: Kept, nonce: str | None, fingerprint: int) -> LogRow:
        """A message at the next place."""
        message = kept.message
        self._new.append(New(kept, nonce, fingerprint))
        self._last_said[message.author.id] = message.at
        if nonce is not None:
            self.known[message.author.id, nonce] = kept
        return self.log("message", message.at, None, kept=kept)

    async def flush(self) -> None:
        """The messages that were written in this turn, so that they can be found."""
        if self._new:
            new, self._new = self._new, []
            await self.store.add(self.connection, self.room_id, new)

    async def finish(self) -> None:
        if self.rows:  # also for each message that is new
            new, self._new = self._new, []
            await self.store.record(self.connection, self.room_id, self.room, self.rows, new)

    async def append(self, before: RoomRow, authors: Collection[UUID], rules: Rules) -> bool:
        """`finish` of a turn of plain messages that asked nothing, in one statement. False: it rests on what is not so
        any more, and nothing has happened."""
        return await self.store.append(
            self.connection, self.room_id, self.owner_id, before, authors, self.standing.moderators, rules.filters,
            self.rows, self._new,
        )  # fmt: skip

    def stored(self, row: LogRow | None = None, kept: Kept | None = None, data: Any = None) -> Stored:
        place = row.offset if row is not None else self.room.offset
        return Stored(self.room.epoch, place, row, kept, data)

    def unpin(self, message_id: UUID) -> None:
        if message_id in self.room.pins:
            self.room = replace(self.room, pins=tuple(id for id in self.room.pins if id != message_id))

    async def erase(self, kept: Kept, by: UUID, at: datetime) -> LogRow:
        """Take a message's text away for good."""
        message = kept.message
        await self.flush()
        await self.store.erase(self.connection, message.id, by, at)
        self.unpin(message.id)
        bare = msgspec.structs.replace(
            message, text="", deleted=True, mentions=msgspec.UNSET, reactions=msgspec.UNSET, reply_to=msgspec.UNSET
        )
        gone = replace(kept, message=bare, shadowed=kept.private, held_until=None)
        return self.log("delete", at, by, kept=gone, prior=kept.text_at)

    async def audit(self, operation: Operation, about: UUID, event: str, **details: object) -> None:
        """A line in the log of the account that something was done to."""
        await self.parts.audit.record(
            self.connection,
            about,
            event,
            operation.origin,
            actor_id=operation.actor.user_id,
            room=str(self.room_id),
            **details,
        )


def everybody(operations: Collection[Operation]) -> set[UUID]:
    return {id for operation in operations for id in operation.concerns()}
