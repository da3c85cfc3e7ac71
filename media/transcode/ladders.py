"""A broadcast's picture in smaller sizes, while somebody wants them: one child process for all rungs of a broadcast.

`Ladders` is made once a process and has a Ladder for each broadcast, from when it is first asked for until that ends.
A rung is a derived rendition named after it ("480p"). The first lease on any starts the child; some seconds after the
last lease on a rung it is no longer made, and after that on all of them the child ends.

The child has to keep up with the source. Twice a second a Ladder looks how far behind it is; when that lasts the
highest rung goes, and stays away for a while that grows each time. Of the lowest the pictures up to the next key frame
are left out instead, until that does not help either. What is not offered, and why, is told in the broadcast's `notes`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from media.broadcast import Broadcast, Derived
from media.package.colour import picture_of
from media.samples import VIDEO_TIMESCALE, Codec, Kind, Sample, Track
from media.transcode.ladder import DECODERS, HDR, Batch, Begin, Made, Refused, Rungs
from media.transcode.rungs import NEAR, Step, expected, lines, steps_of
from media.transcode.stream_child import StreamChild
from media.vod.options import Rung

log = logging.getLogger(__name__)

MODULE = "media.transcode.ladder"
NOTE = "ladder"
LINGER_SECONDS = 10.0
"""How long a rung goes on after its last lease."""
BUFFER_BYTES = 6 << 20
LOOK_SECONDS = 0.5
LATE = 1.5
"""Seconds behind the source that are too much when they do not get fewer."""
GRACE = 4.0
"""Seconds that the child has to catch up after it began, or after something was taken off it."""
CATCHES_UP = 0.25
"""A child that is behind by so much less at each look needs no help, s."""
MOST_SKIPS = 4
"""The lowest rung skips to the next key frame so often in a row before it goes, too."""
BACK, LONGEST_BACK = 30.0, 600.0
"""Seconds until a rung that went is offered again; doubled each time it goes again."""
PROVEN = 120.0
"""Seconds after which a rung has proven itself."""
REPLAY_SECONDS = 4.0
"""Frames since the last key frame are made up for when they are no more than this."""


class LadderBusy(Exception):
    """The rung cannot be made just now; the caller goes without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderOptions:
    """rungs: from high to low; none: no ladders. most: ladders, and so child processes, at once. linger: s from the
    last lease on a rung to its end. late, grace, back: as LATE, GRACE and BACK."""

    rungs: Sequence[Rung] = ()
    most: int = 1
    linger: float = LINGER_SECONDS
    late: float = LATE
    grace: float = GRACE
    back: float = BACK


class RungLease:
    """Somebody's wish for a rung; it is made until all of them are released."""

    def __init__(self, making: Making) -> None:
        self._making: Making | None = making
        self.derived: Derived = making.derived

    def release(self) -> None:
        """Safe to call twice, and after the rung or the broadcast has ended."""
        making, self._making = self._making, None
        if making is not None:
            making.release(self)


class Making:
    """One rung that is being made."""

    def __init__(self, ladder: Ladder, name: str) -> None:
        self.name = name
        self.derived = ladder.broadcast.derive(name, listed=True)
        self.since = time.monotonic()
        self.waits = True
        """For a key frame of an encoder that has just begun."""
        self.last = -(1 << 62)
        self.track: Track | None = None
        self._ladder = ladder
        self._leases: set[RungLease] = set()
        self._timer: asyncio.TimerHandle | None = None

    def lease(self) -> RungLease:
        self._stop_timer()
        lease = RungLease(self)
        self._leases.add(lease)
        return lease

    def release(self, lease: RungLease) -> None:
        self._leases.discard(lease)
        if not self._leases and not self.derived.closed and self._timer is None:
            linger = self._ladder.options.linger
            self._timer = asyncio.get_running_loop().call_later(linger, self._ladder.drop, self.name)

    def close(self) -> None:
        self._stop_timer()
        self.derived.close()

    def restart(self) -> None:
        """What comes next is of another encoder, or on another clock."""
        self.waits = True

    def take(self, made: Made) -> None:
        if made.first:
            self.waits = True
        if self.waits:
            if not made.key or made.dts <= self.last:
                return  # what it shows was there already
            self.waits = False
        if made.key:
            track = Track(
                1, Codec.H264, VIDEO_TIMESCALE, made.config, made.codec_string, made.width, made.height,
                self._ladder.frame_rate,
            )  # fmt: skip
            if not self.derived.track(track):
                self.waits = True
                return
        self.last = made.dts
        self.derived.samples([Sample(1, made.dts, made.pts, made.key, made.data)])

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "leases": len(self._leases), "waits": self.waits}


@dataclass(slots=True)
class Absence:
    """Until when a rung is not offered. wait: the next absence, s."""

    until: float
    wait: float


class Ladders:
    """All ladders of this process."""

    def __init__(self, options: LadderOptions) -> None:
        self.options = options
        self._ladders: dict[str, Ladder] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def of(self, broadcast: Broadcast) -> Ladder:
        ladder = self._ladders.get(broadcast.id)
        if ladder is None or ladder.broadcast is not broadcast:
            ladder = Ladder(self, broadcast)
            if not broadcast.ended:
                self._ladders[broadcast.id] = ladder
                broadcast.add(ladder)
        return ladder

    @property
    def full(self) -> bool:
        return sum(ladder.running for ladder in self._ladders.values()) + len(self._ending) >= self.options.most

    async def close(self) -> None:
        for ladder in list(self._ladders.values()):
            ladder.on_end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        return {
            "rungs": [rung.name for rung in self.options.rungs],
            "most": self.options.most,
            "running": [ladder.describe() for ladder in self._ladders.values() if ladder.running],
            "ending": len(self._ending),
        }

    def ended(self, ladder: Ladder) -> None:
        """Called by one whose broadcast has ended."""
        if self._ladders.get(ladder.broadcast.id) is ladder:
            del self._ladders[ladder.broadcast.id]

    def see_off(self, child: StreamChild) -> None:
        task = asyncio.get_running_loop().create_task(child.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class Ladder:
    """One broadcast's: reads it, feeds the child, hands on what it makes."""

    def __init__(self, ladders: Ladders, broadcast: Broadcast) -> None:
        self.broadcast = broadcast
        self.options = ladders.options
        self.frame_rate = 0.0
        self.skips = 0
        self._ladders = ladders
        self._child: StreamChild | None = None
        self._makings: dict[str, Making] = {}
        self._absent: dict[str, Absence] = {}
        self._source: Track | None = None
        self._steps: list[Step] = []
        self._refused = ""
        self._number = 0
        self._former = 0  # of the same clock, before the source changed
        self._ready = False
        self._skipping = False
        self._sent = self._came = 0  # pts of the newest frame that was sent, and of the newest that came back
        self._began = 0.0
        self._lag = 0.0
        self._rate = 0.0
        self._skips_in_row = 0
        self._timer: asyncio.TimerHandle | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Made | Refused).decode

    # what can be had

    def offers(self) -> list[Step]:
        """What can be asked for just now, from high to low; `rate` is what it will take beside this source."""
        self._say()
        if self._child is None and self._ladders.full:
            return []
        source = self._source_rate()
        return [step._replace(rate=expected(step, source)) for step in self._possible()]

    def want(self, name: str) -> RungLease:
        """Have that rung made, as a listed derived rendition. Raises LadderBusy, also for what cannot be had."""
        if self.broadcast.ended:
            raise LadderBusy
        making = self._makings.get(name)
        if making is None:
            if all(step.name != name for step in self._possible()) or (self._child is None and self._ladders.full):
                raise LadderBusy
            making = self._makings[name] = Making(self, name)
            if self._child is None:
                self._child = StreamChild(MODULE, self, buffer_bytes=BUFFER_BYTES)
                self._child.start()
                self._look()
            else:
                self._tell_rungs()
                self.broadcast.want_key()
            self._settle()
        return making.lease()

    @property
    def running(self) -> bool:
        return self._child is not None

    def drop(self, name: str) -> None:
        """Nobody wants this rung any more, or it is too much."""
        making = self._makings.pop(name, None)
        if making is None:
            return
        making.close()
        if self._makings:
            self._tell_rungs()
        else:
            self._stop()

    def describe(self) -> dict[str, object]:
        return {
            "broadcast": self.broadcast.id,
            "rungs": [making.describe() for making in self._makings.values()],
            "absent": sorted(self._away()),
            "behind": round(self._lag, 3),
            "skips": self.skips,
            "child": self._child.describe() if self._child is not None else None,
        }

    # Reader of the broadcast

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._rate = 0.0
        self._restart()
        self._look_at(tracks)
        self._begin()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """A decoder that knows the new configuration; what the one before it has not given out yet still counts."""
        self._look_at(tracks)
        self._begin(anew=False)

    def _look_at(self, tracks: tuple[Track, ...]) -> None:
        source = next((track for track in tracks if track.kind is Kind.VIDEO), None)
        self._source = source if source is not None and source.codec in DECODERS else None
        self._steps, self._refused = [], ""
        if self._source is not None:
            self.frame_rate = self._source.frame_rate
            self._steps = steps_of(self.options.rungs, self._source.width, self._source.height, self.frame_rate)
            colour = picture_of(self._source.codec, self._source.config).colour
            if colour is not None and colour[1] in HDR:
                self._refuse("it has a high dynamic range")
        for name in [name for name in self._makings if all(step.name != name for step in self._possible())]:
            self.drop(name)

    def on_samples(self, batch: Sequence[Sample]) -> None:
        if not self._ready or self._source is None:
            return
        frames = []
        for sample in batch:
            if sample.track != 1:
                continue
            if sample.key:
                self._skipping = False
            if not self._skipping:
                frames.append((sample.dts, sample.pts, sample.key, bytes(sample.data)))
        if frames:
            self._send(frames)

    def on_interrupted(self) -> None:
        self._source = None
        self._restart()

    def on_end(self) -> None:
        for name in list(self._makings):
            self.drop(name)
        self._stop()
        self.broadcast.notes.pop(NOTE, None)
        self.broadcast.remove(self)
        self._ladders.ended(self)

    # Owner of the child

    def on_child(self) -> None:
        self._ready = True
        self._begin()

    def on_child_gone(self) -> None:
        self._ready = False

    def on_message(self, message: bytes) -> None:
        made = self._decode(message)
        if made.number not in (self._number, self._former):
            return  # of a timeline that is over
        if isinstance(made, Refused):
            self._refuse(made.words)
            return
        self._came = max(self._came, made.pts)
        making = self._makings.get(made.rung)
        if making is not None:
            making.take(made)

    # feeding it

    def _restart(self) -> None:
        """The source is on another clock from here on."""
        self._number += 1
        self._former = 0
        for making in self._makings.values():
            making.restart()
            making.last = -(1 << 62)

    def _begin(self, *, anew: bool = True) -> None:
        """anew: with what is kept since the last key frame, or one that is asked for; else one is on its way."""
        source = self._source
        if source is None or not self._ready or self._child is None or not self._makings:
            return
        self._former = 0 if anew else self._number
        self._number += 1
        if anew:
            for making in self._makings.values():
                making.restart()
        self._tell_rungs()
        self._child.send(self._encode(Begin(self._number, source.codec.value, source.config, source.frame_rate)))
        self._settle()
        gop = self.broadcast.gop
        self._skipping = True
        if gop and (gop[-1].dts - gop[0].dts) <= REPLAY_SECONDS * VIDEO_TIMESCALE:
            self._skipping = False
            self._sent = self._came = gop[0].pts
            self._send([(s.dts, s.pts, s.key, bytes(s.data)) for s in gop])
        else:
            self._sent = self._came = 0
            if anew:
                self.broadcast.want_key()

    def _send(self, frames: list[tuple[int, int, bool, bytes]]) -> None:
        assert self._child is not None
        if not self._came:
            self._came = frames[0][1]
        if self._child.send(self._encode(Batch(self._number, frames))):
            self._sent = max(self._sent, frames[-1][1])
        else:
            self._skip()

    def _skip(self) -> None:
        """Leave out what comes up to the next key frame: without what was lost it means nothing."""
        if not self._skipping:
            self._skipping = True
            self.skips += 1
            self._skips_in_row += 1

    def _tell_rungs(self) -> None:
        if self._child is None or not self._ready:
            return
        source = self._source_rate()
        steps = [step._replace(rate=expected(step, source)) for step in self._steps if step.name in self._makings]
        self._child.send(self._encode(Rungs(steps)))

    def _stop(self) -> None:
        child, self._child = self._child, None
        self._ready = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if child is not None:
            self._ladders.see_off(child)

    # keeping up

    def _settle(self) -> None:
        """Something changed: what is behind now is judged later."""
        self._began = time.monotonic()
        self._lag = 0.0

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        now = time.monotonic()
        before, self._lag = self._lag, max(0, self._sent - self._came) / VIDEO_TIMESCALE
        if now - self._began < self.options.grace or not self._ready:
            return
        if self._lag < self.options.late:
            self._skips_in_row = 0
            self._prove(now)
        elif self._lag > before - CATCHES_UP:
            self._relieve(now)

    def _relieve(self, now: float) -> None:
        """It does not keep up: the highest rung goes, the lowest skips."""
        order = [step.name for step in self._steps if step.name in self._makings]
        if len(order) > 1 or self._skips_in_row >= MOST_SKIPS:
            name = order[0]
            absence = self._absent.setdefault(name, Absence(now, self.options.back))
            absence.until = now + absence.wait
            absence.wait = min(2 * absence.wait, LONGEST_BACK)
            self._skips_in_row = 0
            log.warning("broadcast %s: %s is %.1f s behind and no longer made", self.broadcast.id, name, self._lag)
            self.drop(name)
            self._say()
        elif order:
            self._skip()
        self._settle()

    def _prove(self, now: float) -> None:
        for name, making in self._makings.items():
            if name in self._absent and now - making.since > PROVEN:
                del self._absent[name]

    def _away(self) -> set[str]:
        """Rungs that are not offered because they were too much."""
        now = time.monotonic()
        lowest = max((n for n, step in enumerate(self._steps) if self._is_absent(step.name, now)), default=-1)
        return {step.name for step in self._steps[: lowest + 1] if step.name not in self._makings}

    def _is_absent(self, name: str, now: float) -> bool:
        absence = self._absent.get(name)
        return absence is not None and now < absence.until

    def _possible(self) -> list[Step]:
        """Below the source, not too much just now, and not there already in another way (simulcast)."""
        if self._refused or self._source is None:
            return []
        away = self._away()
        others = [
            lines(track.width, track.height)
            for name, derived in self.broadcast.derived.items()
            if name not in self._makings and (track := derived.current) is not None and track.kind is Kind.VIDEO
        ]
        return [
            step
            for step in self._steps
            if step.name not in away
            and not any(1 / NEAR < lines(step.width, step.height) / other < NEAR for other in others)
        ]

    def _refuse(self, words: str) -> None:
        self._refused = words
        for name in list(self._makings):
            self.drop(name)
        self._say()

    def _source_rate(self) -> float:
        """The most that the source was seen to take on this timeline, bit/s."""
        self._rate = max(self._rate, self.broadcast.health.describe()["bitrate"])
        return self._rate

    def _say(self) -> None:
        """For the person who publishes."""
        words = ""
        if self._refused and self._steps:
            words = f"No smaller pictures are made of this one: {self._refused}."
        elif away := [step.name for step in self._steps if step.name in self._away()]:
            verb = "is" if len(away) == 1 else "are"
            words = f"The machine is busy: {_listed(away)} {verb} not offered just now."
        elif self._steps and self._child is None and self._ladders.full:
            words = "The machine makes smaller pictures of as many broadcasts as it can: none are offered of this one."
        if words:
            self.broadcast.notes[NOTE] = words
        else:
            self.broadcast.notes.pop(NOTE, None)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
