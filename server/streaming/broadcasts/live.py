"""One broadcast's live side in this process: the media, its package, its shelf, and what the database is told of it.

Made by the Director when a publisher is admitted (or a restart finds the broadcast left behind), dropped when the
broadcast has ended and no live viewer can still be on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from media.broadcast import Broadcast as Media
from media.package.live import LivePackage
from server.streaming.broadcasts import store
from server.streaming.broadcasts.models import ON_AIR, Broadcast, Owner, State, TrackView
from storage.objects.spool import SpoolShelf


def prefix(id: UUID | str) -> str:
    """Where a broadcast's files are in the store."""
    return f"live/{id}"


async def written_elsewhere(conn: Any, prefixes: Collection[str], node: str) -> set[str]:
    """Those of the prefixes that belong to broadcasts which another process wrote last, or which were deleted."""
    found = {}
    for name in prefixes:
        with contextlib.suppress(ValueError):
            found[UUID(name.removeprefix("live/"))] = name
    return {found[id] for id in await store.written_elsewhere(conn, list(found), node)}


class Live:
    """`row` is the broadcast as it was when the live side was made; `state` is the truth about it since.

    unwritten: the row does not say so yet, nor does the studio's list know of `events` (kind, detail). ending: the
    reason, from the moment nothing more is let in; the state is `ended` once the row says so.
    """

    def __init__(self, row: Broadcast, fence: int, media: Media, package: LivePackage, shelf: SpoolShelf) -> None:
        self.id = str(row.id)
        self.row = row
        self.fence = fence
        self.media = media
        self.package = package
        self.shelf = shelf
        self.state = row.state
        self.owner: Owner | None = None
        self.started_at = row.started_at
        self.ending: str | None = None
        self.by_owner = False
        self.unwritten = False
        self.events: list[tuple[str, str]] = []
        self.thumbnail: bytes | None = None
        self.thumbnail_at = 0.0
        self.writes = asyncio.Lock()
        self._countdown: asyncio.TimerHandle | None = None

    @property
    def channel(self) -> str:
        """The realtime channel beside the picture."""
        return f"live:{self.id}"

    @property
    def started(self) -> bool:
        return self.started_at is not None

    @property
    def on_air(self) -> bool:
        return self.state in ON_AIR

    def track_views(self) -> list[TrackView]:
        return [
            TrackView(
                kind=t.kind.value,
                codec=t.codec_string,
                width=t.width,
                height=t.height,
                frame_rate=round(t.frame_rate, 3),
                sample_rate=t.sample_rate,
                channels=t.channels,
            )
            for t in self.media.tracks
        ]

    def count_down(self, seconds: float, then: Callable[[], object]) -> None:
        """Call `then` unless a publisher comes back within `seconds`."""
        self.stop_countdown()
        self._countdown = asyncio.get_running_loop().call_later(seconds, then)

    def stop_countdown(self) -> None:
        if self._countdown is not None:
            self._countdown.cancel()
            self._countdown = None

    def mark_ended(self) -> None:
        self.state = State.ENDED
        self.stop_countdown()

    def tell(self, kind: str, detail: str) -> None:
        """Something for the studio's list, written with the next change of the row."""
        self.events.append((kind, detail))
        self.unwritten = True
