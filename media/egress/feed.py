"""One elementary stream of a broadcast, made ready for RTP once for all who watch it.

A Feed is a reader of a broadcast, or of one of its derived renditions, for one kind of media. It makes each sample a
Frame: payloads that all viewers share and a time on the clock of the programme. The frames since the last key frame are
kept, within bounds, for those who come in between. It begins with the first viewer who needs it and ends with the last.

RTP players expect pictures in the order in which they are shown: B-frames that no other picture needs are left out; a
stream with B-frames that others need cannot be played so, and the feed says it in `problem`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from media.broadcast import GOP_BYTES, GOP_SAMPLES
from media.egress.clock import ProgrammeClock
from media.egress.payloads import NotPlayable, Packetiser, packetiser_of
from media.protocols.errors import MediaError
from media.samples import Kind, Sample, Track

RATE_SECONDS = 2.0
"""What `bitrate` is the mean of."""
LATE_SECONDS, CATCHING_UP = 0.2, 2.0
"""Sound that is converted begins with what gathered while the converter started. Sent on, players would keep that as
delay: of what comes in the first seconds, what is late is left out."""
JUDGED_FRAMES = 8
"""After so many frames a stream with B-frames has shown them: an encoder puts at most so many between two others."""


class Frame:
    """One coded picture, or one packet of sound. `ts`: ticks of the feed's rate, not cut to 32 bits. size: bytes of all
    payloads."""

    __slots__ = ("feed", "key", "payloads", "size", "ts")

    def __init__(self, feed: Feed, payloads: Sequence[bytes], ts: int, key: bool) -> None:
        self.feed = feed
        self.payloads = payloads
        self.ts = ts
        self.key = key
        self.size = sum(map(len, payloads))


class Source(Protocol):
    """A Broadcast, or one of its Derived."""

    def add(self, reader: Feed) -> None: ...

    def remove(self, reader: Feed) -> None: ...


class Feed:
    """`deliver` is called with each frame, on the loop. `on_change`: with the feed, when its track came, went or cannot
    be played."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        source: Source,
        clock: ProgrammeClock,
        deliver: Callable[[Frame], None],
        on_change: Callable[[Feed], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.kind = kind
        self.source = source
        self.track: Track | None = None
        self.problem: NotPlayable | None = None
        """Why what comes cannot be sent; None while it can."""
        self.bitrate = 0.0
        self.key_bitrate = 0.0
        """What the key frames alone come to, bit/s."""
        self.interrupted = True
        self.damaged = 0
        self._clock = clock
        self._deliver = deliver
        self._on_change = on_change
        self._monotonic = monotonic
        self._packetise: Packetiser | None = None
        self._gop: list[Frame] = []
        self._gop_bytes = 0
        self._offset = 0
        self._placed = False
        self._last_ts = -1
        self._began = 0.0
        self._catching_up = False
        self._seen = 0
        self._bytes: deque[tuple[float, int, int]] = deque()
        self._sum = self._key_sum = 0

    def start(self) -> None:
        self.source.add(self)

    def close(self) -> None:
        self.source.remove(self)
        self._forget()

    @property
    def rate(self) -> int:
        return self.track.timescale if self.track is not None else 0

    @property
    def gop(self) -> Sequence[Frame]:
        """From the last key frame to now; empty when there is none, or when it was too much to keep."""
        return self._gop

    @property
    def judged(self) -> bool:
        """Whether enough was seen to say that the stream can be played, or that it cannot."""
        packetise = self._packetise
        return packetise is None or not packetise.may_reorder or self._seen >= JUDGED_FRAMES

    # the Reader

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        track = next((t for t in tracks if t.kind is self.kind), None)
        self._forget()
        self.interrupted = track is None
        self._placed = False
        self._seen = 0
        self.problem = None
        self.track = track
        self._packetise = None
        self._began = self._monotonic()
        self._catching_up = self.kind is Kind.AUDIO
        if track is not None:
            try:
                self._packetise = packetiser_of(track)
            except NotPlayable as problem:
                self.problem = problem
        self._on_change(self)

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """The clock, and what viewers have, go on; B-frames are looked for anew."""
        track = next((t for t in tracks if t.kind is self.kind), None)
        if track is None or track == self.track:
            return
        self.track, self._packetise, self.problem = track, None, None
        self._forget()
        self._seen = 0
        try:
            self._packetise = packetiser_of(track)
        except NotPlayable as problem:
            self.problem = problem
            self._on_change(self)

    def on_samples(self, batch: Sequence[Sample]) -> None:
        track, packetise = self.track, self._packetise
        if track is None or packetise is None:
            return
        mine = [sample for sample in batch if sample.track == track.id]
        if not mine:
            return
        rate = track.timescale
        offset = self._clock.place(mine[0].pts / rate, mine[-1].pts / rate)
        if not self._placed:
            self._offset = round(offset * rate)
            self._placed = True
        for sample in mine:
            if not self._sample(sample, packetise):
                return

    def on_interrupted(self) -> None:
        """Viewers keep what they see; whoever comes now waits."""
        self._forget()
        self.interrupted = True
        self._on_change(self)

    def on_end(self) -> None:
        self.on_interrupted()

    def _sample(self, sample: Sample, packetise: Packetiser) -> bool:
        """False when nothing more of this stream can be sent."""
        self._seen += 1
        try:
            payloads = packetise.payloads(sample)
        except NotPlayable as problem:
            self.problem = problem
            self._packetise = None
            self._forget()
            self._on_change(self)
            return False
        except MediaError:
            self.damaged += 1
            return True
        if not payloads:
            return True
        ts = max(sample.pts + self._offset, self._last_ts + 1)
        if self._catching_up and self._is_late(ts):
            return True
        self._last_ts = ts
        frame = Frame(self, payloads, ts, sample.key)
        self._count(frame)
        if self.kind is Kind.VIDEO:
            self._keep(frame)
        self._deliver(frame)
        return True

    def _is_late(self, ts: int) -> bool:
        self._catching_up = self._monotonic() < self._began + CATCHING_UP
        return self._catching_up and self._clock.now() - ts / self.rate > LATE_SECONDS

    def _keep(self, frame: Frame) -> None:
        gop = self._gop
        if frame.key:
            self._gop = [frame]
            self._gop_bytes = frame.size
        elif gop:
            if self._gop_bytes + frame.size > GOP_BYTES or len(gop) >= GOP_SAMPLES:
                self._forget()
                return
            gop.append(frame)
            self._gop_bytes += frame.size

    def _forget(self) -> None:
        self._gop = []
        self._gop_bytes = 0

    def _count(self, frame: Frame) -> None:
        now = self._monotonic()
        window = self._bytes
        key = frame.size if frame.key and self.kind is Kind.VIDEO else 0
        window.append((now, frame.size, key))
        self._sum += frame.size
        self._key_sum += key
        while now - window[0][0] > RATE_SECONDS:
            _, size, key_size = window.popleft()
            self._sum -= size
            self._key_sum -= key_size
        span = max(now - window[0][0], RATE_SECONDS / 2)
        self.bitrate = 8 * self._sum / span
        self.key_bitrate = 8 * self._key_sum / span

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "codec": self.track.codec_string if self.track else None,
            "bitrate": round(self.bitrate),
            "kept_frames": len(self._gop),
            "left_out": self._packetise.left_out if self._packetise else 0,
            "problem": self.problem.code if self.problem else None,
        }
