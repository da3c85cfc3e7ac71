"""Saying one thing to many without holding the loop.

`Fanout` is a node's: it writes for at most a few milliseconds in one turn of the loop, then lets everything else have
its turn, and goes round the channels that have something to say. An `Outbox` is a channel's: what is to be said, in one
order for all who hold the channel. What came while the last round was still being written is joined and goes out as one
write to each connection. Both die with the hub; an outbox with its channel.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from realtime.protocol.codec import Codec
from realtime.session import Session

Holders = Mapping[Codec, Mapping[Session, None]]

_BATCH = 32 * 1024  # a write to one connection is not made larger by joining, bytes
_NOTHING: Mapping[Session, bytes] = MappingProxyType({})
_NONE: Mapping[int, bytes] = MappingProxyType({})
_STRIDE = 16  # writes between two looks at the clock
_LOOKS = 8  # times that it is looked at who takes what he is sent, while as much is said as may wait for one


class Batch:
    """What goes to a holder in one write. `late`: who came while it was gathered, and where it begins for him. `other`:
    who gets something else at some places, nothing (b"") or a view of his own.
    """

    __slots__ = ("frames", "late", "other", "size")

    def __init__(self) -> None:
        self.frames: dict[Codec, list[bytes]] = {}
        self.late: dict[Session, int] = {}
        self.other: dict[Session, dict[int, bytes]] = {}
        self.size = 0


class Part:
    """The same bytes for these sessions, a few at a time. `looks`: whether it is looked at how much waits for each."""

    __slots__ = ("at", "data", "looks", "sessions")

    def __init__(self, sessions: list[Session], data: bytes, looks: bool) -> None:
        self.sessions = sessions
        self.data = data
        self.looks = looks
        self.at = 0

    def some(self) -> list[Session]:
        some = self.sessions[self.at : self.at + _STRIDE]
        self.at += len(some)
        return some


class Outbox:
    """`tick`: seconds between the beginnings of two rounds, the time in which messages are gathered into one write; 0:
    none; None: none unless messages come faster than they can be written, then as long as the last round took, up to
    `most`.
    """

    __slots__ = (
        "_began",
        "_fanout",
        "_gone",
        "_holders",
        "_most",
        "_part",
        "_pending",
        "_round",
        "_tick",
        "_unseen",
        "queued",
    )

    def __init__(self, fanout: Fanout, holders: Holders, tick: float | None = 0.0, most: float = 0.05) -> None:
        self._fanout = fanout
        self._holders = holders
        self._tick = tick
        self._most = most
        self._pending: deque[Batch] = deque()
        self._round: Iterator[Part] | None = None
        self._part: Part | None = None
        self._unseen = 0  # bytes that went to each since it was looked at who takes them
        self._gone: set[Session] = set()
        self._began = -1e9
        self.queued = False

    @property
    def backlog(self) -> int:
        """Bytes that have not begun to be written, for one connection."""
        return sum(batch.size for batch in self._pending)

    def put(
        self,
        frame: Callable[[Codec], bytes],
        but: Collection[Session] = (),
        instead: Mapping[Session, bytes] = _NOTHING,
    ) -> None:
        """Say this to everybody who holds the channel now, but for these, and something else to those. `frame` is asked
        once for each format.
        """
        if not self._holders:
            return
        pending = self._pending
        if pending and pending[-1].size < _BATCH:
            batch = pending[-1]
        else:
            batch = Batch()
            pending.append(batch)
        longest = 0
        for codec in self._holders:
            framed = frame(codec)
            frames = batch.frames.get(codec)
            if frames is None:
                batch.frames[codec] = [framed]
            else:
                frames.append(framed)
            longest = max(longest, len(framed))
        batch.size += longest
        for session, framed in (*((session, b"") for session in but), *instead.items()):
            if session.codec in batch.frames:
                batch.other.setdefault(session, {})[len(batch.frames[session.codec]) - 1] = framed
        if not self.queued:
            self.queued = True
            self._fanout.add(self, self._began + self._tick if self._tick else 0.0)

    def join(self, session: Session) -> None:
        """The session came now, and knows already what waits here."""
        for batch in self._pending:
            batch.late[session] = len(batch.frames.get(session.codec, ()))

    def leave(self, session: Session) -> None:
        """Nothing more goes to this session, not even what waits."""
        if self._round is not None:
            self._gone.add(session)

    def advance(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Write until the round is over (True) or the time is up (False)."""
        if self._round is None:
            self._began = clock()
            self._round = self._plan(self._pending.popleft())
        gone = self._gone
        while True:
            part = self._part or next(self._round, None)
            if part is None:
                self._round = None
                gone.clear()
                return True
            some = part.some()
            self._part = part if some else None
            data = part.data
            if gone or part.looks:
                for session in some:
                    if session not in gone:
                        session.write(data)
            else:
                written = 0
                try:
                    for session in some:
                        written += 1
                        session.put(data)
                except RuntimeError:  # closed under our hands; whoever reads from it notices by himself
                    part.at -= len(some) - written
            if clock() >= deadline:
                return False

    def next_round(self, now: float) -> float | None:
        """When the next round is to begin, after one is over; None when there is nothing to say."""
        pending = self._pending
        if not pending:
            self.queued = False
            return None
        if len(pending) > 1:
            return 0.0
        if self._tick is None:
            return now + min(self._most, now - self._began)
        return self._began + self._tick

    def _plan(self, batch: Batch) -> Iterator[Part]:
        late, other = batch.late, batch.other
        rounds = []
        for codec, frames in batch.frames.items():
            group = self._holders.get(codec)
            if group:
                rounds.append((list(group), frames, frames[0] if len(frames) == 1 else b"".join(frames)))
        for sessions, frames, joined in rounds:
            self._unseen += len(joined)
            looks = self._unseen * _LOOKS >= sessions[0].buffer
            if looks:
                self._unseen = 0
            if not late and not other:
                yield Part(sessions, joined, looks)
                continue
            own = [session for session in sessions if session in late or session in other]
            yield Part([session for session in sessions if session not in late and session not in other], joined, looks)
            for session in own:
                first, his = late.get(session, 0), other.get(session, _NONE)
                if due := b"".join(his.get(at, one) for at, one in enumerate(frames) if at >= first):
                    yield Part([session], due, True)


class Fanout:
    """`budget`: seconds of one turn of the loop."""

    def __init__(self, budget: float = 0.002, clock: Callable[[], float] = time.perf_counter) -> None:
        self._budget = budget
        self._clock = clock
        self._busy: deque[Outbox] = deque()
        self._scheduled: asyncio.Handle | None = None
        self._timers: dict[Outbox, asyncio.TimerHandle] = {}
        self._figures = {"rounds": 0, "turns": 0}

    def close(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._busy.clear()
        self._timers.clear()

    def describe(self) -> dict[str, Any]:
        return {"busy_channels": len(self._busy), **self._figures}

    def add(self, outbox: Outbox, due: float) -> None:
        """Begin a round of this outbox, not before `due` (by the clock)."""
        wait = due - self._clock()
        if wait > 0:
            self._timers[outbox] = asyncio.get_running_loop().call_later(wait, self._is_due, outbox)
            return
        self._busy.append(outbox)
        self._schedule()

    def _is_due(self, outbox: Outbox) -> None:
        self._timers.pop(outbox, None)
        self._busy.append(outbox)
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = None
        busy, clock = self._busy, self._clock
        self._figures["turns"] += 1
        deadline = clock() + self._budget
        while busy:
            outbox = busy.popleft()
            if outbox.advance(deadline, clock):
                self._figures["rounds"] += 1
                due = outbox.next_round(clock())
                if due is not None:
                    self.add(outbox, due)
            else:
                busy.append(outbox)
            if clock() >= deadline:
                break
        if busy:
            self._schedule()
