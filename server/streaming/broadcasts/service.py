"""What people do with broadcasts: prepare, look, edit, end, delete. The live side itself is the Director's."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from server.kit.auth import Caller
from server.kit.clock import now
from server.kit.http import Page, PageQuery, decode_cursor, encode_cursor
from server.kit.http.ifmatch import ANY, IfMatch
from server.kit.ownership import may, own
from server.streaming.addresses import Address
from server.streaming.broadcasts import store
from server.streaming.broadcasts.advice import advise
from server.streaming.broadcasts.director import Director
from server.streaming.broadcasts.errors import (
    AlreadyEnded,
    AlreadyLive,
    NoSuchBroadcast,
    NotYours,
    StillLive,
    VisibilityNotYet,
)
from server.streaming.broadcasts.live import Live
from server.streaming.broadcasts.models import (
    ON_AIR,
    Broadcast,
    BroadcastView,
    CardView,
    EditBody,
    EventView,
    Health,
    JoinView,
    Line,
    Owner,
    Playback,
    RecordingView,
    Room,
    StartBody,
    StartedView,
    State,
)
from server.streaming.channels import store as channels
from server.streaming.channels.service import Channels
from server.streaming.visibility import Visibility
from storage.jobs import Jobs
from storage.postgres.database import AWAY, Connection, Database

DELETED_JOB = "streaming.broadcast_deleted"
RETENTION_JOB = "streaming.retention"
PLACEHOLDER = "/assets/placeholder.svg"
EVENTS_SHOWN = 50


class PersonLike(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def username(self) -> str: ...


class People(Protocol):
    """Who owns what is shown."""

    async def people(self, ids: Collection[UUID]) -> dict[UUID, Any]: ...


class Audience(Protocol):
    """How many watch."""

    def count(self, broadcast_id: str) -> int: ...


class Pictures(Protocol):
    def want(self, live: Live) -> None: ...


class Videos(Protocol):
    async def video_of(self, conn: Connection, id: UUID, /, *, mine: bool) -> UUID | None:
        """What was made of a broadcast's recording."""
        ...


class Watched(Protocol):
    """As much of a broadcast as it takes to know who may watch it."""

    @property
    def id(self) -> UUID: ...
    @property
    def owner_id(self) -> UUID: ...
    @property
    def visibility(self) -> str: ...
    @property
    def published(self) -> bool: ...


class Door(Protocol):
    """Who may watch. What is known of a broadcast by its id is a second old at most."""

    async def may_watch(self, what: Watched, viewer: Caller | None) -> None: ...
    async def enter(self, id: UUID, viewer: Caller | None) -> Watched: ...
    def grant(self, what: Watched, viewer: Caller | None) -> str: ...
    def renew_in(self, grant: str) -> float | None: ...
    async def changed(self, id: UUID) -> None: ...


class Broadcasts:
    def __init__(
        self,
        database: Database,
        director: Director,
        channels: Channels,
        people: People,
        audience: Audience,
        pictures: Pictures,
        jobs: Jobs,
        door: Door,
        *,
        record: bool,
        videos: Videos | None = None,
    ) -> None:
        self._database = database
        self._director = director
        self._channels = channels
        self._people = people
        self._audience = audience
        self._pictures = pictures
        self._jobs = jobs
        self._door = door
        self._record = record
        self._videos = videos

    async def start(self, caller: Caller, body: StartBody, address: Address) -> StartedView:
        """Prepare a broadcast: the next push with the caller's key belongs to it."""
        _check_visibility(body.visibility)
        async with self._database.transaction() as conn:
            channel, key = await self._channels.prepare(conn, caller.user_id)
            here = self._director.on_channel(channel.id)
            # what went live a moment ago is in memory before it is in the row
            running = here.row if here is not None and here.on_air else await store.on_air(conn, channel.id)
            if running is not None:
                raise AlreadyLive(
                    f"“{running.title}” is on air. End it before you prepare another.", id=str(running.id)
                )
            row = await store.add(
                conn,
                channel.id,
                title=body.title.strip() or "Untitled",
                description=body.description,
                visibility=body.visibility,
                record=self._record,
            )
        return StartedView(
            id=row.id,
            title=row.title,
            description=row.description,
            visibility=row.visibility,
            state=row.state,
            stream_key=key,
            ingest=address.ingest(key),
            playback=_playback(row.id, address, self._door.grant(row, caller)),
            channel=f"live:{row.id}",
        )

    async def on_air(self, query: PageQuery, address: Address) -> Page[CardView]:
        before = decode_cursor(query.cursor, datetime, UUID) if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.live_page(conn, query.limit + 1, before)
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        cursor = encode_cursor(rows[-1].started_at, rows[-1].id) if more else None
        return Page(items=await self._cards(rows, None, address), next_cursor=cursor)

    async def mine(self, caller: Caller, query: PageQuery, address: Address) -> Page[CardView]:
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        async with self._database.acquire() as conn:
            rows = await store.page_of_user(conn, caller.user_id, query.limit + 1, before)
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        cards = await self._cards(rows, caller, address)
        return Page(items=cards, next_cursor=encode_cursor(rows[-1].id) if more else None)

    async def show(self, id: UUID, caller: Caller | None, address: Address) -> BroadcastView:
        live = self._director.get(str(id))
        try:
            return await self._show(id, caller, address)
        except AWAY:
            if live is None or live.owner is None:
                raise
            # what is on air here can be opened while the database is away: all of it is in memory but its events
            await self._door.enter(id, caller)
            return self._view(live.row, live, live.owner, caller, None, address)

    async def _show(self, id: UUID, caller: Caller | None, address: Address) -> BroadcastView:
        async with self._database.acquire() as conn:
            row = await store.get(conn, id)
            if row is None:
                raise missing()
            await self._door.may_watch(row, caller)
            mine = may(caller, row.owner_id)
            events = await channels.events(conn, row.channel_id, id, EVENTS_SHOWN) if mine else None
            ended = row.state is State.ENDED and self._videos is not None
            video = await self._videos.video_of(conn, id, mine=mine) if ended and self._videos else None
        owner = (await self._owners([row]))[row.owner_id]
        live = self._director.get(str(id))
        if live is not None:
            live.row, live.owner = row, owner
        return self._view(row, live, owner, caller, events, address, video)

    def _view(
        self,
        row: Broadcast,
        live: Live | None,
        owner: Owner,
        caller: Caller | None,
        events: list[Any] | None,
        address: Address,
        video: UUID | None = None,
    ) -> BroadcastView:
        mine = caller is not None and caller.user_id == row.owner_id
        grant = self._door.grant(row, caller)
        return BroadcastView(
            id=row.id,
            version=row.version,
            title=row.title,
            description=row.description,
            visibility=row.visibility,
            state=_state(row, live),
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            viewers=self._viewers(str(row.id), row, live),
            tracks=live.track_views() if live is not None and live.media.tracks else row.tracks,
            owner=owner,
            playback=_playback(row.id, address, grant),
            thumbnail=_thumbnail(str(row.id), row, live, address, grant),
            channel=f"live:{row.id}",
            recording=_recording(row, address, grant),
            video=video,
            health=_health(live) if mine and live is not None and live.on_air else None,
            events=None if events is None else [EventView(**event) for event in events],
        )

    async def edit(
        self, id: UUID, caller: Caller, body: EditBody, address: Address, seen: IfMatch = ANY
    ) -> BroadcastView:
        """Raises PreconditionFailed when `seen` is another version than the row's."""
        if body.visibility is not None:
            _check_visibility(body.visibility)
        async with self._database.transaction() as conn:
            row = await self._own(conn, id, caller)
            seen.check(row.version)
            await store.edit(
                conn,
                id,
                title=row.title if body.title is None else body.title.strip() or "Untitled",
                description=row.description if body.description is None else body.description,
                visibility=body.visibility or row.visibility,
            )
        await self._door.changed(id)
        return await self.show(id, caller, address)

    async def end(self, id: UUID, caller: Caller, address: Address) -> BroadcastView:
        async with self._database.acquire() as conn:
            row = await self._own(conn, id, caller)
        if row.state is State.ENDED:
            raise AlreadyEnded("It cannot be ended twice.")
        live = self._director.get(str(id))
        if live is None and row.state in ON_AIR:
            live = await self._director.adopt(row)
        if live is not None:
            await self._director.end(live, "ended by its owner", by_owner=True)
        else:
            async with self._database.transaction() as conn:
                # on air in another process: its next heartbeat sees the row ended and closes the recording
                await store.end_elsewhere(conn, id, now())
        return await self.show(id, caller, address)

    async def delete(self, id: UUID, caller: Caller) -> None:
        """The row goes now; the files, and what others keep about it, by a job in the same transaction."""
        async with self._database.acquire() as conn:
            row = await self._own(conn, id, caller)
        self._check_off_air(row)
        async with self._director.withdrawn(row), self._database.transaction() as conn:
            self._check_off_air(await self._own(conn, id, caller))
            await store.delete(conn, id)
            await self._jobs.enqueue(conn, DELETED_JOB, str(id).encode())
        await self._door.changed(id)

    async def join(self, id: UUID, caller: Caller | None, address: Address) -> JoinView:
        live = self._director.get(str(id))
        if live is not None:
            row: Broadcast | None = live.row
        else:
            async with self._database.acquire() as conn:
                row = await store.get(conn, id)
        if row is None:
            raise missing()
        grant = self._door.grant(await self._door.enter(id, caller), caller)
        return JoinView(
            playback=_playback(id, address, grant),
            renew_in=self._door.renew_in(grant),
            channel=f"live:{id}",
            viewers=self._viewers(str(id), row, self._director.get(str(id))),
        )

    async def room(self, id: UUID) -> Room | None:
        """What chat needs to know of a broadcast: whose it is, and whether one may still write beside it."""
        live = self._director.get(str(id))
        if live is not None:
            return Room(id=id, owner_id=live.row.owner_id, open=live.ending is None, started_at=live.started_at)
        async with self._database.acquire() as conn:
            row = await store.get(conn, id)
        if row is None:
            return None
        return Room(id=id, owner_id=row.owner_id, open=row.state is not State.ENDED, started_at=row.started_at)

    async def state_of(self, id: UUID) -> dict[str, object] | None:
        """The fact that the channel beside it carries: as `Announcer.state` gave it last."""
        live = self._director.get(str(id))
        if live is not None:
            return {"state": live.state}
        async with self._database.acquire() as conn:
            row = await store.get(conn, id)
        if row is None:
            return None
        return {"state": row.state} if row.state is not State.ENDED else _ended(row.recording is not None)

    def _check_off_air(self, row: Broadcast) -> None:
        live = self._director.get(str(row.id))
        if row.state in ON_AIR or (live is not None and live.on_air):
            raise StillLive("End the broadcast before you delete it.")

    async def _own(self, conn: Any, id: UUID, caller: Caller) -> Broadcast:
        row = await store.lock(conn, id)
        secret = row is not None and row.visibility == Visibility.PRIVATE
        return own(
            row,
            caller,
            missing=missing,
            foreign=None if secret else lambda: NotYours("Only its owner can do that."),
        )

    async def _owners(self, rows: Iterable[Broadcast]) -> dict[UUID, Owner]:
        found = await self._people.people({row.owner_id for row in rows})
        return {id: Owner(id=id, username=person.username) for id, person in found.items()}

    async def _cards(self, rows: list[Broadcast], caller: Caller | None, address: Address) -> list[CardView]:
        people = await self._people.people([row.owner_id for row in rows])
        cards = []
        for row in rows:
            id = str(row.id)
            live = self._director.get(id)
            if live is not None and live.on_air:
                self._pictures.want(live)
            grant = self._door.grant(row, caller)
            cards.append(
                CardView(
                    id=row.id,
                    title=row.title,
                    visibility=row.visibility,
                    state=_state(row, live),
                    created_at=row.created_at,
                    started_at=row.started_at,
                    ended_at=row.ended_at,
                    viewers=self._viewers(id, row, live),
                    thumbnail=_thumbnail(id, row, live, address, grant),
                    owner=Owner(row.owner_id, people[row.owner_id].username),
                    recording=_recording(row, address, grant),
                )
            )
        return cards

    def _viewers(self, id: str, row: Broadcast, live: Live | None) -> int:
        here = self._audience.count(id)
        # on air in another process: that one counts, and writes it down at its heartbeat
        return max(here, row.viewers) if live is None and row.state in ON_AIR else here


def missing() -> NoSuchBroadcast:
    return NoSuchBroadcast("It was deleted, or the address is wrong.")


def _thumbnail(id: str, row: Broadcast, live: Live | None, address: Address, grant: str) -> str:
    if row.thumbnail or (live is not None and live.thumbnail is not None):
        return f"{address.http}/live/{id}/{grant}/thumb.jpg"
    return address.http + PLACEHOLDER


def _ended(recorded: bool) -> dict[str, object]:
    return {"state": State.ENDED, "recording": recorded}


def _check_visibility(value: Visibility) -> None:
    if value in (Visibility.SUBSCRIBERS, Visibility.PAID):
        raise VisibilityNotYet(
            f"Nobody can subscribe or buy here yet, so {value.value!r} would let nobody in: "
            "choose public, unlisted, followers or private."
        )


def _state(row: Broadcast, live: Live | None) -> State:
    # while the recording is being closed the live side has ended already; it counts once that is written
    return live.state if live is not None and live.state is not State.ENDED else row.state


def _playback(id: UUID, address: Address, grant: str) -> Playback:
    base = f"{address.http}/live/{id}/{grant}"
    return Playback(hls=f"{base}/index.m3u8", dash=f"{base}/index.mpd", whep=f"{address.http}/api/v1/live/{id}/whep")


def _recording(row: Broadcast, address: Address, grant: str) -> RecordingView | None:
    if row.recording is None:
        return None
    base = f"{address.http}/live/{row.id}/{grant}"
    return RecordingView(
        hls=f"{base}/recording.m3u8", dash=f"{base}/recording.mpd", duration=round(row.recording.duration, 3)
    )


def _health(live: Live) -> Health:
    figures = live.media.health.describe()
    words = advise(live.media.tracks, **figures) if live.state is State.LIVE else []
    return Health(advice=[*words, *live.media.notes.values()], line=_line(live), **figures)


def _line(live: Live) -> Line | None:
    publisher = live.media.publisher
    if publisher is None or publisher.request.protocol != "whip":
        return None
    return msgspec.convert(publisher.link.describe(), Line)
