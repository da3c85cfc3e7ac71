"""What every feature that keeps something of people says for their archive, and does when they leave.

A feature implements PersonalData for its own tables and objects; the composition root hands all of them to
server/identity/privacy, which knows none of them by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import msgspec

from storage.postgres import Connection

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Item:
    """One file of an archive. name: its path in there. content: its bytes, a piece at a time, so that no file is ever
    held whole; it is read once, before the next item is asked for. packed: compressing it again would gain nothing."""

    name: str
    content: AsyncIterator[bytes]
    packed: bool = False


class PersonalData(Protocol):
    def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        """All that is kept of the person. media: what he has uploaded or sent as files too, not only what is known of
        it and where it is."""
        ...

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """The person is leaving: others see nothing of him, nothing new of his begins. In the caller's transaction."""
        ...

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        """He stays after all: undo `suspend`."""
        ...

    async def erase(self, user_id: UUID) -> None:
        """Remove what is kept of the person, or take from it whatever leads to him. Returns when nothing is left but
        what rows enqueued on the way will remove.

        In transactions of its own, each so short that nobody waits for it. After a crash it is called again.
        """
        ...


async def one(value: Any) -> AsyncIterator[bytes]:
    """A single value as JSON."""
    yield msgspec.json.format(_encode(value), indent=2) + b"\n"


async def rows(batches: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """Values as one JSON array, a line each; a batch at a time is in memory."""
    first = True
    async for batch in batches:
        lines = b"".join((b"[\n" if first and not number else b",\n") + _encode(v) for number, v in enumerate(batch))
        if lines:
            first = False
            yield lines
    yield b"[]\n" if first else b"\n]\n"
