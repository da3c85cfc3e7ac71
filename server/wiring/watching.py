"""Who may watch: what `playback.rights` asks of bonds between people, and what follows when a right is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from uuid import UUID

from realtime.hub import Hub
from realtime.protocol.codes import ErrorCode
from server.community.follows.service import Follows
from server.kit.secrets import Secrets
from server.settings import SettingError, Settings
from server.streaming.broadcasts import store as broadcasts
from server.streaming.playback.grants import Grants
from server.streaming.playback.subjects import Kind, Subject
from server.streaming.playback.views import ViewOptions
from storage.postgres.database import AWAY, Database

log = logging.getLogger(__name__)

CHANNELS_MOST = 1000
"""Of one owner, whose channels are closed to who follows him no more."""


def grants_of(secrets: Secrets, settings: Settings) -> Grants:
    """Raises SettingError."""
    if settings.grant_seconds <= 4 * settings.grant_skew_seconds or settings.grant_skew_seconds < 0:
        raise SettingError(
            f"GRANT_SECONDS is {settings.grant_seconds:g} and GRANT_SKEW_SECONDS {settings.grant_skew_seconds:g}; "
            "a grant has to live more than four times as long as clocks may differ."
        )
    return Grants(secrets.key("grants to watch"), seconds=settings.grant_seconds, skew=settings.grant_skew_seconds)


def views_of(settings: Settings) -> ViewOptions:
    return ViewOptions(
        seconds=settings.view_seconds,
        window=settings.view_window,
        per_address=settings.view_per_address,
        write=settings.view_write_seconds,
    )


class Bonds:
    """Implements what `Rights` asks for. Nobody can subscribe or buy here yet."""

    def __init__(self, follows: Follows) -> None:
        self._follows = follows

    async def following(self, pairs: Collection[tuple[UUID, UUID]]) -> Collection[tuple[UUID, UUID]]:
        return await self._follows.pairs_among({viewer for viewer, _ in pairs}, {owner for _, owner in pairs})

    async def subscribes(self, viewer_id: UUID, owner_id: UUID) -> bool | None:
        return None

    async def bought(self, viewer_id: UUID, id: UUID) -> bool | None:
        return None


class Withdrawal:
    """Closes the channels beside broadcasts to who may not watch them any more. Owns the tasks that find out which."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._tasks: set[asyncio.Task[None]] = set()

    def narrowed(self, subject: Subject) -> None:
        if subject.kind is Kind.LIVE:
            for channel in (f"live:{subject.id}", f"staff:{subject.id}"):
                self._hub.recheck(channel)

    def unfollowed(self, viewer_id: UUID, owner_id: UUID) -> None:
        task = asyncio.get_running_loop().create_task(self._close(viewer_id, owner_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self, viewer_id: UUID, owner_id: UUID) -> None:
        try:
            async with self._database.acquire() as conn:
                ids = await broadcasts.for_followers(conn, owner_id, CHANNELS_MOST)
        except AWAY as error:
            log.warning("channels could not be closed to somebody who follows no more: %r", error)
            return
        for id in ids:
            for channel in (f"live:{id}", f"staff:{id}"):
                self._hub.revoke(channel, ErrorCode.FORBIDDEN, "Follow its owner to be here.", user=str(viewer_id))
