"""The Director holds the live side of every broadcast in this process.

It is the Gate that ingest asks and the Watcher that the media engine tells. It takes and renews the lease on each
broadcast, waits for publishers that dropped, ends broadcasts and closes their recordings, and at start picks up what an
earlier process left behind. It lives as long as the server.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from media.broadcast import Broadcast as Media
from media.broadcast import PublisherSession, Reader
from media.ingest.gate import PublishRequest, Refused
from media.package.live import LivePackage, PackageOptions
from media.package.recording import Recording
from server.kit.clock import now
from server.streaming.broadcasts import store
from server.streaming.broadcasts.live import Live, prefix
from server.streaming.broadcasts.models import Broadcast, RecordingFacts, State
from server.streaming.channels import store as channels
from server.streaming.channels.models import Channel
from server.streaming.channels.service import hash_key
from storage.objects import StoreError
from storage.objects.spool import Spool
from storage.postgres.database import Database

log = logging.getLogger(__name__)

BEATS = 3
"""A lease is renewed so often before it would run out."""
STORED_WITHIN = 3.0
"""An interrupted broadcast waits so many seconds for its last segments to be in the store; then others may have it."""
LINGER = 60.0
"""Seconds that an ended broadcast's live playlists stay: longer than any player is behind the live edge."""
PROOF_POLL = 0.05
END_AGAIN = 2.0
"""Seconds between attempts to write an end that the database did not take."""


class Announcer(Protocol):
    """Tells those who hold a channel what became of its broadcast."""

    def state(self, channel: str, data: dict[str, object]) -> None: ...


class Audience(Protocol):
    """How many watch."""

    def count(self, broadcast_id: str) -> int: ...


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
    ) -> None:
        self._database = database
        self._spool = spool
        self._announcer = announcer
        self._pictures = pictures
        self._audience = audience
        self._options = options
        self._packaging = packaging
        self._lease = timedelta(seconds=options.lease_seconds)
        self._heartbeat_seconds = options.lease_seconds / BEATS
        self._live: dict[str, Live] = {}
        self._on_channel: dict[UUID, Live] = {}
        self._doors: weakref.WeakValueDictionary[UUID, asyncio.Lock] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heart: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        await self._pick_up()
        self._heart = asyncio.get_running_loop().create_task(self._heartbeat())

    def stop_accepting(self) -> None:
        self._stopping = True

    async def close(self) -> None:
        """Hand all to the next process: segments closed and in the spool, rows `interrupted`, leases given up."""
        self._stopping = True
        if self._heart is not None:
            self._heart.cancel()
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

    def __iter__(self) -> Any:
        return iter(list(self._live.values()))

    # the Gate

    async def admit(self, request: PublishRequest) -> PublisherSession:
        if self._stopping:
            raise Refused("restarting", "The server is restarting. Try again in a few seconds.")
        async with self._database.acquire() as conn:
            channel = await channels.by_key(conn, hash_key(request.key))
        if channel is None:
            raise Refused("unknown_key", "Unknown stream key. Copy it again from the studio, or make a new one there.")
        door = self._doors.setdefault(channel.id, asyncio.Lock())
        async with door:
            live = self._on_channel.get(channel.id)
            if live is not None and live.media.publisher is not None:
                await self._prove_dead(live, channel, request)
            if live is None or live.state is State.ENDED:
                live = await self._open(channel)
            live.stop_countdown()
            session = live.media.open(request)
            self._note(channel.id, live.row.id, "connected", f"{request.encoder or 'an encoder'} by {request.protocol}")
            return session

    def turned_away(self, request: PublishRequest | None, address: str, reason: str) -> None:
        log.info("publisher turned away: %s (%s)", reason, address)
        if request is not None and request.key:
            self._spawn(self._turned_away(request.key, reason))

    async def _turned_away(self, key: str, reason: str) -> None:
        async with self._database.transaction() as conn:
            channel = await channels.by_key(conn, hash_key(key))
            if channel is not None:
                live = self._on_channel.get(channel.id)
                await channels.add_event(conn, channel.id, live.row.id if live else None, "refused", reason)

    async def _prove_dead(self, live: Live, channel: Channel, request: PublishRequest) -> None:
        """One publisher a key: a second comes in only when the first gives no sign of life for a while."""
        publisher = live.media.publisher
        deadline = time.monotonic() + self._options.publisher_dead_after
        asked = time.monotonic()
        while publisher is not None and time.monotonic() < deadline:
            if publisher.link.last_received > asked:
                self._note(
                    channel.id, live.row.id, "refused", f"a second encoder ({request.address}) while one is live"
                )
                raise Refused("in_use", "This stream key is live already from another encoder. Stop that one first.")
            await asyncio.sleep(PROOF_POLL)
            publisher = live.media.publisher

    async def _open(self, channel: Channel) -> Live:
        """The live side of the channel's broadcast: the one on air, else the one prepared last, else a new one."""
        async with self._database.transaction() as conn:
            row = await store.on_air(conn, channel.id) or await store.prepared(conn, channel.id)
            if row is None:
                row = await store.add(conn, channel.id, title=f"Live on {now():%d %B %Y}", record=self._options.record)
            taken = await store.take(conn, row.id, self._options.node, self._lease)
            if taken is None:
                raise Refused("elsewhere", "This broadcast is live on another server. Try again in a few seconds.")
        try:
            return await self._install(row, *taken)
        except StoreError as error:
            log.warning("broadcast %s cannot go on here: %s", row.id, error)
            raise Refused("store_away", "The store cannot be reached just now. Try again in a few seconds.") from error

    async def adopt(self, row: Broadcast) -> Live | None:
        """Continue here, as interrupted, what was on air in a process that is gone; None while another holds it.
        Raises StoreError when the store has the journal and does not answer."""
        door = self._doors.setdefault(row.channel_id, asyncio.Lock())
        async with door:
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
        if writer not in (None, self._options.node):
            # what this node may have of it is older than what the store has
            await self._spool.abandon(prefix(row.id))
        shelf = self._spool.shelf(prefix(row.id))
        package = LivePackage(replace(self._packaging, record=record), shelf)
        if row.started_at is not None:
            package.resume(await shelf.journal())
        media = Media(str(row.id), self)
        media.add(package)
        live = Live(row, fence, media, package, shelf)
        self._live[live.id] = live
        self._on_channel[row.channel_id] = live
        return live

    # the Watcher

    def on_live(self, broadcast: Media) -> None:
        live = self._live[broadcast.id]
        live.state = State.LIVE
        live.started = True
        self._announcer.state(live.channel, {"state": State.LIVE})
        self._pictures.want(live)
        self._spawn(self._write_live(live, now()))

    def on_tracks(self, broadcast: Media) -> None:
        self._spawn(self._write_tracks(self._live[broadcast.id]))

    def on_interrupted(self, broadcast: Media, reason: str, clean: bool) -> None:
        live = self._live[broadcast.id]
        if live.state is State.CREATED:
            # it never sent a picture: the prepared broadcast waits on, without a live side
            self._drop(live)
            self._note(live.row.channel_id, live.row.id, "left", f"before any media: {reason}")
            self._spawn(self._give_up(live))
            return
        live.state = State.INTERRUPTED
        self._announcer.state(live.channel, {"state": State.INTERRUPTED})
        self._spawn(self._write_interrupted(live, reason))
        if not self._stopping:
            self._await_return(live, self._options.reconnect_window)

    def on_failed(self, broadcast: Media, reader: Reader) -> None:
        live = self._live.get(broadcast.id)
        if live is not None and reader is live.package:
            self._spawn(self.end(live, "its packaging failed; push again to start anew"))

    def _await_return(self, live: Live, seconds: float) -> None:
        live.count_down(seconds, lambda: self._spawn(self.end(live, "the publisher did not come back")))

    # ending

    async def end(self, live: Live, reason: str) -> None:
        """End it, close its recording, tell everybody. What was recorded stays; safe to call twice."""
        if live.state is State.ENDED:
            return
        started = live.started
        live.mark_ended()
        live.media.end(reason)
        await live.package.close()
        recording = _facts(await live.package.finish()) if started else None
        try:
            await self._write_ended(live, recording, reason)
        except Exception:
            self._spawn(self._write_ended_later(live, recording, reason))
            raise

    async def _write_ended(self, live: Live, recording: RecordingFacts | None, reason: str) -> None:
        async with live.writes, self._database.transaction() as conn:
            await store.set_ended(conn, live.row.id, live.fence, now(), recording)
            await channels.add_event(conn, live.row.channel_id, live.row.id, "ended", reason)
        self._said_ended(live, recording is not None)

    async def _write_ended_later(self, live: Live, recording: RecordingFacts | None, reason: str) -> None:
        """The database was away when it ended: try until it is back. A stop leaves it to the next start."""
        while not self._stopping:
            await asyncio.sleep(END_AGAIN)
            try:
                await self._write_ended(live, recording, reason)
                return
            except Exception as error:
                log.warning("the end of broadcast %s is not written yet: %s", live.id, error)

    def _said_ended(self, live: Live, recorded: bool) -> None:
        """The row says that it ended: tell everybody, and keep the live playlists for those who are still behind."""
        self._announcer.state(live.channel, {"state": State.ENDED, "recording": recorded})
        if self._on_channel.get(live.row.channel_id) is live:
            del self._on_channel[live.row.channel_id]
        live.recorded = recorded
        asyncio.get_running_loop().call_later(LINGER if live.started else 0, self._leave, live)

    def _leave(self, live: Live) -> None:
        """The last player is through with the live playlists; what was not recorded goes."""
        self._drop(live)
        self._spawn(self._clean_up(live))

    async def _clean_up(self, live: Live) -> None:
        await live.shelf.close()
        if not live.recorded:
            await self._spool.delete_prefix(prefix(live.row.id))
            async with self._database.acquire() as conn:
                await store.forget_recording(conn, live.row.id)

    async def forget(self, id: str) -> None:
        """The broadcast was deleted: nothing of it is served any more."""
        live = self._live.get(id)
        if live is not None:
            self._drop(live)

    def _drop(self, live: Live) -> None:
        live.stop_countdown()
        if self._live.get(live.id) is live:
            del self._live[live.id]
        if self._on_channel.get(live.row.channel_id) is live:
            del self._on_channel[live.row.channel_id]

    # what is written, in the order it happened

    async def _write_live(self, live: Live, at: datetime) -> None:
        async with live.writes, self._database.transaction() as conn:
            if not await store.set_live(conn, live.row.id, live.fence, live.track_views(), at):
                # another process took it while its publisher was away, or ended it: as at the next heartbeat
                self._spawn(self._lost(live))
                return
            await channels.add_event(conn, live.row.channel_id, live.row.id, "live", _tracks_in_words(live))

    async def _write_tracks(self, live: Live) -> None:
        async with live.writes, self._database.transaction() as conn:
            await store.set_tracks(conn, live.row.id, live.fence, live.track_views())
            await channels.add_event(conn, live.row.channel_id, live.row.id, "tracks", _tracks_in_words(live))

    async def _write_interrupted(self, live: Live, reason: str) -> None:
        if self._options.fleet:
            # the row says it last: whoever then takes it finds all of it in the store
            await self._spool.stored(prefix(live.row.id), STORED_WITHIN)
            if live.state is not State.INTERRUPTED:
                return
        async with live.writes, self._database.transaction() as conn:
            await store.set_interrupted(conn, live.row.id, live.fence)
            await channels.add_event(conn, live.row.channel_id, live.row.id, "interrupted", reason)

    async def _give_up(self, live: Live) -> None:
        async with live.writes, self._database.acquire() as conn:
            await store.give_up(conn, live.row.id, live.fence)

    def _note(self, channel_id: UUID, broadcast_id: UUID | None, kind: str, detail: str) -> None:
        self._spawn(self._write_note(channel_id, broadcast_id, kind, detail))

    async def _write_note(self, channel_id: UUID, broadcast_id: UUID | None, kind: str, detail: str) -> None:
        async with self._database.transaction() as conn:
            await channels.add_event(conn, channel_id, broadcast_id, kind, detail)

    # leases, and what an earlier process left

    async def _heartbeat(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self._renew()
                await self._pick_up()
            except Exception:
                log.exception("leases could not be renewed; trying again in %.0f s", self._heartbeat_seconds)

    async def _renew(self) -> None:
        held = [live for live in self._live.values() if live.state is not State.ENDED]
        if not held:
            return
        async with self._database.acquire() as conn:
            facts = [(live.row.id, live.fence, self._audience.count(live.id)) for live in held]
            ours = await store.renew(conn, self._options.node, facts, self._lease)
        for live in held:
            if live.row.id not in ours and self._live.get(live.id) is live and live.state is not State.ENDED:
                await self._lost(live)

    async def _lost(self, live: Live) -> None:
        """Somebody ended it through another process, deleted it, or took the lease: stop writing to it."""
        if live.state is State.ENDED:
            return
        log.warning("broadcast %s is no longer ours", live.id)
        live.mark_ended()
        async with self._database.acquire() as conn:
            ended = await store.ended_and_ours(conn, live.row.id, live.fence)
        if not ended:
            await live.shelf.abandon()
        live.media.end("the broadcast was ended or moved to another server")
        await live.package.close()
        if ended:
            await self._close_recording(live)
        else:
            self._drop(live)

    async def _close_recording(self, live: Live) -> None:
        """Ended through another process: what is left is the recording, and telling those who hold the channel."""
        facts = _facts(await live.package.finish()) if live.started else None
        async with live.writes, self._database.acquire() as conn:
            await store.set_recording(conn, live.row.id, live.fence, facts)
        self._said_ended(live, facts is not None)

    async def _pick_up(self) -> None:
        """Resume, as interrupted, what a process that is gone had on air; close what nobody came back to for long."""
        async with self._database.acquire() as conn:
            left = await store.left_behind(conn, self._options.node)
        for row, lease_until in left:
            if str(row.id) in self._live or self._stopping:
                continue
            try:
                await self._continue(row, lease_until)
            except StoreError as error:
                # its journal is in a store that is away; the next heartbeat tries again
                log.warning("broadcast %s cannot be continued yet: %s", row.id, error)

    async def _continue(self, row: Broadcast, lease_until: datetime | None) -> None:
        live = await self.adopt(row)
        if live is None or live.media.publisher is not None:
            return
        if row.state is State.ENDED:
            live.mark_ended()
            await live.package.close()
            await self._close_recording(live)
            return
        silent = (now() - lease_until).total_seconds() if lease_until else 0.0
        if silent > self._options.reconnect_window:
            await self.end(live, "the server stopped while it was live")
        else:
            self._announcer.state(live.channel, {"state": State.INTERRUPTED})
            self._spawn(self._write_interrupted(live, "the server was restarted"))
            self._await_return(live, self._options.reconnect_window)

    # tasks

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the director failed", exc_info=task.exception())


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
