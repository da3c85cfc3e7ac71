"""Who is there, over all nodes: keys that count for a while after each sign of life, so that those of a crashed node
expire. `refresh` is for viewers, who linger when they leave; `attend` for members, who do not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Attending:
    """What one node says of a room and asks about it. `here`: keys that are here now; `gone`: keys that no longer are.
    `most`: with more than these in the room only `sample` of them are answered.
    """

    here: frozenset[str]
    gone: Collection[str] = ()
    most: int = 0
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Attendance:
    """`count`: everybody in the room; `keys`: all of them, or a sample when there are more than was asked for."""

    count: int
    keys: frozenset[str]


class Presence(Protocol):
    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        """For each channel: these viewers are here now; answers everybody who was there within the last `linger`
        seconds.
        """
        ...

    async def viewers(self, channel: str) -> frozenset[str]: ...

    async def attend(self, rooms: Mapping[str, Attending]) -> dict[str, Attendance]:
        """Say who is in these rooms, and learn it. Who is gone from one node and stays at another is away until that
        one's next call. Everybody who is lost with the store is back after the next call but one of his node.
        """
        ...

    async def among(self, room: str, keys: Collection[str]) -> frozenset[str]:
        """Which of these are in the room."""
        ...

    async def clear(self, channel: str) -> None: ...

    async def close(self) -> None: ...

    def describe(self) -> dict[str, Any]: ...
