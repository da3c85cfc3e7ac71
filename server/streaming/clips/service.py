"""What people do with clips and trims: make, look, delete, say who may. Decides; a job does the work (`work.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from media.vod.runs import Journal, look
from server.kit.auth import Caller
from server.kit.http import Page, PageQuery, decode_cursor
from server.kit.http.ifmatch import IfMatch
from server.kit.limits import Rate
from server.kit.ownership import may
from server.streaming.addresses import Address
from server.streaming.broadcasts.live import prefix
from server.streaming.clips import store
from server.streaming.clips.bounds import within
from server.streaming.clips.errors import (
    BadStretch,
    ClipsNotAllowed,
    NoSuchClip,
    NothingToClip,
    NotYourClip,
    TooManyClips,
)
from server.streaming.clips.models import (
    Clip,
    ClipBody,
    ClipView,
    KeptBody,
    Options,
    RangeView,
    RuleView,
    TrimBody,
    VideoClipBody,
    Who,
)
from server.streaming.videos.models import (
    OPEN,
    Cut,
    DeletedView,
    SourceKind,
    UploadedView,
    Video,
    VideoCard,
    Visibility,
)
from server.streaming.videos.opening import missing, owned
from server.streaming.videos.sets import Sets
from storage.postgres import Connection, Database

LEAST = 0.1
"""Seconds of the shortest clip, and of what a trim keeps in one piece."""
EARLY = 15.0
"""So far behind what is recorded the end of a clip of what is on air may lie, s: it is waited for."""
PERMISSION = "content.remove"


class Subject(Protocol):
    """What is to be cut, as who may watch it sees it."""

    @property
    def id(self) -> UUID: ...
    @property
    def owner_id(self) -> UUID: ...
    @property
    def visibility(self) -> str: ...
    @property
    def published(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def recorded(self) -> bool: ...
    @property
    def duration(self) -> float: ...
    @property
    def protection(self) -> object | None: ...


class Door(Protocol):
    async def enter(self, id: UUID, viewer: Caller | None) -> Subject:
        """Raises the Problem to answer with."""
        ...

    async def changed(self, id: UUID) -> None: ...


class Journals(Protocol):
    async def journal(self, prefix: str, /) -> tuple[bytes, bool]: ...


class Follows(Protocol):
    async def follows(self, follower_id: UUID, followee_id: UUID, /) -> datetime | None: ...


class Verdict(Protocol):
    @property
    def allowed(self) -> bool: ...
    @property
    def retry_after(self) -> float: ...


class Limits(Protocol):
    async def take(self, key: str, rate: Rate, /) -> Verdict: ...


class Videos(Protocol):
    async def check_quota(self, conn: Connection, owner_id: UUID, tier: str, /) -> object: ...
    async def remove(self, conn: Connection, id: UUID, /) -> int: ...


class Desk(Protocol):
    async def uploaded(self, id: UUID, caller: Caller, address: Address, /) -> UploadedView: ...
    async def cards(
        self, ids: Collection[UUID], caller: Caller | None, address: Address, /
    ) -> Mapping[UUID, VideoCard]: ...


class Clips:
    """doors: who may watch sources of each kind."""

    def __init__(
        self,
        database: Database,
        sets: Sets,
        videos: Videos,
        desk: Desk,
        doors: Mapping[SourceKind, Door],
        journals: Journals,
        follows: Follows,
        limits: Limits,
        options: Options,
    ) -> None:
        self._database = database
        self._sets = sets
        self._videos = videos
        self._desk = desk
        self._doors = doors
        self._journals = journals
        self._follows = follows
        self._limits = limits
        self._options = options
        self._rate = Rate(options.per_hour, 3600.0)

    # making

    async def of_broadcast(self, id: UUID, caller: Caller, body: ClipBody, address: Address) -> UploadedView:
        wanted = body.stretch()
        subject = await self._doors[SourceKind.BROADCAST].enter(id, caller)
        await self._check(subject, SourceKind.BROADCAST, caller)
        there = await self._there(subject)
        assert there.first is not None
        assert there.last is not None
        if wanted is None:
            assert body.last is not None
            start, end = max(there.last - body.last, there.session_first), there.last
        else:
            start, end = wanted
            if start < there.first or end > there.last + (0.0 if subject.ended else EARLY):
                if not (subject.ended and start < there.last < end < there.last + 1):
                    raise BadStretch(f"There is something to cut from {there.first:.2f} to {there.last:.2f} s.")
                end = there.last
        return await self._make(subject, SourceKind.BROADCAST, caller, start, end, body, address)

    async def of_video(self, id: UUID, caller: Caller, body: VideoClipBody, address: Address) -> UploadedView:
        subject = await self._doors[SourceKind.VIDEO].enter(id, caller)
        await self._check(subject, SourceKind.VIDEO, caller)
        if not subject.ready or not subject.duration:
            raise NothingToClip("It cannot be played yet: try again when it can.")
        end = min(body.to, subject.duration)
        return await self._make(subject, SourceKind.VIDEO, caller, body.from_, end, body, address)

    async def trim(self, id: UUID, caller: Caller, body: TrimBody, address: Address, seen: IfMatch) -> UploadedView:
        """The draft. Raises what `Sets.begin_trim` does."""
        async with self._database.transaction() as conn:
            video = owned(await self._sets.lock(conn, id), caller)
            seen.check(video.version)
            cut = Cut(SourceKind.VIDEO, id, _kept(body.keep, video))
            draft = await self._sets.begin_trim(conn, video, cut)
        return await self._desk.uploaded(draft, caller, address)

    async def _make(
        self,
        subject: Subject,
        kind: SourceKind,
        caller: Caller,
        start: float,
        end: float,
        body: ClipBody | VideoClipBody,
        address: Address,
    ) -> UploadedView:
        if end - start < LEAST:
            raise BadStretch(f"A clip lasts {LEAST:g} s at least, within what there is.")
        if end - start > self._options.longest + LEAST:
            raise BadStretch(f"A clip lasts {self._options.longest:g} s at most; this one would {end - start:.1f} s.")
        widest = Visibility(subject.visibility)
        visibility = body.visibility or widest
        within(widest, visibility, own=subject.owner_id == caller.user_id)
        verdict = await self._limits.take(f"clips:{caller.user_id.hex}", self._rate)
        if not verdict.allowed:
            raise TooManyClips(f"You may make {self._options.per_hour} clips an hour.", verdict.retry_after)
        async with self._database.transaction() as conn:
            await self._videos.check_quota(conn, caller.user_id, caller.tier)
            id = await self._sets.begin(
                conn,
                caller.user_id,
                Cut(kind, subject.id, [(start, end)]),
                title=body.title.strip() or "Clip",
                description=body.description,
                visibility=visibility,
            )
            await store.add(
                conn,
                id,
                caller.user_id,
                kind=kind,
                source_id=subject.id,
                source_owner_id=subject.owner_id,
                widest=widest,
                start=start,
                end=end,
            )
        return await self._desk.uploaded(id, caller, address)

    async def _check(self, subject: Subject, kind: SourceKind, caller: Caller) -> None:
        """Raises ClipsNotAllowed."""
        if caller.user_id == subject.owner_id:
            return
        if subject.visibility not in OPEN:
            raise ClipsNotAllowed("Not everybody may watch this: only its owner may make clips of it.")
        if subject.protection is not None:  # a clip is a set of its own, and would be a plain copy
            raise ClipsNotAllowed("This is encrypted: only its owner may make clips of it.")
        async with self._database.acquire() as conn:
            holds = await self._holds(conn, subject.owner_id, kind, subject.id)
        if holds is Who.OWNER:
            raise ClipsNotAllowed("Its owner wants no clips of this by others.")
        if holds is Who.FOLLOWERS and await self._follows.follows(caller.user_id, subject.owner_id) is None:
            raise ClipsNotAllowed("Its owner lets followers make clips of this: follow them first.")

    async def _there(self, subject: Subject) -> Journal:
        """Raises NothingToClip."""
        if subject.ended and not subject.recorded:
            raise NothingToClip("It is over, and nothing of it is kept.")
        lines, _ = await self._journals.journal(prefix(subject.id))
        found = await asyncio.to_thread(look, lines)
        if found.first is None:
            raise NothingToClip("Nothing has been shown yet.")
        return found

    # looking

    async def range_of(self, kind: SourceKind, id: UUID, caller: Caller | None) -> RangeView:
        subject = await self._doors[kind].enter(id, caller)
        try:
            allowed = caller is not None
            if caller is not None:
                await self._check(subject, kind, caller)
        except ClipsNotAllowed:
            allowed = False
        longest = self._options.longest
        if kind is SourceKind.VIDEO:
            return RangeView(None, 0.0, round(subject.duration, 3), False, longest, allowed and subject.ready)
        there = await self._there(subject)
        origin = datetime.fromtimestamp(there.origin, UTC)
        return RangeView(origin, there.first or 0.0, there.last or 0.0, not subject.ended, longest, allowed)

    async def of_source(
        self, kind: SourceKind, id: UUID, caller: Caller | None, query: PageQuery, address: Address
    ) -> Page[ClipView]:
        await self._doors[kind].enter(id, caller)
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.of_source(conn, id, query.limit + 1, before)
        return await self._page(rows, query, caller, address)

    async def mine(self, caller: Caller, query: PageQuery, address: Address) -> Page[ClipView]:
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.of_maker(conn, caller.user_id, query.limit + 1, before)
        return await self._page(rows, query, caller, address)

    async def _page(
        self, rows: Sequence[Clip], query: PageQuery, caller: Caller | None, address: Address
    ) -> Page[ClipView]:
        """Clips that not everybody may watch are left out for others."""
        cards = await self._desk.cards([row.video_id for row in rows], caller, address)
        shown = Page.cut(rows, query.limit, lambda row: (row.video_id,), lambda row: row)
        return Page(
            items=[
                ClipView(cards[row.video_id], row.kind, row.source_id, row.start, row.end)
                for row in shown.items
                if row.video_id in cards
            ],
            next_cursor=shown.next_cursor,
        )

    async def delete(self, id: UUID, caller: Caller) -> DeletedView:
        """By its maker, the owner of what it is of, or a moderator."""
        async with self._database.transaction() as conn:
            video = await self._sets.lock(conn, id)
            clip = await store.get(conn, id)
            if video is None or clip is None:
                raise NoSuchClip("It was deleted, or the address is wrong.")
            if not may(caller, clip.maker_id, PERMISSION) and caller.user_id != clip.source_owner_id:
                if video.published_at is not None and video.visibility == Visibility.PUBLIC:
                    raise NotYourClip("Only its maker and the owner of what it is of can do that.")
                raise NoSuchClip("It was deleted, or the address is wrong.")
            freed = await self._videos.remove(conn, id)
        await self._doors[SourceKind.VIDEO].changed(id)
        return DeletedView(id=id, freed_bytes=freed)

    # who may

    async def rule(self, kind: SourceKind | None, id: UUID | None, caller: Caller) -> RuleView:
        """kind: None: of all that the caller has."""
        owner = await self._owner(kind, id, caller)
        async with self._database.acquire() as conn:
            return RuleView(await store.rule(conn, owner, kind, id), await self._holds(conn, owner, kind, id))

    async def set_rule(self, kind: SourceKind | None, id: UUID | None, caller: Caller, who: Who | None) -> RuleView:
        owner = await self._owner(kind, id, caller)
        async with self._database.transaction() as conn:
            await store.set_rule(conn, owner, kind, id, who)
            return RuleView(who, await self._holds(conn, owner, kind, id))

    async def _owner(self, kind: SourceKind | None, id: UUID | None, caller: Caller) -> UUID:
        if kind is None or id is None:
            return caller.user_id
        subject = await self._doors[kind].enter(id, caller)
        if subject.owner_id != caller.user_id:
            raise ClipsNotAllowed("Only its owner says who may make clips of it.")
        return subject.owner_id

    async def _holds(self, conn: Connection, owner_id: UUID, kind: SourceKind | None, id: UUID | None) -> Who:
        own = await store.rule(conn, owner_id, kind, id) if kind is not None else None
        return own or await store.rule(conn, owner_id, None, None) or Who.EVERYBODY


def _kept(keep: Sequence[KeptBody], video: Video) -> list[tuple[float, float]]:
    """Raises BadStretch."""
    if video.packaged == 0:
        raise missing()
    found = [(one.from_, min(one.to, video.duration)) for one in keep]
    before = 0.0
    for start, end in found:
        if end - start < LEAST:
            raise BadStretch(f"What is kept lasts {LEAST:g} s at least, and lies within the video.")
        if start < before:
            raise BadStretch("What is kept is in the order of time, and nothing of it twice.")
        before = end
    if len(found) == 1 and found[0][0] <= 0 and found[0][1] >= video.duration:
        raise BadStretch("This keeps all of it: there is nothing to trim.")
    return found
