"""The pushes of this process: one Pusher for each target of each broadcast whose live side is here.

What should run is read from the targets' rows, what runs is here, and a round brings one to the other; so an edit in
any process of a fleet, a restart and a take-over by another process all end in the same way. Owns its Pushers and one
task, from `start` to `close`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from media.egress.restream import Pusher, PushState, RestreamOptions
from media.egress.restream_feed import Sounds
from media.protocols.rtmp.client import Target as RtmpTarget
from server.kit.clock import now
from server.kit.secrets import BrokenSeal, Secrets
from server.streaming.broadcasts.live import Live
from server.streaming.channels import store as channels
from server.streaming.restream import store
from server.streaming.restream.address import BadAddress, parse
from server.streaming.restream.dialer import Dialer
from server.streaming.restream.models import Push, Target
from storage.postgres import Database

log = logging.getLogger(__name__)

PURPOSE = "restream key"
TICK = 1.0
"""Seconds between two rounds, when nothing asks for one before."""
LOOK = 2.0
"""Seconds after which the rows are read again: what was changed in another process."""
WRITE = 5.0
"""Seconds after which figures are written; a changed state is written at once."""
AT_ONCE = 0.05
SAME_WORDS = 60.0
"""What was told of a target is not told again within so many seconds."""
EVENT = "target"
UNREADABLE = "its stream key cannot be read any more: enter it again"

Which = tuple[str, UUID]
"""The broadcast and the target."""


class Lives(Protocol):
    """The broadcasts that are held here."""

    def __iter__(self) -> Iterator[Live]: ...


@dataclass(eq=False, slots=True)
class _Running:
    """before: of an earlier process, of the same broadcast and revision. told: words, and when."""

    live: Live
    target: Target
    pusher: Pusher
    before: Push | None
    written: Push | None = None
    written_at: float = 0.0
    told: dict[str, float] = field(default_factory=dict)
    leaving: str = ""


class Pushes:
    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        lives: Lives,
        dialer: Dialer,
        options: RestreamOptions,
        sounds: Sounds | None,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._lives = lives
        self._dialer = dialer
        self._options = options
        self._sounds = sounds
        self._running: dict[Which, _Running] = {}
        self._leaving: dict[Which, asyncio.Task[None]] = {}
        self._settled: dict[Which, int] = {}  # revisions that were refused before this process had them
        self._final: list[tuple[Push, int]] = []
        self._events: list[tuple[UUID, UUID, str]] = []
        self._wake = asyncio.Event()
        self._looked = 0.0
        self._seen: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
                await asyncio.sleep(AT_ONCE)  # what changes together is looked at together
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._round()
            except Exception:
                log.exception("pushes to targets could not be looked after; trying again in %.0f s", TICK)

    async def close(self) -> None:
        """Hang up on all targets. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(
            *(running.pusher.close() for running in self._running.values()),
            *self._leaving.values(),
            return_exceptions=True,
        )
        self._running.clear()

    def describe(self) -> dict[str, object]:
        states = dict.fromkeys((state.value for state in PushState), 0)
        for running in self._running.values():
            states[running.pusher.state.value] += 1
        return {"targets": len(self._running), **states}

    def changed(self) -> None:
        """Rows were changed in this process."""
        self._looked = 0.0
        self._wake.set()

    def of(self, target_id: UUID) -> Push | None:
        """The push that runs here, as it is at this moment."""
        for (_, id), running in self._running.items():
            if id == target_id:
                return _told(running)
        return None

    # rounds

    async def _round(self) -> None:
        live = {one.row.channel_id: one for one in self._lives if one.on_air and one.ending is None}
        here = {one.id: one for one in live.values()}
        for which, running in list(self._running.items()):
            if here.get(which[0]) is not running.live:
                self._leave(which)
        self._settled = {which: revision for which, revision in self._settled.items() if which[0] in here}
        clock = time.monotonic()
        if live and (clock - self._looked >= LOOK or not self._seen.issuperset(here)):
            self._looked = clock
            await self._match(live)
        self._seen = set(here)
        await self._write(clock)

    async def _match(self, live: dict[UUID, Live]) -> None:
        async with self._database.acquire() as conn:
            targets = await store.of_channels(conn, live)
            wanted = {
                (live[target.channel_id].id, target.id): target
                for target in targets
                if target.stopped_for != live[target.channel_id].row.id
            }
            fresh = [which for which in wanted if which not in self._running]
            before = await store.pushes(conn, [id for _, id in fresh]) if fresh else {}
        for which, running in list(self._running.items()):
            target = wanted.get(which)
            if target is None:
                self._leave(which, "stopped")
            elif target.revision != running.target.revision:
                self._leave(which)
            else:
                running.target = target  # its name may be another
        for which, target in wanted.items():
            if which not in self._running and which not in self._leaving:
                self._begin(which, live[target.channel_id], target, before.get(target.id))

    def _begin(self, which: Which, live: Live, target: Target, before: Push | None) -> None:
        if self._settled.get(which) == target.revision:
            return
        if before is not None and before.broadcast_id == live.row.id and before.revision == target.revision:
            if before.state == PushState.REFUSED:
                self._settled[which] = target.revision
                return
        else:
            before = None
        try:
            key = self._secrets.open(PURPOSE, target.sealed_key, target.id.bytes).decode()
            address = parse(target.url)
        except (BrokenSeal, BadAddress):
            log.warning("target %s: its key or address cannot be read", target.id)
            self._settled[which] = target.revision
            refused = Push(
                target.id, live.row.id, target.revision, PushState.REFUSED, now(), 0.0, 0, 0, 0, UNREADABLE, ""
            )  # fmt: skip
            self._final.append((refused, live.fence))
            self._events.append((target.channel_id, live.row.id, f"{target.name}: {UNREADABLE}"))
            return
        pusher = Pusher(
            live.media,
            RtmpTarget(address.app, address.url, key),
            partial(self._dialer.open, address),
            self._options,
            sounds=self._sounds,
            on_change=partial(self._on_change, which),
        )
        self._running[which] = _Running(live, target, pusher, before)
        pusher.start()

    def _leave(self, which: Which, word: str = "") -> None:
        """Its connection is closed before another of the same begins."""
        running = self._running.pop(which)
        running.leaving = word
        task = asyncio.get_running_loop().create_task(self._see_off(running))
        self._leaving[which] = task
        task.add_done_callback(partial(self._left, which))

    async def _see_off(self, running: _Running) -> None:
        refused = running.pusher.state is PushState.REFUSED
        await running.pusher.close()
        last = _told(running)
        if not refused:
            last = replace(last, state=PushState.STOPPED, bitrate=0.0)
        self._final.append((last, running.live.fence))
        if running.leaving and not refused:
            self._note(running, running.leaving)

    def _left(self, which: Which, task: asyncio.Task[None]) -> None:
        self._leaving.pop(which, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a push could not be ended", exc_info=error)
        self.changed()

    # telling

    def _on_change(self, which: Which, pusher: Pusher) -> None:
        running = self._running.get(which)
        if running is None or running.pusher is not pusher:
            return
        if pusher.state is PushState.PUSHING:
            self._note(running, f"on air there{f'; {pusher.note}' if pusher.note else ''}")
        elif pusher.state is PushState.RETRYING:
            self._note(running, f"{pusher.error}; trying again")
        elif pusher.state is PushState.REFUSED:
            self._note(running, f"{pusher.error}; not tried again until you start it")
        running.written_at = 0.0
        self._wake.set()

    def _note(self, running: _Running, words: str) -> None:
        clock = time.monotonic()
        if clock - running.told.get(words, -SAME_WORDS) < SAME_WORDS:
            return
        running.told = {said: at for said, at in running.told.items() if clock - at < SAME_WORDS}
        running.told[words] = clock
        target = running.target
        self._events.append((target.channel_id, running.live.row.id, f"{target.name}: {words}"))

    async def _write(self, clock: float) -> None:
        due = list(self._due(clock))
        final, self._final = self._final, []
        events, self._events = self._events, []
        if not (due or final or events):
            return
        told = [(_told(running), running.live.fence) for running in due]
        try:
            async with self._database.transaction() as conn:
                await store.write(conn, [*final, *told])
                for channel_id, broadcast_id, words in events:
                    await channels.add_event(conn, channel_id, broadcast_id, EVENT, words)
        except BaseException:
            self._final, self._events = final + self._final, events + self._events
            raise
        for running, (push, _) in zip(due, told, strict=True):
            running.written, running.written_at = push, clock

    def _due(self, clock: float) -> Iterable[_Running]:
        for running in self._running.values():
            if clock - running.written_at >= WRITE and _told(running) != running.written:
                yield running


def _told(running: _Running) -> Push:
    pusher, before, target = running.pusher, running.before, running.target
    return Push(
        target_id=target.id,
        broadcast_id=running.live.row.id,
        revision=target.revision,
        state=pusher.state.value,
        since=datetime.fromtimestamp(pusher.since, UTC),
        bitrate=round(pusher.bitrate),
        sent_bytes=pusher.sent_bytes + (before.sent_bytes if before else 0),
        dropped=pusher.dropped + (before.dropped if before else 0),
        reconnects=pusher.reconnects + (before.reconnects + 1 if before else 0),
        error=pusher.error,
        note=pusher.note,
    )
