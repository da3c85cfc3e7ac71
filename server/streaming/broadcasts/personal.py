"""What streaming keeps of a person: his channel, his broadcasts, what happened to his pushes, his recordings.

Implements server.kit.personal.PersonalData; owns nothing between calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from server.kit.clock import now
from server.kit.personal import Item, one, rows
from server.streaming.broadcasts import store
from server.streaming.broadcasts.live import prefix
from server.streaming.broadcasts.models import Broadcast
from server.streaming.broadcasts.service import DELETED_JOB
from server.streaming.channels import store as channels
from server.streaming.visibility import OPEN, PUBLIC_GRANT
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.postgres import Connection, Database

BATCH = 200


class StreamingData:
    def __init__(self, database: Database, objects: ObjectStore, jobs: Jobs, base_url: str) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._base_url = base_url

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        async with self._database.acquire() as conn:
            channel = await channels.of_user(conn, user_id)
        if channel is None:
            return
        yield Item("streaming/channel.json", one(channel))
        yield Item("streaming/broadcasts.json", rows(self._views(user_id)))
        yield Item("streaming/pushes.json", rows(self._events(user_id)))
        if media:
            async for broadcasts in self._broadcasts(user_id):
                for broadcast in broadcasts:
                    folder = prefix(broadcast.id) + "/"
                    async for key, _ in self._objects.list(folder):
                        name = key.removeprefix(folder)
                        yield Item(f"media/{broadcast.id}/{name}", self._object(key), packed=True)

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """The process that has a broadcast on air finds its row ended at its next heartbeat, and hangs up."""
        await channels.set_suspended(connection, user_id, True)
        for id in await store.on_air_of(connection, user_id):
            await store.end_elsewhere(connection, id, now())

    async def hand_over(self, connection: Connection, user_id: UUID) -> None:
        """The account is another person's from now on: what the one before broadcasts ends, his stream key is void."""
        await channels.forget_key(connection, user_id)
        for id in await store.on_air_of(connection, user_id):
            await store.end_elsewhere(connection, id, now())

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        await channels.set_suspended(connection, user_id, False)

    async def erase(self, user_id: UUID) -> None:
        """The job of each broadcast deletes its files and its chat."""
        while True:
            async with self._database.transaction() as conn:
                gone = await store.delete_some(conn, user_id, BATCH)
                for id in gone:
                    await self._jobs.enqueue(conn, DELETED_JOB, str(id).encode())
            if not gone:
                break
        async with self._database.transaction() as conn:
            await channels.delete_of(conn, user_id)

    async def _broadcasts(self, user_id: UUID) -> AsyncIterator[list[Broadcast]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                found = await store.of_user(conn, user_id, after, BATCH)
            if not found:
                return
            yield found
            after = found[-1].id

    async def _views(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        async for broadcasts in self._broadcasts(user_id):
            yield [self._view(broadcast) for broadcast in broadcasts]

    def _view(self, broadcast: Broadcast) -> dict[str, Any]:
        """With addresses that stay good: of what is not for everybody that is the page alone, which signs one in."""
        media = f"{self._base_url}/live/{broadcast.id}/{PUBLIC_GRANT}" if broadcast.visibility in OPEN else None
        return {
            **msgspec.structs.asdict(broadcast),
            "page_url": f"{self._base_url}/watch/{broadcast.id}",
            "recording_url": f"{media}/recording.m3u8" if media and broadcast.recording is not None else None,
            "thumbnail_url": f"{media}/thumb.jpg" if media and broadcast.thumbnail else None,
        }

    async def _events(self, user_id: UUID) -> AsyncIterator[Sequence[Any]]:
        after: UUID | None = None
        while True:
            async with self._database.acquire() as conn:
                found = await channels.all_events(conn, user_id, after, BATCH)
            if not found:
                return
            yield [dict(row) for row in found]
            after = found[-1]["id"]

    async def _object(self, key: str) -> AsyncIterator[bytes]:
        yield await self._objects.get(key) or b""
