"""The Director holds the live side of every broadcast in this process.

It is the Gate that ingest asks and the Watcher that the media engine tells. It waits for publishers that dropped, ends
broadcasts and closes their recordings. What is true of a broadcast is true in its Live first and in its row soon after:
what could not be written is written at the next heartbeat of the Leases. It lives as long as the server.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from media.broadcast import Broadcast as Media
from media.broadcast import PublisherSession, Reader
from media.ingest.gate import PublishRequest, Refused
from media.package.live import LivePackage, PackageOptions
from media.package.recording import Recording
from media.transcode.renditions import Renditions
from server.kit.clock import now
from server.streaming.broadcasts import store
from server.streaming.broadcasts.leases import Audience, Leases
from server.streaming.broadcasts.live import Live, prefix
from server.streaming.broadcasts.models import Broadcast, RecordingFacts, State
from server.streaming.channels import store as channels
from server.streaming.channels.models import Channel
from server.streaming.channels.service import hash_key
from storage.jobs import Jobs
from storage.objects import StoreError
from storage.objects.spool import Spool
from storage.postgres.database import Connection, Database

log = logging.getLogger(__name__)

STORED_WITHIN = 3.0
"""An interrupted broadcast waits so many seconds for its last segments to be in the store; then others may have it."""
LINGER = 60.0
"""Seconds that an ended broadcast's live playlists stay: longer than any player is behind the live edge."""
PROOF_POLL = 0.05
UNRECORDED_JOB = "streaming.unrecorded"


class Announcer(Protocol):
    """Tells those who hold a channel what became of its broadcast."""

    def state(self, channel: str, data: dict[str, object]) -> None: ...


class Keeping(Protocol):
    async def ended(self, conn: Connection, id: UUID, /) -> None:
        """A broadcast has ended with a recording; the row says so in this transaction."""
        ...


class Pictures(Protocol):
    """Makes the first picture of a broadcast without being asked for it."""

    def want(self, live: Live) -> None: ...


@dataclass(frozen=True, slots=True)
class DirectorOptions:
    """node: this process in the fleet. reconnect_window, publisher_dead_after, lease_seconds in s; disk_min_free in
    bytes. fleet: other processes may go on with what this one began."""

    node: str
    reconnect_window: float
    publisher_dead_after: float
    record: bool
    disk_min_free: int
    lease_seconds: float = 15.0
    fleet: bool = False


class Director:
    def __init__(
        self,
        database: Database,
        spool: Spool,
        announcer: Announcer,
        pictures: Pictures,
        audience: Audience,
        options: DirectorOptions,
        packaging: PackageOptions,
        jobs: Jobs,
        renditions: Renditions,
        keeping: Keeping | None = None,
    ) -> None:
        """keeping: makes something of recordings; None: they stay what they are."""
        self._jobs = jobs
        self._database = database
        self._spool = spool
        self._announcer = announcer
        self._pictures = pictures
        self._options = options
        self._packaging = packaging
        self._renditions = renditions
        self._keeping = keeping
        self._lease = timedelta(seconds=options.lease_seconds)
        self._leases = Leases(database, self, audience, options.node, self._lease)
        self._live: dict[str, Live] = {}
        self._on_channel: dict[UUID, Live] = {}
        self._doors: weakref.WeakValueDictionary[UUID, asyncio.Lock] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        await self._leases.start()

    def stop_accepting(self) -> None:
        self._stopping = True

    async def close(self) -> None:
        """Hand all to the next process: segments closed and in the spool, rows `interrupted`, leases given up."""
        self._stopping = True
        await self._leases.close()
        for door in list(self._doors.values()):
            async with door:  # who is being let in just now is in, or refused
                pass
        for live in list(self._live.values()):
            live.stop_countdown()
            publisher = live.media.publisher
            if publisher is not None:
                publisher.close("the server is restarting", clean=False)
                publisher.link.close("the server is restarting")
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        for live in list(self._live.values()):
            await live.package.close()
        try:
            async with self._database.acquire() as conn:
                await store.release(conn, self._options.node)
        except Exception:
            # the rest of the stop goes on: the leases run out by themselves
            log.exception("leases could not be given up")

    def describe(self) -> dict[str, object]:
        return {
            "node": self._options.node,
            "broadcasts": len(self._live),
            "live": sum(1 for live in self._live.values() if live.state is State.LIVE),
        }

    def by_state(self) -> dict[str, float]:
        counts = dict.fromkeys(State, 0.0)
        for live in self._live.values():
            counts[live.state] += 1
        return {state.value: count for state, count in counts.items()}

    def get(self, id: str) -> Live | None:
        return self._live.get(id)

    def on_channel(self, channel_id: UUID) -> Live | None:
        return self._on_channel.get(channel_id)

    def __iter__(self) -> Any:
        return iter(list(self._live.values()))

    # the Gate

    async def admit(self, request: PublishRequest) -> PublisherSession:
        if self._stopping:
            raise Refused("restarting", "The server is restarting. Try again in a few seconds.")
        async with self._database.transaction() as conn:
            channel = await _channel_of(conn, request)
        if channel is None and request.account:
            raise Refused("not_allowed", "This account may not go live.")
        if channel is None:
            raise Refused("unknown_key", "Unknown stream key. Copy it again from the studio, or make a new one there.")
        async with self._door(channel.id):
            try:
                return await self._let_in(channel, request)
            except Refused as refused:
                live = self._on_channel.get(channel.id)
                self._note(channel.id, live.row.id if live else None, "refused", refused.description)
                raise

    async def _let_in(self, channel: Channel, request: PublishRequest) -> PublisherSession:
        """With the channel's door held: nobody else comes in, ends or deletes its broadcast meanwhile."""
        live = self._on_channel.get(channel.id)
        if live is not None and live.media.publisher is not None:
            await self._prove_dead(live)
            live = self._on_channel.get(channel.id)  # the first may have left meanwhile, and its live side with it
        if live is not None and live.ending is not None:
            raise Refused("ending", "The broadcast is just being ended. Try again in a few seconds.")
        if live is None:
            live = await self._open(channel)
        if self._stopping:
            raise Refused("restarting", "The server is restarting. Try again in a few seconds.")
        live.stop_countdown()
        session = live.media.open(request)
        live.tell("connected", f"{request.encoder or 'an encoder'} by {request.protocol}")
        self._spawn(self._write(live))
        return session

    def _door(self, channel_id: UUID) -> asyncio.Lock:
        """One at a time for a channel: admitting, ending, deleting, taking over."""
        return self._doors.setdefault(channel_id, asyncio.Lock())

    def hang_up(self, channel_id: UUID, reason: str) -> None:
        """Whoever pushes to the channel from here has to come again, with a key that is good."""
        live = self._on_channel.get(channel_id)
        publisher = live.media.publisher if live is not None else None
        if publisher is not None:
            publisher.close(reason, clean=False)
            publisher.link.close(reason)

    def turned_away(self, request: PublishRequest | None, address: str, reason: str) -> None:
        log.info("publisher turned away: %s (%s)", reason, address)
        if request is not None and (request.key or request.account):
            self._spawn(self._turned_away(request, reason))

    async def _turned_away(self, request: PublishRequest, reason: str) -> None:
        async with self._database.transaction() as conn:
            channel = await _channel_of(conn, request)
            if channel is not None:
                live = self._on_channel.get(channel.id)
                await channels.add_event(conn, channel.id, live.row.id if live else None, "refused", reason)

    async def _prove_dead(self, live: Live) -> None:
        """One publisher a key: a second comes in only when the first gives no sign of life for a while."""
        publisher = live.media.publisher
        asked = time.monotonic()
        deadline = asked + self._options.publisher_dead_after
        while publisher is not None and time.monotonic() < deadline and not self._stopping:
            if publisher.link.last_received > asked:
                raise Refused("in_use", "This stream key is live already from another encoder. Stop that one first.")
            await asyncio.sleep(PROOF_POLL)
            publisher = live.media.publisher

    async def _open(self, channel: Channel) -> Live:
        """The live side of the channel's broadcast: the one on air, else the one prepared last, else a new one."""
        async with self._database.transaction() as conn:
            row = await store.on_air(conn, channel.id) or await self._next(conn, channel)
            taken = await store.take(conn, row.id, self._options.node, self._lease)
            if taken is None:
                raise Refused("elsewhere", "This broadcast is live on another server. Try again in a few seconds.")
        try:
            return await self._install(row, *taken)
        except StoreError as error:
            log.warning("broadcast %s cannot go on here: %s", row.id, error)
            raise Refused("store_away", "The store cannot be reached just now. Try again in a few seconds.") from error

    async def _next(self, conn: Connection, channel: Channel) -> Broadcast:
        """The prepared broadcast, or a new one with the channel's defaults. After its owner ended one, an encoder that
        reconnects by itself is no wish for another."""
        row = await store.prepared(conn, channel.id)
        visibility, ended_at = await store.last_of_channel(conn, channel.id)
        window = timedelta(seconds=self._options.reconnect_window)
        lately = ended_at if ended_at is not None and now() - ended_at < window else None
        if lately is not None and (row is None or row.created_at < lately):
            raise Refused("ended", "You ended this broadcast. Prepare a new one in the studio, or wait a minute.")
        if row is not None:
            return row
        title = f"Live on {now():%d %B %Y}"
        return await store.add(conn, channel.id, title=title, visibility=visibility, record=self._options.record)

    async def adopt(self, row: Broadcast) -> Live | None:
        """Continue here, as interrupted, what was on air in a process that is gone; None while another holds it.
        Raises StoreError when the store has the journal and does not answer."""
        async with self._door(row.channel_id):
            if (live := self._live.get(str(row.id))) is not None:
                return live
            async with self._database.acquire() as conn:
                taken = await store.take(conn, row.id, self._options.node, self._lease)
            if taken is None:
                return None
            live = await self._install(row, *taken)
            live.state = State.INTERRUPTED
            return live

    async def _install(self, row: Broadcast, fence: int, writer: str | None) -> Live:
        """`writer`: the process that wrote it last."""
        record = row.record and self._options.record
        if record and row.started_at is None and self._spool.disk_free() < self._options.disk_min_free:
            record = False
            self._note(
                row.channel_id, row.id, "not_recorded", "the disk is nearly full: live goes on, nothing is recorded"
            )
        from_elsewhere = writer not in (None, self._options.node)
        if from_elsewhere:
            # what this node may have of it is older than what the store has
            await self._spool.abandon(prefix(row.id))
        shelf = self._spool.shelf(prefix(row.id))
        media = Media(str(row.id), self)
        package = LivePackage(replace(self._packaging, record=record), shelf, maker=self._renditions.of(media))
        if row.started_at is not None or fence > 1:
            # also when the row does not know that it was live: its names must not be used again
            await package.restore(from_elsewhere=from_elsewhere)
        media.add(package)
        media.follow(package.followers)
        live = Live(row, fence, media, package, shelf)
        self._live[live.id] = live
        self._on_channel[row.channel_id] = live
        return live

    # the Watcher

    def on_live(self, broadcast: Media) -> None:
        live = self._of(broadcast)
        if live is None:
            return
        live.state = State.LIVE
        live.started_at = live.started_at or now()
        live.tell("live", _tracks_in_words(live))
        self._announcer.state(live.channel, {"state": State.LIVE})
        self._pictures.want(live)
        self._spawn(self._write(live))

    def on_tracks(self, broadcast: Media) -> None:
        live = self._of(broadcast)
        if live is not None:
            live.tell("tracks", _tracks_in_words(live))
            self._spawn(self._write(live))

    def on_interrupted(self, broadcast: Media, reason: str, clean: bool) -> None:
        live = self._of(broadcast)
        if live is None or live.ending is not None:
            return
        if live.state is State.CREATED:
            # it never sent a picture: the prepared broadcast waits on, without a live side
            self._drop(live)
            self._note(live.row.channel_id, live.row.id, "left", f"before any media: {reason}")
            self._spawn(self._give_up(live))
            return
        live.state = State.INTERRUPTED
        live.tell("interrupted", reason)
        self._announcer.state(live.channel, {"state": State.INTERRUPTED})
        self._spawn(self._write(live))
        if not self._stopping:
            self._await_return(live, self._options.reconnect_window)

    def _of(self, broadcast: Media) -> Live | None:
        """The live side that this engine belongs to; None, and no more publishers, when it was dropped."""
        live = self._live.get(broadcast.id)
        if live is not None and live.media is broadcast:
            return live
        broadcast.end("the broadcast is gone")
        return None

    def on_failed(self, broadcast: Media, reader: Reader) -> None:
        live = self._live.get(broadcast.id)
        if live is not None and reader is live.package:
            self._spawn(self.end(live, "its packaging failed; push again to start anew"))

    def _await_return(self, live: Live, seconds: float) -> None:
        live.count_down(seconds, lambda: self._spawn(self._not_back(live)))

    async def _not_back(self, live: Live) -> None:
        async with self._door(live.row.channel_id):
            if live.media.publisher is None:
                await self._end(live, "the publisher did not come back")

    # ending

    async def end(self, live: Live, reason: str, *, by_owner: bool = False) -> None:
        """End it, close its recording, tell everybody. What was recorded stays; safe to call twice. What fails on the
        way raises, and the heartbeat tries again until the row says that it ended."""
        async with self._door(live.row.channel_id):
            await self._end(live, reason, by_owner=by_owner)

    async def _end(self, live: Live, reason: str, *, by_owner: bool = False) -> None:
        if live.state is State.ENDED:
            return
        live.by_owner = live.by_owner or by_owner
        if live.ending is None:
            live.ending = reason
            live.stop_countdown()
            live.media.end(reason)
            live.tell("ended", reason)
        await live.package.close()
        recording = _facts(await live.package.finish()) if live.started else None
        async with live.writes, self._database.transaction() as conn:
            ours = await store.set_ended(conn, live.row.id, live.fence, now(), recording, by_owner=live.by_owner)
            if ours:
                await self._write_events(conn, live)
                await self._discard_later(conn, live, recording)
                await self._keep(conn, live, recording)
        if not ours:
            await self._yield(live)
            return
        live.events.clear()
        self._said_ended(live, recording is not None)

    async def _discard_later(self, conn: Connection, live: Live, recording: RecordingFacts | None) -> None:
        """What is not a recording is deleted when the last player is through with it."""
        if live.started and recording is None:
            id = str(live.row.id).encode()
            await self._jobs.enqueue(conn, UNRECORDED_JOB, id, after=timedelta(seconds=LINGER))

    async def _keep(self, conn: Connection, live: Live, recording: RecordingFacts | None) -> None:
        """What becomes of a recording, in the transaction that says that there is one."""
        if recording is not None and self._keeping is not None:
            await self._keeping.ended(conn, live.row.id)

    def _said_ended(self, live: Live, recorded: bool) -> None:
        """The row says that it ended: tell everybody, and keep the live playlists for those who are still behind."""
        live.mark_ended()
        self._announcer.state(live.channel, {"state": State.ENDED, "recording": recorded})
        if self._on_channel.get(live.row.channel_id) is live:
            del self._on_channel[live.row.channel_id]
        asyncio.get_running_loop().call_later(LINGER if live.started else 0, self._leave, live)

    def _leave(self, live: Live) -> None:
        """The last player is through with the live playlists."""
        self._drop(live)
        self._spawn(live.shelf.close())

    @asynccontextmanager
    async def withdrawn(self, row: Broadcast) -> AsyncIterator[None]:
        """While the caller deletes the broadcast: nothing of it is served or written any more, and nobody is let in."""
        async with self._door(row.channel_id):
            live = self._live.get(str(row.id))
            if live is not None:
                live.ending = "the broadcast was deleted"
                live.media.end(live.ending)
                await live.package.close()
                await live.shelf.close()
                self._drop(live)
            yield

    def _drop(self, live: Live) -> None:
        live.stop_countdown()
        if self._live.get(live.id) is live:
            del self._live[live.id]
        if self._on_channel.get(live.row.channel_id) is live:
            del self._on_channel[live.row.channel_id]

    # what is written, in the order it happened

    async def _write(self, live: Live) -> None:
        """Bring the row to what the live side is now. What fails is written by the heartbeat."""
        live.unwritten = True
        if self._options.fleet and live.state is State.INTERRUPTED:
            # the row says it last: whoever then takes it finds all of it in the store
            await self._spool.stored(prefix(live.row.id), STORED_WITHIN)
        async with live.writes:
            if not live.unwritten or live.ending is not None:
                return
            live.unwritten = False
            try:
                async with self._database.transaction() as conn:
                    ours = await store.set_state(
                        conn, live.row.id, live.fence, live.state, live.track_views(), live.started_at
                    )
                    written = await self._write_events(conn, live) if ours else 0
            except BaseException:
                live.unwritten = True
                raise
            del live.events[:written]
        if not ours:
            # another process took it while its publisher was away, or ended it: as at the next heartbeat
            await self._lost(live)

    async def _write_events(self, conn: Connection, live: Live) -> int:
        """How many were written: more may be told meanwhile."""
        batch = list(live.events)
        for kind, detail in batch:
            await channels.add_event(conn, live.row.channel_id, live.row.id, kind, detail)
        return len(batch)

    async def _give_up(self, live: Live) -> None:
        async with live.writes, self._database.acquire() as conn:
            await store.give_up(conn, live.row.id, live.fence)

    def _note(self, channel_id: UUID, broadcast_id: UUID | None, kind: str, detail: str) -> None:
        self._spawn(self._write_note(channel_id, broadcast_id, kind, detail))

    async def _write_note(self, channel_id: UUID, broadcast_id: UUID | None, kind: str, detail: str) -> None:
        async with self._database.transaction() as conn:
            await channels.add_event(conn, channel_id, broadcast_id, kind, detail)

    def behind(self, live: Live) -> None:
        """A heartbeat found that the row does not say what is true: what failed is tried again."""
        if live.ending is not None:
            self._spawn(self.end(live, live.ending))
        elif live.unwritten:
            self._spawn(self._write(live))

    def lost(self, live: Live) -> None:
        """A heartbeat found that the row is no longer ours to write."""
        self._spawn(self._lost(live))

    async def resume(self, row: Broadcast, lease_until: datetime | None) -> None:
        """Go on with what a process that is gone left: as interrupted, or closing what nobody came back to for long."""
        live = await self.adopt(row)
        if live is None or live.media.publisher is not None:
            return
        if row.state is State.ENDED:
            live.ending = "ended through another server"
            live.media.end(live.ending)
            await live.package.close()
            await self._close_recording(live)
            return
        silent = (now() - lease_until).total_seconds() if lease_until else 0.0
        if silent > self._options.reconnect_window:
            await self.end(live, "the server stopped while it was live")
        else:
            self._announcer.state(live.channel, {"state": State.INTERRUPTED})
            live.tell("interrupted", "the server was restarted")
            self._spawn(self._write(live))
            self._await_return(live, self._options.reconnect_window)

    # what is no longer ours

    async def _lost(self, live: Live) -> None:
        """Somebody ended it through another process, deleted it, or took the lease: stop writing to it."""
        async with self._door(live.row.channel_id):
            await self._yield(live)

    async def _yield(self, live: Live) -> None:
        if live.state is State.ENDED or self._live.get(live.id) is not live:
            return
        async with self._database.acquire() as conn:
            ended = await store.ended_and_ours(conn, live.row.id, live.fence)
        log.warning("broadcast %s is no longer ours", live.id)
        live.ending = live.ending or "the broadcast was ended or moved to another server"
        if not ended:
            await live.shelf.abandon()
        live.media.end(live.ending)
        await live.package.close()
        if ended:
            await self._close_recording(live)
        else:
            live.mark_ended()
            self._drop(live)

    async def _close_recording(self, live: Live) -> None:
        """Ended through another process: what is left is the recording, and telling those who hold the channel."""
        facts = _facts(await live.package.finish()) if live.started else None
        async with live.writes, self._database.transaction() as conn:
            await store.set_recording(conn, live.row.id, live.fence, facts)
            await self._write_events(conn, live)
            await self._discard_later(conn, live, facts)
            await self._keep(conn, live, facts)
        live.events.clear()
        self._said_ended(live, facts is not None)

    # tasks

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the director failed", exc_info=task.exception())


async def _channel_of(conn: Connection, request: PublishRequest) -> Channel | None:
    """Where the request wants to push: by its key, or as the owner."""
    if request.account:
        return await channels.to_push(conn, UUID(request.account))
    return await channels.by_key(conn, hash_key(request.key))


def _facts(recording: Recording) -> RecordingFacts | None:
    if recording.segments == 0:
        return None
    return RecordingFacts(duration=recording.duration_s, bytes=recording.bytes, segments=recording.segments)


def _tracks_in_words(live: Live) -> str:
    parts = []
    for t in live.media.tracks:
        if t.width:
            rate = f" {t.frame_rate:g} fps" if t.frame_rate else ""
            parts.append(f"{t.codec_string} {t.width}x{t.height}{rate}")
        else:
            parts.append(f"{t.codec_string} {t.sample_rate} Hz")
    return ", ".join(parts) or "no tracks"
