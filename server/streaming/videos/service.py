"""The facade of videos: what uploads, playback and people do with them. Owns nothing between calls.

The work that makes a video playable is that of the jobs (`processing.py`); what leads to one is enqueued here, in the
transaction that makes it necessary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.kit.clock import now
from server.streaming.videos import replacing, store, work_store
from server.streaming.videos.errors import QuotaReached
from server.streaming.videos.jobs import enqueue_probe
from server.streaming.videos.models import Failure, Quota, VideoState, Visibility, Watchable
from storage.jobs import Jobs
from storage.postgres import Connection, Database


@dataclass(frozen=True, slots=True)
class Allowances:
    """What an account may have, by tier: bytes of uploaded files, videos, seconds of one video."""

    bytes: Mapping[str, int]
    videos: Mapping[str, int]
    seconds: Mapping[str, int]


class Videos:
    """What other features ask for; what people do is in `Desk`."""

    def __init__(self, database: Database, jobs: Jobs, allowances: Allowances) -> None:
        self._database = database
        self._jobs = jobs
        self._allowances = allowances

    # uploads

    async def quota(self, conn: Connection, owner_id: UUID, tier: str) -> Quota:
        """What the account may still add."""
        held, videos = await store.held(conn, owner_id)
        most = self._allowances
        return Quota(
            bytes=max(0, most.bytes.get(tier, 0) - held),
            videos=max(0, most.videos.get(tier, 0) - videos),
            seconds=most.seconds.get(tier, 0),
        )

    async def check_quota(
        self, conn: Connection, owner_id: UUID, tier: str, size: int = 0, *, new: bool = True
    ) -> Quota:
        """size: of the file that is to come, as far as it is known. new: it is not to replace another. Raises
        QuotaReached."""
        left = await self.quota(conn, owner_id, tier)
        if new and left.videos < 1:
            raise QuotaReached(
                f"You have {self._allowances.videos.get(tier, 0)} videos, which is the most: delete one first.",
                most=self._allowances.videos.get(tier, 0),
            )
        if size > left.bytes or left.bytes < 1:
            raise QuotaReached(
                f"There is room for {left.bytes} more bytes of video: delete something first, or upload less.",
                left=left.bytes,
            )
        return left

    async def begin(
        self,
        conn: Connection,
        owner_id: UUID,
        *,
        title: str,
        description: str = "",
        visibility: Visibility = Visibility.PRIVATE,
        publish_at: datetime | None = None,
        longest: float = 0.0,
    ) -> UUID:
        """The row of a video whose file is on its way. The file belongs under `source_key(id)`. longest: Quota.seconds
        of its owner; 0: as long as any."""
        return await store.add(
            conn,
            owner_id,
            title=title.strip() or "Untitled",
            description=description,
            visibility=visibility,
            publish_at=publish_at,
            longest=longest,
        )

    async def begin_replacing(self, conn: Connection, owner_id: UUID, target: UUID) -> UUID:
        """The same for a file that is to take the place of another video's. Raises NoSuchVideo, NotReady,
        AlreadyReplacing."""
        return await replacing.begin(conn, self._jobs, owner_id, target)

    async def expected(self, conn: Connection, id: UUID, size: int) -> None:
        """The size of the file that is on its way, so that the quota knows of it."""
        await work_store.expect(conn, id, size)

    async def arriving(self, conn: Connection, id: UUID, share: float) -> None:
        """How much of the file is there, 0 to 1; never less than before. Only while it is uploading."""
        await work_store.arriving(conn, id, share)

    async def uploaded(self, conn: Connection, id: UUID, *, size: int) -> None:
        """The file is in the store whole. From here on the jobs have it."""
        video = await store.lock(conn, id)
        if video is None or video.state is not VideoState.UPLOADING:
            return
        run = await work_store.begin(conn, id, size)
        await enqueue_probe(self._jobs, conn, id, run)

    async def upload_failed(self, conn: Connection, id: UUID, error: Failure) -> None:
        """It will not come. What there is of the file is removed by who was bringing it."""
        await work_store.fail(conn, id, error)

    async def abandon(self, conn: Connection, id: UUID) -> None:
        """The upload was taken back before it was whole: there is no such video. Its objects go by a job."""
        video = await store.lock(conn, id)
        if video is not None and video.state in (VideoState.UPLOADING, VideoState.FAILED):
            await replacing.forget(conn, self._jobs, id)

    async def remove(self, conn: Connection, id: UUID) -> int:
        """As its owner deletes it; how many bytes are free then. Its objects go by a job."""
        video = await store.lock(conn, id)
        if video is None:
            return 0
        await replacing.forget(conn, self._jobs, id)
        return video.source_bytes + video.stored_bytes

    # playback

    async def watchable(self, id: UUID) -> Watchable | None:
        """What has to be known to decide who may watch; None: there is none, or its owner is leaving."""
        return (await self.watchables([id])).get(id)

    async def watchables(self, ids: Collection[UUID]) -> dict[UUID, Watchable]:
        """The same of several at once."""
        async with self._database.acquire() as conn:
            return await store.watchables(conn, ids)

    async def add_views(self, conn: Connection, views: Mapping[UUID, int]) -> None:
        """Counted by who knows what was watched."""
        await store.add_views(conn, views)

    # time

    async def publish_due(self) -> int:
        """What was to be published by now and can be played; how many."""
        done = 0
        while True:
            async with self._database.transaction() as conn:
                ids = await store.due(conn, now(), 100)
                await store.publish(conn, ids)
                for id in ids:
                    await store.add_event(conn, id, "published", "as scheduled")
            done += len(ids)
            if len(ids) < 100:
                return done
