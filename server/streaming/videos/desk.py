"""What people do with videos: look, find, edit, like, retry, delete. Decides who may; owns nothing between calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import msgspec

from media.package.protect import LICENSE, unprotectable
from media.vod.packaging import MANIFEST, MULTIVARIANT
from server.kit.auth import Caller
from server.kit.clock import now
from server.kit.http import Call, Page, PageQuery, decode_cursor
from server.kit.http.ifmatch import IfMatch
from server.kit.ownership import may
from server.kit.problems import Invalid
from server.streaming.addresses import Address
from server.streaming.protection.errors import CannotProtect, NotProtected
from server.streaming.protection.models import Protection, Scheme
from server.streaming.videos import captions_store, chapters, store, work_store
from server.streaming.videos.errors import (
    AlreadyPublished,
    NoSuchThumbnail,
    NotFailed,
    NotReady,
    SourceGone,
)
from server.streaming.videos.jobs import (
    enqueue_assembly,
    enqueue_cut,
    enqueue_pieces,
    enqueue_probe,
    enqueue_recording,
)
from server.streaming.videos.models import (
    PLAYABLE,
    CaptionsView,
    ClipOf,
    DeletedView,
    LikeView,
    ReplacementView,
    SearchQuery,
    ThumbnailView,
    UploadedView,
    Video,
    VideoCard,
    VideoEdit,
    VideoEvent,
    VideoOwner,
    VideoPlayback,
    VideoState,
    VideoView,
    ViewBody,
    ViewView,
    Visibility,
    Watchable,
    folder_of,
    source_key,
)
from server.streaming.videos.opening import Door, Views, missing, owned
from server.streaming.videos.replacing import check_replaceable, deletable, forget
from server.streaming.videos.words import as_tsquery
from storage.jobs import Jobs
from storage.objects import ObjectStore
from storage.postgres import Connection, Database, after_commit

PLACEHOLDER = "/assets/placeholder.svg"
EVENTS_SHOWN = 50
FURTHEST = timedelta(days=366)
"""How far ahead a video may be scheduled."""


class Named(Protocol):
    @property
    def username(self) -> str: ...


class People(Protocol):
    async def people(self, ids: Collection[UUID], /) -> Mapping[UUID, Any]: ...


class Keys(Protocol):
    def make(self, video_id: UUID, scheme: Scheme, /) -> Protection | None:
        """With a new key; None of no scheme."""
        ...


class Bounds(Protocol):
    """Of videos that are cut of others: who may see those may be fewer."""

    async def check(self, conn: Connection, id: UUID, visibility: Visibility, /) -> None:
        """Raises the Problem to answer with when so many may not see it."""
        ...


class Desk:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        jobs: Jobs,
        people: People,
        door: Door,
        views: Views,
        keys: Keys,
        bounds: Bounds,
    ) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._people = people
        self._door = door
        self._views = views
        self._keys = keys
        self._bounds = bounds

    # looking

    async def show(self, id: UUID, caller: Caller | None, address: Address) -> VideoView:
        """Raises NoSuchVideo, also for what is not for the caller, or what `Visibility` says."""
        video = await self._seen(id, caller)
        async with self._database.acquire() as conn:
            return await self._view(conn, video, caller, address)

    async def uploaded(self, id: UUID, caller: Caller, address: Address) -> UploadedView:
        """What an upload answers."""
        async with self._database.acquire() as conn:
            video = owned(await store.get(conn, id), caller)
        return UploadedView(
            id=id,
            state=video.state,
            progress=round(video.progress, 4),
            playback=self._playback(video, caller, address),
            error=video.error,
        )

    async def cards(self, ids: Collection[UUID], caller: Caller | None, address: Address) -> dict[UUID, VideoCard]:
        """Those of them that are public, or the caller's."""
        async with self._database.acquire() as conn:
            videos = await store.among(conn, ids)
        shown = [video for video in videos if may(caller, video.owner_id) or _public(video)]
        return await self._cards(shown, caller, address)

    async def mine(self, caller: Caller, query: PageQuery, address: Address) -> Page[VideoCard]:
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.of_owner(conn, caller.user_id, query.limit + 1, before)
        cards = await self._cards(rows, caller, address)
        return Page.cut(rows, query.limit, lambda row: (row.id,), lambda row: cards[row.id])

    async def feed(self, caller: Caller | None, query: PageQuery, address: Address) -> Page[VideoCard]:
        before = decode_cursor(query.cursor, datetime, UUID) if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.feed(conn, query.limit + 1, before)
        cards = await self._cards(rows, caller, address)
        return Page.cut(rows, query.limit, lambda row: (row.published_at, row.id), lambda row: cards[row.id])

    async def search(self, caller: Caller | None, query: SearchQuery, address: Address) -> Page[VideoCard]:
        """What has no word in it finds nothing."""
        words = as_tsquery(query.q)
        if not words:
            return Page(items=[])
        before = decode_cursor(query.cursor, float, UUID) if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.search(conn, words, query.limit + 1, before)
        cards = await self._cards([video for _, video in rows], caller, address)
        return Page.cut(rows, query.limit, lambda row: (row[0], row[1].id), lambda row: cards[row[1].id])

    # the owner

    async def edit(self, id: UUID, caller: Caller, body: VideoEdit, address: Address, seen: IfMatch) -> VideoView:
        if body.protection is Scheme.CLEARKEY:
            await self._check_codecs(id, caller)
        async with self._database.transaction() as conn:
            video = owned(await store.lock(conn, id), caller)
            seen.check(video.version)
            if video.replaces is not None:
                raise NotReady("It is a file on its way: edit the video whose place it is to take.")
            if body.visibility is not msgspec.UNSET and body.visibility != video.visibility:
                await self._bounds.check(conn, id, body.visibility)
            publish_at, published_at = _schedule(video, body)
            if body.thumbnail is not msgspec.UNSET and body.thumbnail not in _choices(video):
                raise NoSuchThumbnail("Choose a name of `thumbnails`, or upload a picture of your own.")
            by_hand = video.chapters if body.chapters is msgspec.UNSET else body.chapters
            if body.chapters:
                chapters.check(body.chapters, video.duration)
            await store.edit(
                conn,
                id,
                title=video.title if body.title is msgspec.UNSET else body.title.strip() or "Untitled",
                description=video.description if body.description is msgspec.UNSET else body.description,
                visibility=video.visibility if body.visibility is msgspec.UNSET else body.visibility,
                publish_at=publish_at,
                published_at=published_at,
                thumbnail=video.thumbnail if body.thumbnail is msgspec.UNSET else body.thumbnail,
                chapters=by_hand,
            )
            if body.protection not in (msgspec.UNSET, video.protection):
                await store.protect(conn, id, self._keys.make(id, body.protection))
            if video.published_at is None and published_at is not None:
                await store.add_event(conn, id, "published", "by its owner")
        await self._door.changed(id)
        return await self.show(id, caller, address)

    async def new_key(self, id: UUID, caller: Caller, address: Address, seen: IfMatch) -> VideoView:
        """Raises NotProtected."""
        async with self._database.transaction() as conn:
            video = owned(await store.lock(conn, id), caller)
            seen.check(video.version)
            if video.protection is Scheme.NONE:
                raise NotProtected("Set `protection` first: that makes a key.")
            await store.protect(conn, id, self._keys.make(id, video.protection))
            after_commit(lambda: self._door.doubt(id))  # the route is audited, and commits after us
        return await self.show(id, caller, address)

    async def _check_codecs(self, id: UUID, caller: Caller) -> None:
        """Raises CannotProtect where Clear Key cannot be had; of a video that is not prepared yet nobody knows."""
        async with self._database.acquire() as conn:
            owned(await store.get(conn, id), caller)
        playlist = await self._objects.get(f"{folder_of(id)}/{MULTIVARIANT}")
        if playlist is not None and (codecs := unprotectable(playlist.decode())):
            raise CannotProtect(f"Clear Key is not offered for {', '.join(codecs)}. Choose aes-128, for HLS.")

    async def may_replace(self, id: UUID, caller: Caller) -> None:
        """Asked before a file is taken. Raises NoSuchVideo, NotYourVideo, NotReady, AlreadyReplacing."""
        async with self._database.acquire() as conn:
            check_replaceable(owned(await store.get(conn, id), caller), await store.replacement_of(conn, id))

    async def delete(self, id: UUID, caller: Caller, seen: IfMatch) -> DeletedView:
        """The row goes now, and with it the right to every object; the objects go by a job of the same transaction."""
        async with self._database.transaction() as conn:
            video = owned(await store.lock(conn, id), caller)
            seen.check(video.version)
            deletable(video)
            draft = await store.replacement_of(conn, id)
            await forget(conn, self._jobs, id)
        await self._door.changed(id)
        gone = [video, draft] if draft is not None else [video]
        return DeletedView(id=id, freed_bytes=sum(one.source_bytes + one.stored_bytes for one in gone))

    async def retry(self, id: UUID, caller: Caller, address: Address) -> UploadedView:
        """What was done before it failed is not done again. Raises NotFailed, SourceGone."""
        async with self._database.acquire() as conn:
            video = _failed(owned(await store.get(conn, id), caller))
            made_of_others = video.broadcast_id is not None or video.kept or await work_store.cut(conn, id) is not None
        if not made_of_others and await self._objects.size(source_key(id)) is None:
            raise SourceGone("Delete this video and upload the file again.")
        async with self._database.transaction() as conn:
            video = _failed(owned(await store.lock(conn, id), caller))
            run = await work_store.begin(conn, id)
            pieces = await work_store.pieces(conn, id)
            if await work_store.cut(conn, id) is not None:  # whose job knows how far it came
                await enqueue_cut(self._jobs, conn, id, run)
            elif any(piece.result is None for piece in pieces):
                await enqueue_pieces(self._jobs, conn, id, run, pieces)
            elif video.kept or (pieces and video.replaces is not None):
                await enqueue_assembly(self._jobs, conn, id, run)
            elif video.broadcast_id is not None:
                await enqueue_recording(self._jobs, conn, id, run)
            else:  # it did not come that far, or what was made of it is of no use
                await enqueue_probe(self._jobs, conn, id, run)
            await store.add_event(conn, id, "retried", "")
        return await self.uploaded(id, caller, address)

    # everybody

    async def like(self, id: UUID, caller: Caller, *, liked: bool) -> LikeView:
        """Twice is once."""
        await self._seen(id, caller)
        async with self._database.transaction() as conn:
            change = store.like if liked else store.unlike
            likes = await change(conn, id, caller.user_id)
        if likes is None:
            raise missing()
        return LikeView(likes=likes, liked=liked)

    async def viewed(self, id: UUID, call: Call, body: ViewBody) -> ViewView:
        video = await self._seen(id, call.caller)
        await self._views.viewed(_watchable(video), call, body)
        async with self._database.acquire() as conn:
            return ViewView(views=await store.views(conn, id))

    # what is shown

    async def _seen(self, id: UUID, caller: Caller | None) -> Video:
        async with self._database.acquire() as conn:
            video = await store.get(conn, id)
        if video is not None and may(caller, video.owner_id):
            return video
        if video is None or video.suspended or video.published_at is None:
            raise missing()
        await self._door.may_watch(_watchable(video), caller)
        return video

    async def _view(self, conn: Connection, video: Video, caller: Caller | None, address: Address) -> VideoView:
        id = video.id
        mine = may(caller, video.owner_id)
        base = self._base(video, caller, address)
        captions = [
            CaptionsView(language, label, cues, f"{base}/text-{language}.vtt")
            for language, label, cues in await captions_store.listed(conn, id)
        ]
        events = await store.events(conn, id, EVENTS_SHOWN) if mine else None
        facts = await store.facts(conn, id) if mine else None
        draft = await store.replacement_of(conn, id) if mine else None
        cut = await work_store.cut(conn, id)
        owners = await self._people.people([video.owner_id])
        return VideoView(
            id=id,
            version=video.version,
            title=video.title,
            description=video.description,
            visibility=video.visibility,
            state=video.state,
            progress=round(video.progress, 4),
            error=video.error if mine else None,
            created_at=video.created_at,
            publish_at=video.publish_at if mine else None,
            published_at=video.published_at,
            duration=round(video.duration, 3),
            renditions=video.renditions,
            playback=self._playback(video, caller, address),
            protection=video.protection,
            thumbnail=_thumbnail(video, base, address),
            preview=_in(base, video.pictures.preview),
            storyboard=_in(base, video.pictures.storyboard),
            captions=captions,
            chapters=video.chapters
            if video.chapters is not None
            else chapters.of_description(video.description, video.duration),
            views=video.views,
            likes=video.likes,
            liked=await store.liked(conn, id, caller.user_id) if caller is not None else None,
            owner=VideoOwner(video.owner_id, owners[video.owner_id].username),
            broadcast_id=video.broadcast_id,
            clip_of=ClipOf(cut.kind, cut.id, cut.keep[0][0], cut.keep[-1][1])
            if cut is not None and video.replaces is None
            else None,
            channel=f"video:{id}" if mine else None,
            replacement=ReplacementView(
                id=draft.id, state=draft.state, progress=round(draft.progress, 4), error=draft.error
            )
            if draft is not None
            else None,
            facts=msgspec.json.decode(facts) if facts is not None else None,
            thumbnails=[ThumbnailView(name, f"{base}/{name}") for name in _choices(video)] if mine else None,
            source_bytes=video.source_bytes if mine else None,
            stored_bytes=video.stored_bytes if mine else None,
            events=[VideoEvent(row["at"], row["kind"], row["detail"]) for row in events]
            if events is not None
            else None,
        )

    async def _cards(self, videos: Collection[Video], caller: Caller | None, address: Address) -> dict[UUID, VideoCard]:
        owners = await self._people.people({video.owner_id for video in videos})
        return {video.id: self._card(video, owners[video.owner_id], caller, address) for video in videos}

    def _card(self, video: Video, owner: Named, caller: Caller | None, address: Address) -> VideoCard:
        base = self._base(video, caller, address)
        mine = may(caller, video.owner_id)
        return VideoCard(
            id=video.id,
            title=video.title,
            visibility=video.visibility,
            state=video.state,
            progress=round(video.progress, 4),
            error=video.error if mine else None,
            duration=round(video.duration, 3),
            thumbnail=_thumbnail(video, base, address),
            preview=_in(base, video.pictures.preview),
            views=video.views,
            likes=video.likes,
            owner=VideoOwner(video.owner_id, owner.username),
            created_at=video.created_at,
            published_at=video.published_at,
            publish_at=video.publish_at if mine else None,
        )

    def _base(self, video: Video, caller: Caller | None, address: Address) -> str:
        """Where its objects can be fetched from."""
        return _place(video, address, self._door.grant(_watchable(video), caller))

    def _playback(self, video: Video, caller: Caller | None, address: Address) -> VideoPlayback | None:
        if not video.renditions and video.state is not VideoState.READY:
            return None
        grant = self._door.grant(_watchable(video), caller)
        base = _place(video, address, grant)
        return VideoPlayback(
            renew_in=self._door.renew_in(grant),
            hls=f"{base}/{MULTIVARIANT}",
            dash=f"{base}/{MANIFEST}" if video.protection is not Scheme.AES_128 else None,
            license=f"{base}/{LICENSE}" if video.protection is Scheme.CLEARKEY else None,
        )


def _place(video: Video, address: Address, grant: str) -> str:
    return f"{address.http}/videos/{video.id}/{grant}"


def _public(video: Video) -> bool:
    return video.published_at is not None and video.visibility == Visibility.PUBLIC and not video.suspended


def _failed(video: Video) -> Video:
    if video.state is not VideoState.FAILED:
        raise NotFailed(f"It is {video.state}: there is nothing to try again.")
    return video


def _watchable(video: Video) -> Watchable:
    return Watchable(
        id=video.id,
        owner_id=video.owner_id,
        visibility=video.visibility,
        state=video.state,
        published=video.published_at is not None,
        duration=video.duration,
        folder=video.folder,
    )


def _schedule(video: Video, body: VideoEdit) -> tuple[datetime | None, datetime | None]:
    """When it is to be published, and since when it is. Raises Invalid, AlreadyPublished."""
    if body.publish_at is msgspec.UNSET:
        return video.publish_at, video.published_at
    at, present = _in_utc(body.publish_at), now()
    if at is not None and at > present:
        if at > present + FURTHEST:
            raise _too_far()
        if video.published_at is not None:
            raise AlreadyPublished("Make it private to take it back, or leave publish_at out.")
        return at, None
    playable = video.state in PLAYABLE
    return None, video.published_at or (present if playable else None)


def _in_utc(at: datetime | None) -> datetime | None:
    try:
        return None if at is None else at.astimezone(UTC)
    except OverflowError:  # 9999-12-31T23:59:59-23:59 leads out of the calendar
        raise _too_far() from None


def _too_far() -> Invalid:
    return Invalid.at("$.publish_at", f"may be {FURTHEST.days} days from now at most")


def _choices(video: Video) -> list[str]:
    pictures = video.pictures
    return [*pictures.thumbnails, *([pictures.own] if pictures.own else [])]


def _thumbnail(video: Video, base: str, address: Address) -> str:
    name = video.thumbnail or next(iter(video.pictures.thumbnails), "")
    return _in(base, name) or address.http + PLACEHOLDER


def _in(base: str, name: str) -> str | None:
    return f"{base}/{name}" if name else None
