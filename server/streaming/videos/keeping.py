"""Recorded broadcasts become videos: the row is made in the transaction that says that the broadcast has ended, or when
its owner asks; a job does the rest (`recordings.py`). Keeps nothing between calls."""

from __future__ import annotations

import logging
from typing import Protocol
from uuid import UUID

from server.kit.auth import Caller
from server.kit.ownership import own
from server.streaming.broadcasts import store as broadcasts
from server.streaming.broadcasts.errors import NoSuchBroadcast, NotYours
from server.streaming.broadcasts.models import Broadcast, State
from server.streaming.channels import store as channels
from server.streaming.channels.models import ChannelSettings
from server.streaming.videos import store, work_store
from server.streaming.videos.errors import NothingRecorded, QuotaReached
from server.streaming.videos.jobs import enqueue_recording
from server.streaming.videos.models import Visibility
from server.streaming.videos.service import Videos
from storage.jobs import Jobs
from storage.postgres import Connection, Database

log = logging.getLogger(__name__)


class Tiers(Protocol):
    async def tier_of(self, conn: Connection, user_id: UUID) -> str: ...


class Keeping:
    def __init__(self, database: Database, videos: Videos, jobs: Jobs, tiers: Tiers) -> None:
        self._database = database
        self._videos = videos
        self._jobs = jobs
        self._tiers = tiers

    async def ended(self, conn: Connection, id: UUID) -> None:
        """A broadcast has ended with a recording: a video of it, when its channel wants that. What keeps that from
        being is told among the channel's events; the recording is there all the same."""
        row = await broadcasts.get(conn, id)
        if row is None or row.recording is None or not await channels.keeps(conn, row.channel_id):
            return
        why = ""
        try:
            async with conn.transaction():  # a broadcast has to end, whatever becomes of its video
                await self._add(conn, row)
        except QuotaReached as full:
            why = full.detail
        except Exception:
            log.exception("no video could be made of broadcast %s", id)
            why = "the server failed; make one by hand"
        if why:
            await channels.add_event(conn, row.channel_id, id, "no_video", f"no video was made of it: {why}")

    async def keep(self, id: UUID, caller: Caller) -> UUID:
        """A video of it, the one that there is already when there is one. Raises NoSuchBroadcast, NotYours,
        NothingRecorded, QuotaReached."""
        async with self._database.transaction() as conn:
            row = await broadcasts.lock(conn, id)
            secret = row is not None and row.visibility == Visibility.PRIVATE
            row = own(row, caller, missing=_missing, foreign=None if secret else _foreign)
            if row.state is not State.ENDED:
                raise NothingRecorded("End the broadcast first: then it becomes a video by itself, if you want that.")
            if row.recording is None:
                raise NothingRecorded("It was not recorded, or its recording is past its time.")
            return await self._add(conn, row)

    async def video_of(self, conn: Connection, id: UUID, *, mine: bool) -> UUID | None:
        """The video of a broadcast, as far as others may know of it."""
        found = await store.of_broadcast(conn, id)
        video = await store.get(conn, found) if found is not None else None
        return found if video is not None and (mine or video.published_at is not None) else None

    async def wanted(self, caller: Caller) -> ChannelSettings:
        async with self._database.acquire() as conn:
            channel = await channels.of_user(conn, caller.user_id)
            return ChannelSettings(keep_as_videos=channel is None or await channels.keeps(conn, channel.id))

    async def want(self, caller: Caller, settings: ChannelSettings) -> ChannelSettings:
        """From the next end of a broadcast on."""
        async with self._database.transaction() as conn:
            channel = await channels.ensure(conn, caller.user_id)
            await channels.set_keeps(conn, channel.id, settings.keep_as_videos)
        return settings

    async def _add(self, conn: Connection, row: Broadcast) -> UUID:
        there = await store.of_broadcast(conn, row.id)
        if there is not None:
            return there
        assert row.recording is not None
        tier = await self._tiers.tier_of(conn, row.owner_id)
        await self._videos.check_quota(conn, row.owner_id, tier, row.recording.bytes)
        id = await self._videos.begin(
            conn,
            row.owner_id,
            title=row.title,
            description=row.description,
            visibility=Visibility(row.visibility),
        )
        await store.set_broadcast(conn, id, row.id)
        run = await work_store.begin(conn, id, row.recording.bytes)
        await enqueue_recording(self._jobs, conn, id, run)
        return id


def _missing() -> NoSuchBroadcast:
    return NoSuchBroadcast("It was deleted, or the address is wrong.")


def _foreign() -> NotYours:
    return NotYours("Only its owner can do that.")
