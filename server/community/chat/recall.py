"""What this process knows of the rooms that it wrote in lately: so a plain message costs the database one statement.

None of it is believed: the statement writes only where all of it still holds (`ChatStore.append`), and otherwise the
turn is made anew from what the database says. Owns what it knows of the latest rooms and nothing that waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from server.community.chat.rules_store import Filter
from server.community.chat.store import RoomRow
from server.community.chat.words import Word

_ROOMS = 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """The word filters of an owner, and by what they are known again."""

    words: tuple[Word, ...] = ()
    filters: tuple[str, ...] = ()

    @classmethod
    def of(cls, filters: Sequence[Filter]) -> Rules:
        return cls(
            tuple(Word(tuple(one.pattern.split(" ")), one.action) for one in filters),
            tuple(f"{one.id} {one.action}" for one in sorted(filters, key=lambda one: one.id)),
        )


@dataclass(frozen=True, slots=True)
class Known:
    """moderators: of those who wrote here, whoever moderates. alone: no other process wrote between the last two turns
    of this one; where several do, it is not worth trying."""

    room: RoomRow
    moderators: frozenset[UUID]
    rules: Rules
    alone: bool = True


class Recall:
    def __init__(self) -> None:
        self._rooms: OrderedDict[UUID, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    def of(self, room_id: UUID) -> Known | None:
        return self._rooms.get(room_id)

    def keep(self, room_id: UUID, known: Known) -> None:
        self._rooms[room_id] = known
        self._rooms.move_to_end(room_id)
        if len(self._rooms) > _ROOMS:
            self._rooms.popitem(last=False)

    def drop(self, room_id: UUID) -> None:
        self._rooms.pop(room_id, None)
