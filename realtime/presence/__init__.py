"""Who holds a channel, over all nodes: viewer keys that count for a while after each sign of life, so that a
crashed node's viewers expire.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class Presence(Protocol):
    async def refresh(self, held: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
        """For each channel: these viewers are here now; answers everybody who was there within the last `linger`
        seconds.
        """
        ...

    async def viewers(self, channel: str) -> frozenset[str]: ...

    async def clear(self, channel: str) -> None: ...

    async def close(self) -> None: ...

    def describe(self) -> dict[str, Any]: ...
