"""How far a video is, told on the channel `video:{id}` to its owner, on whichever node he is connected.

The rows know; workers write them. For the channels that somebody here holds the rows are read, together, every second,
and what has changed is told. Nobody who looks costs nothing. Owns its task from `start` to `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import Any, Protocol
from uuid import UUID

from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position
from realtime.rules import Action, Identity, Published, Refused, Slice
from server.streaming.videos import store
from storage.postgres.database import AWAY, Database

log = logging.getLogger(__name__)

PREFIX = "video"
EVERY = 1.0
_NOWHERE = Position("0", 0)


class Channels(Protocol):
    """The hub, as far as it is needed."""

    def holders(self, name: str) -> int: ...

    def state(self, name: str, data: Any) -> None: ...


class ProgressChannels:
    """Implements realtime's ChannelRules. Nothing is said in these channels; their state is how far the video is."""

    def __init__(self, database: Database, channels: Channels) -> None:
        self._database = database
        self._channels = channels
        self._told: dict[UUID, dict[str, object] | None] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="video-progress")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to see how far your video is.")
        if action is not Action.SUBSCRIBE:
            raise Refused(ErrorCode.FORBIDDEN, "Nothing is said in this channel.")
        id = _id_of(channel)
        scopes = getattr(who, "scopes", None)
        if scopes is not None and "videos:read" not in scopes:
            raise Refused(ErrorCode.FORBIDDEN, "This API key has not the scope videos:read.")
        async with self._database.acquire() as conn:
            found = await store.watchables(conn, [id] if id is not None else [])
        video = found.get(id) if id is not None else None
        if video is None or video.owner_id != who.user_id:
            raise Refused(ErrorCode.UNKNOWN_CHANNEL, "There is no such video of yours.")
        self._told.setdefault(video.id, None)

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        raise Refused(ErrorCode.FORBIDDEN, "Nothing is said in this channel.")

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        return Slice(_NOWHERE, [])

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        return dict.fromkeys(channels, _NOWHERE)

    async def state(self, channel: str) -> dict[str, object] | None:
        id = _id_of(channel)
        if id is None:
            return None
        async with self._database.acquire() as conn:
            found = await store.progress_of(conn, [id])
        return found.get(id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except AWAY as error:
                log.debug("progress of videos cannot be read: %s", error)
            except Exception:
                log.exception("progress of videos was not told")

    async def look(self) -> None:
        """Tell what has changed, and forget the channels that nobody holds."""
        for id in [id for id in self._told if not self._channels.holders(f"{PREFIX}:{id}")]:
            del self._told[id]
        if not self._told:
            return
        async with self._database.acquire() as conn:
            found = await store.progress_of(conn, list(self._told))
        for id, fact in found.items():
            if id in self._told and self._told[id] != fact:
                self._told[id] = fact
                self._channels.state(f"{PREFIX}:{id}", fact)


def _id_of(channel: str) -> UUID | None:
    with contextlib.suppress(ValueError):
        return UUID(channel.removeprefix(f"{PREFIX}:"))
    return None
