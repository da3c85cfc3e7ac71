"""What is decided about uploads: who may begin one, go on with one, and what becomes of it when it is whole.

Owns which uploads this process writes to just now; dies with it. What has come is in the store, and a row says how much
of it survives anything: any process goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from server.kit.auth import Caller
from server.kit.clock import now
from server.kit.ids import uuid7
from server.streaming.uploads import store
from server.streaming.uploads.errors import (
    NoRoom,
    NoSuchUpload,
    NotAVideo,
    NotByPatch,
    NotComplete,
    TooManyUploads,
    UploadComplete,
    UploadGone,
    UploadLocked,
    UploadTooLarge,
    WrongOffset,
)
from server.streaming.uploads.models import Details, Kind, Options, State, Upload
from server.streaming.uploads.protocol import Checksum
from server.streaming.uploads.receiving import Bringing, Receiving, look
from server.streaming.videos.models import Failure
from server.streaming.videos.service import Videos
from storage.jobs import Jobs
from storage.objects import Lost, Parts, StoreError
from storage.postgres import Connection, Database

FINISH_JOB = "uploads.finish"
PREFIX = "uploads"

_log = logging.getLogger(__name__)


class Uploads:
    def __init__(
        self, database: Database, parts: Parts, videos: Videos, jobs: Jobs, options: Options, *, node: str
    ) -> None:
        self._database = database
        self._parts = parts
        self._videos = videos
        self._jobs = jobs
        self._node = node
        self._writing: Counter[UUID] = Counter()
        self._bringing: set[Bringing] = set()
        self._received = 0
        self._settling: set[asyncio.Task[None]] = set()
        self.options = options

    async def start(self) -> None:
        """Whoever wrote in an earlier life of this process does not any more."""
        async with self._database.acquire() as conn:
            await store.release_all(conn, self._node)

    async def close(self) -> None:
        await asyncio.gather(*self._settling, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        return {"writing": self.writing, "received_bytes": self._received}

    def ended(self, ids: Collection[UUID]) -> None:
        """Of sessions, keys and accounts whose tokens mean something else now, or nothing: what they bring stops."""
        for bringing in self._bringing:
            bringing.end(ids)

    @property
    def writing(self) -> int:
        """Requests that bring bytes just now."""
        return self._writing.total()

    @property
    def received_bytes(self) -> int:
        return self._received

    # beginning

    async def create(self, caller: Caller, length: int | None, details: Details, metadata: str) -> Upload:
        """A whole file, and the row of its video. Raises UploadTooLarge, TooManyUploads, QuotaReached."""
        self._check_size(length)
        async with self._database.transaction() as conn:
            await self._check_room(conn, caller, length or 0, new=details.replaces is None)
            video_id = await self._begin(conn, caller.user_id, details, length or 0)
            upload = self._new(caller.user_id, Kind.WHOLE, length, metadata=metadata, video_id=video_id)
            await store.add(conn, upload)
        return upload

    async def create_part(self, caller: Caller, length: int | None, metadata: str) -> Upload:
        """A part of a file, to be joined with others. Raises what `create` does."""
        self._check_size(length)
        async with self._database.transaction() as conn:
            await self._check_room(conn, caller, length or 0)
            upload = self._new(caller.user_id, Kind.PARTIAL, length, metadata=metadata)
            await store.add(conn, upload)
        return upload

    async def join(self, caller: Caller, ids: Sequence[UUID], details: Details, metadata: str) -> Upload:
        """Parts become a file. Raises NoSuchUpload, NotComplete, UploadComplete, NotAVideo, and what `create` does."""
        async with self._database.transaction() as conn:
            await store.lock_owner(conn, caller.user_id)
            parts = await store.lock_all(conn, caller.user_id, ids)
            for id in ids:
                part = parts.get(id)
                if part is None or part.kind is not Kind.PARTIAL or part.gone:
                    raise NoSuchUpload()
                if part.state is not State.FULL:
                    raise NotComplete(f"{id} has {part.received} bytes of {part.length}.")
                if part.joined:
                    raise UploadComplete(f"{id} is in another upload already.")
            length = sum(part.received for part in parts.values())
            self._check_size(length)
            look(b"".join(parts[id].head for id in ids))
            await self._videos.check_quota(conn, caller.user_id, caller.tier, length, new=details.replaces is None)
            video_id = await self._begin(conn, caller.user_id, details, length)
            upload = self._new(
                caller.user_id, Kind.FINAL, length, metadata=metadata, video_id=video_id, pieces=list(ids)
            )
            upload = msgspec.structs.replace(upload, state=State.FULL, received=length)
            await store.add(conn, upload)
            await store.join(conn, ids)
            await self._finish_later(conn, upload.id)
        return upload

    # going on

    async def find(self, caller: Caller, id: UUID) -> Upload:
        """Raises NoSuchUpload, also for another's; UploadGone."""
        async with self._database.acquire() as conn:
            return _of(await store.get(conn, id), caller)

    async def append(
        self,
        caller: Caller,
        id: UUID,
        offset: int,
        blocks: AsyncIterator[bytes],
        *,
        coming: int | None,
        length: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """coming: bytes that the request announces; length: of the whole, told only now. The upload as it is then.

        Raises NoSuchUpload, UploadGone, UploadLocked, WrongOffset, UploadComplete, NotByPatch, and what Receiving does.
        """
        async with self._room(caller.user_id):
            writer = uuid7()
            async with self._database.transaction() as conn:
                upload = await self._claim(conn, caller, id, writer, offset, length, coming)
            try:
                await self._receive(caller, upload, writer, blocks, checksum)
            except NotAVideo as refusal:
                await self._refuse(upload, refusal)
                raise
            finally:
                await self._settled(self._release(id, writer))
        return await self.find(caller, id)

    async def terminate(self, caller: Caller, id: UUID) -> None:
        """Nothing of it stays. Raises NoSuchUpload, UploadGone, UploadComplete."""
        async with self._database.transaction() as conn:
            upload = _of(await store.lock(conn, id), caller)
            if upload.joined or (upload.kind is not Kind.PARTIAL and upload.state is not State.OPEN):
                raise UploadComplete(
                    f"It is a video already: DELETE /api/v1/videos/{upload.video_id} removes it."
                    if upload.video_id
                    else "It is a part of another upload."
                )
            await self._forget(conn, upload)
        await self._remove(upload.place)

    # forms

    async def begin_form(self, caller: Caller, key: str | None, sent_bytes: int | None, *, new: bool = True) -> Upload:
        """new: the file is not to replace another. Raises what `create` does."""
        async with self._database.transaction() as conn:
            await self._check_room(conn, caller, 0, new=new)
            upload = self._new(caller.user_id, Kind.FORM, None, key=key, sent_bytes=sent_bytes)
            await store.add(conn, upload)
        return upload

    async def earlier_form(self, caller: Caller, key: str) -> Upload | None:
        """What a request with the same key began."""
        async with self._database.acquire() as conn:
            return await store.by_key(conn, caller.user_id, key)

    async def receive_form(
        self, caller: Caller, upload: Upload, blocks: AsyncIterator[bytes], *, new: bool = True
    ) -> Upload:
        """Its bytes. When it raises, nothing of the upload stays."""
        writer = uuid7()
        async with self._database.transaction() as conn:
            if await store.lock(conn, upload.id) is None:
                raise NoSuchUpload()
            await store.claim(conn, upload.id, writer, self._node, self._lease)
            left = await self._videos.check_quota(conn, caller.user_id, caller.tier, new=new)
        await self._receive(caller, upload, writer, blocks, None, most=min(self.options.most_bytes, left.bytes))
        async with self._database.acquire() as conn:
            received = _of(await store.get(conn, upload.id), caller)
        if received.head:
            look(received.head)
        return received

    async def complete_form(self, caller: Caller, upload: Upload, details: Details) -> UUID:
        """All of it is here: its video. Raises NoSuchUpload, QuotaReached."""
        async with self._database.transaction() as conn:
            await store.lock_owner(conn, caller.user_id)
            if await store.lock(conn, upload.id) is None:
                raise NoSuchUpload()
            await self._videos.check_quota(
                conn, caller.user_id, caller.tier, upload.received, new=details.replaces is None
            )
            video_id = await self._begin(conn, caller.user_id, details, upload.received)
            await store.set_video(conn, upload.id, video_id, upload.received)
            await self._finish_later(conn, upload.id)
        return video_id

    async def drop_form(self, upload: Upload) -> None:
        """The connection broke, or what came is refused. Done also when who asks for it is cancelled."""
        await self._settled(self._drop(upload))

    async def _drop(self, upload: Upload) -> None:
        async with self._database.transaction() as conn:
            await store.delete(conn, [upload.id])
        await self._remove(upload.place)

    @asynccontextmanager
    async def form_room(self, caller: Caller) -> AsyncIterator[None]:
        """While a form's bytes come. Raises TooManyUploads, NoRoom."""
        async with self._room(caller.user_id):
            yield

    # the inside

    async def _settled(self, work: Coroutine[Any, Any, None]) -> None:
        """Done to its end, whatever becomes of the request: a connection that is lost cancels its handler."""
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.options.lease)

    def _expiry(self) -> datetime:
        return now() + timedelta(hours=self.options.hours)

    def _new(
        self,
        owner_id: UUID,
        kind: Kind,
        length: int | None,
        *,
        metadata: str = "",
        video_id: UUID | None = None,
        pieces: list[UUID] | None = None,
        key: str | None = None,
        sent_bytes: int | None = None,
    ) -> Upload:
        id = uuid7()
        return Upload(
            id=id,
            owner_id=owner_id,
            video_id=video_id,
            kind=kind,
            state=State.OPEN,
            # beside the video's other objects, so that who deletes it finds these too
            place=f"videos/{video_id}/upload" if video_id else f"{PREFIX}/{id}",
            length=length,
            received=0,
            head=b"",
            metadata=metadata,
            pieces=pieces or [],
            joined=False,
            idempotency_key=key,
            sent_bytes=sent_bytes,
            expires_at=self._expiry(),
        )

    def _check_size(self, length: int | None) -> None:
        most = self.options.most_bytes
        if length is not None and length > most:
            raise UploadTooLarge(f"A file may have {most} bytes.", limit=most)

    async def _check_room(self, conn: Connection, caller: Caller, size: int, *, new: bool = True) -> None:
        await store.lock_owner(conn, caller.user_id)
        unfinished, held = await store.held(conn, caller.user_id)
        if unfinished >= self.options.open_per_account:
            raise TooManyUploads(f"You have {unfinished} uploads that are not complete: go on with one, or end it.")
        await self._videos.check_quota(conn, caller.user_id, caller.tier, held + size, new=new)

    async def _begin(self, conn: Connection, owner_id: UUID, details: Details, size: int) -> UUID:
        if details.replaces is not None:
            id = await self._videos.begin_replacing(conn, owner_id, details.replaces)
        else:
            id = await self._videos.begin(
                conn,
                owner_id,
                title=details.title,
                description=details.description,
                visibility=details.visibility,
            )
        if size:
            await self._videos.expected(conn, id, size)
        return id

    async def _finish_later(self, conn: Connection, id: UUID) -> None:
        await self._jobs.enqueue(conn, FINISH_JOB, str(id).encode(), dedupe=f"{FINISH_JOB}:{id}")

    @asynccontextmanager
    async def _room(self, owner_id: UUID) -> AsyncIterator[None]:
        """A place among those that bring bytes to this process."""
        if self.writing >= self.options.writing:
            raise NoRoom()
        if self._writing[owner_id] >= self.options.writing_per_account:
            raise TooManyUploads(f"You bring {self._writing[owner_id]} uploads at once; wait until one has ended.")
        self._writing[owner_id] += 1
        try:
            yield
        finally:
            self._writing[owner_id] -= 1
            if not self._writing[owner_id]:
                del self._writing[owner_id]

    async def _claim(
        self,
        conn: Connection,
        caller: Caller,
        id: UUID,
        writer: UUID,
        offset: int,
        length: int | None,
        coming: int | None,
    ) -> Upload:
        upload = _of(await store.lock(conn, id), caller)
        if upload.kind is Kind.FINAL:
            raise NotByPatch("It is made of its parts.")
        if upload.kind is Kind.FORM:
            raise NoSuchUpload()
        if not await store.claim(conn, id, writer, self._node, self._lease):
            raise UploadLocked()
        if offset != upload.received:
            raise WrongOffset(f"The upload is at {upload.received}, not {offset}.", offset=upload.received)
        if upload.state is not State.OPEN:
            raise UploadComplete(f"All {upload.received} bytes are here.")
        if length is not None and upload.length is None:
            if length < upload.received:
                raise UploadTooLarge(f"{upload.received} bytes are here already.", limit=upload.received)
            self._check_size(length)
            await store.lock_owner(conn, upload.owner_id)
            _, held = await store.held(conn, upload.owner_id)
            await self._videos.check_quota(conn, caller.user_id, caller.tier, held + length)
            await store.set_length(conn, id, length)
            if upload.video_id is not None:
                await self._videos.expected(conn, upload.video_id, length)
            upload = msgspec.structs.replace(upload, length=length)
        elif length is not None and length != upload.length:
            raise WrongOffset(f"The upload's length is {upload.length}, not {length}.", offset=upload.received)
        most = self.options.most_bytes
        if upload.length is None:
            most = min(most, upload.received + (await self._videos.quota(conn, caller.user_id, caller.tier)).bytes)
        else:
            most = upload.length
        if coming is not None and upload.received + coming > most:
            raise UploadTooLarge(f"The upload may have {most} bytes, and {upload.received} are here.", limit=most)
        return upload

    async def _receive(
        self,
        caller: Caller,
        upload: Upload,
        writer: UUID,
        blocks: AsyncIterator[bytes],
        checksum: Checksum | None,
        *,
        most: int | None = None,
    ) -> None:
        try:
            appender = await self._parts.open(upload.place, upload.received)
        except Lost as lost:
            async with self._database.transaction() as conn:
                await store.rewind(conn, upload.id, lost.offset, upload.head[: lost.offset])
            problem = WrongOffset(f"The store has lost what came after {lost.offset}.", offset=lost.offset)
            raise problem from None
        kept = upload.received

        async def record(offset: int, head: bytes, ends: bool) -> None:
            nonlocal kept
            await self._record(upload, writer, offset, head, ends)
            self._received += offset - kept
            kept = offset

        bringing = Bringing(caller)
        self._bringing.add(bringing)
        try:
            await Receiving(
                appender,
                record,
                offset=upload.received,
                head=upload.head,
                most=upload.length or most or self.options.most_bytes,
                end=upload.length,
                judges=upload.kind is not Kind.PARTIAL,
                checkpoint=self.options.checkpoint,
                checksum=checksum,
            ).run(bringing.blocks(blocks))
        finally:
            self._bringing.discard(bringing)
            await appender.close()

    async def _record(self, upload: Upload, writer: UUID, offset: int, head: bytes, ends: bool) -> None:
        # a form is its request's until it is a video
        lease = None if ends and upload.kind is not Kind.FORM else self._lease
        async with self._database.transaction() as conn:
            if await store.record(conn, upload.id, writer, offset, head, lease, self._expiry()):
                if offset == upload.length:
                    await store.set_state(conn, upload.id, State.FULL)
                    if upload.kind is Kind.WHOLE:
                        await self._finish_later(conn, upload.id)
                if upload.video_id is not None and upload.length:
                    await self._videos.arriving(conn, upload.video_id, offset / upload.length)
                return
            found = await store.get(conn, upload.id)
        if found is not None and not found.gone:
            raise UploadLocked()  # it took so long that another connection has it
        await self._remove(upload.place)
        raise UploadGone("The upload was ended meanwhile.")

    async def _release(self, id: UUID, writer: UUID) -> None:
        async with self._database.acquire() as conn:
            await store.release(conn, id, writer)

    async def _refuse(self, upload: Upload, refusal: NotAVideo) -> None:
        async with self._database.transaction() as conn:
            if upload.video_id is not None:
                await self._videos.upload_failed(conn, upload.video_id, Failure(refusal.code, refusal.detail))
            await store.delete(conn, [upload.id])
        await self._remove(upload.place)

    async def _forget(self, conn: Connection, upload: Upload) -> None:
        """The row, and the video that it was to be."""
        await store.delete(conn, [upload.id])
        if upload.video_id is not None:
            await self._videos.abandon(conn, upload.video_id)

    async def _remove(self, place: str) -> None:
        """What cannot be removed now, a job finds."""
        try:
            await self._parts.abort(place)
        except StoreError as error:
            _log.warning("%s stays for now: %s", place, error)


def _of(upload: Upload | None, caller: Caller) -> Upload:
    if upload is None or upload.owner_id != caller.user_id:
        raise NoSuchUpload()
    if upload.gone:
        raise UploadGone("Its time is over, or its video was deleted: begin a new one.")
    return upload
