"""Objects that come piece by piece, over hours, from one process after another.

What has come is kept under a *place*, a prefix of keys that belongs to it alone, as ordinary objects of the store: they
outlive this process, the machine, and a store that forgets its multipart uploads, and any process can go on with them.
The offset is all that has to be remembered elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Lost(Exception):
    """The store has not all that was kept. offset: up to where it has; what follows has to come again."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the store has only the first {offset} bytes of what was kept")
        self.offset = offset


class Piece(NamedTuple):
    """The first `size` bytes of what is kept at `place`."""

    place: str
    size: int


class Appender(Protocol):
    """Adds bytes at one place; memory stays flat. One task at a time; `close` when done. Raises StoreError: then
    nothing may follow but `close`, and what was kept before is still there."""

    async def write(self, data: bytes) -> None:
        """Hand over; it may be written later, so what is raised may be what became of bytes before."""

    async def checkpoint(self) -> int:
        """The offset up to which all survives a power cut by now, without much being done for it."""

    async def keep(self) -> int:
        """The same, but of all that was written."""

    async def close(self) -> None:
        """What was not kept is forgotten."""


class Parts(Protocol):
    """Every method may raise StoreError; BadKey for a malformed place or key."""

    async def open(self, place: str, offset: int) -> Appender:
        """To go on at an offset that `keep` or `checkpoint` gave; what came behind it is forgotten. Only one appender
        at a time may have a place. Raises Lost."""

    async def complete(self, pieces: Sequence[Piece], key: str, content_type: str) -> None:
        """Make one object of them, in this order; it appears whole. It may be called again after a crash, or when
        it raised StoreError. The places stay as they are, or empty, until `abort`. Raises Lost."""

    async def abort(self, place: str) -> int:
        """Remove what is kept there; returns how many objects that were."""
