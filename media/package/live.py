"""LivePackage: one broadcast's live media as files and playlists, and its recording.

A LivePackage is a Reader of a broadcast; it lives from the first publisher to the end, over all sessions of publishers.
It owns the timeline, the numbering, the window and the journal. Segmenters (one a session) tell it what is finished;
Answers are made when somebody asks and kept until they are no longer true.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from media.package import dash, hls, journal
from media.package.answer import Answer
from media.package.cmaf import init_segment
from media.package.desk import Desk
from media.package.followers import Followers, Maker
from media.package.history import History, read_history
from media.package.hls import Rendition
from media.package.journal import Closed, Head, Init, PieceLine, SegmentLine
from media.package.losses import Losses
from media.package.recording import Recording, recording_from_journal
from media.package.segmenter import Cuts, Segmenter
from media.package.shelf import Shelf
from media.package.waiting import Waiting
from media.package.window import Part, Piece, Segment
from media.samples import Kind, Sample, Track

STEP = 0.04
"""Timelines begin at multiples of this, s: a whole number of ticks in every timescale."""

GAPS_AT_ONCE = 120
"""Most segments that a process that died elsewhere is taken to have shown since its journal."""

INITS_KEPT = 64
"""Configurations remembered for use again; a publisher that changes more often gets new ones."""


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """Seconds, but for live_edge_segments (closed segments whose bytes stay in memory) and record (keep what leaves the
    window). target_duration is EXT-X-TARGETDURATION."""

    segment_seconds: float = 2.0
    target_duration: int = 4
    part_seconds: float = 0.2
    dvr_seconds: int = 1800
    live_edge_segments: int = 3
    record: bool = True


class LivePackage:
    def __init__(
        self,
        options: PackageOptions,
        shelf: Shelf,
        clock: Callable[[], float] = time.time,
        maker: Maker | None = None,
    ) -> None:
        """clock: seconds since the epoch. maker: of renditions on demand."""
        self.options = options
        self.shelf = shelf
        self.clock = clock
        self.origin = 0.0
        self.ended = False
        self.closed = False
        self.renditions: dict[str, Rendition] = {}
        self.segments: dict[int, Segment] = {}
        self.timeline = dash.Timeline()
        self.current: dict[str, Init] = {}
        self.part_target = 0.0
        self.next = 0
        self.waiting = Waiting(3 * options.target_duration)
        self.rates = Rates(options.target_duration)
        self.desk = Desk(self)
        self.followers = Followers(self, maker)
        self.segmenter: Segmenter | None = None
        self._track_rates: dict[str, Rates] = {}
        self._inits: dict[str, Init] = {}
        self._tracks: list[tuple[str, Track]] = []
        self._session = -1
        self._session_first = 0
        self._base = 0.0
        self._end = 0.0
        self._sequence = 1
        self._edge: deque[Segment] = deque()
        self._kept: deque[tuple[float, list[str]]] = deque()
        self._losses = Losses(self)
        self._counts = {"forced_cuts": 0, "discarded": 0, "dropped": 0, "bytes": 0, "segments": 0}
        self._numbers: dict[str, int] = {}

    # the hot path of every viewer

    def answer(self, name: str, query: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        """What `/live/{id}/{grant}/NAME` answers: at once when it is here, awaitable when it must wait or be read."""
        if not query:
            ready = self.desk.ready.get(name)
            if ready is not None:
                return ready
        return self.desk.find(name, query)

    # Reader

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        if self.ended:
            return
        self._close_session()
        self._tracks = [("v" if t.kind is Kind.VIDEO else "a", t) for t in tracks]
        self._session += 1
        self._session_first = self.next
        self.current = {}
        if not self.origin:
            self._start()
        self._configure()
        for letter, _ in self._tracks:
            if letter not in self.renditions:
                self._rendition(letter)
        self.followers.on_tracks(tracks)
        self.desk.stale_index()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        """The same timeline, with a segment that begins at the next key frame."""
        if self.ended or not self._tracks:
            return
        self._tracks = [("v" if t.kind is Kind.VIDEO else "a", t) for t in tracks]
        if self.segmenter is None:
            self._configure()
        for letter, track in self._tracks:
            if self.segmenter is not None and letter == "v":
                self.segmenter.change(track)
        self.followers.on_tracks(tracks)

    def on_samples(self, batch: Sequence[Sample]) -> None:
        if self.ended or not self._tracks:
            return
        while batch:
            if self.segmenter is None:
                self._open_session(batch)
            assert self.segmenter is not None
            used = self.segmenter.push(batch)
            if self.followers.following:
                self.followers.pump()
            if used == len(batch):
                return
            # a hole too long to list as gaps: the same tracks on a new timeline
            batch = batch[used:]
            self._close_session()
            self._configure()
            self._session += 1
            self._session_first = self.next

    def on_interrupted(self) -> None:
        self._close_session()
        self._tracks = []

    def on_end(self) -> None:
        if self.ended:
            return
        self._close_session()
        self._tracks = []
        self.ended = True
        for rendition in self.renditions.values():
            rendition.ended = True
        self.followers.end()
        self.desk.stale()
        self.waiting.release(found=True)

    async def close(self) -> None:
        """Close what is open and see it safe in the spool. A broadcast that did not end can be resumed elsewhere."""
        if not self.closed:
            self.closed = True
            self._close_session()
            self._tracks = []
            if self.origin:
                self.shelf.add({}, journal.encode(Closed(self.next)))
            self.waiting.release(found=self.ended)
            self.followers.release()
        await self.shelf.flush()
        if self._losses.hear():  # what a disk refused is tried once more, now that it is known
            await self.shelf.flush()

    async def finish(self) -> Recording:
        """After on_end: put the recording's playlists on the shelf, made from the journal."""
        await self.close()
        if not self.options.record:
            return Recording(0.0, 0, 0, ())
        lines = await self.shelf.journal()
        recording, files = await asyncio.to_thread(recording_from_journal, lines)
        if files:
            self.shelf.add({name: [body] for name, body in files.items()}, journal.encode(Closed(self.next)))
            await self.shelf.flush()
        return recording

    def describe(self) -> dict[str, object]:
        """forced_cuts: segments cut without a key frame because the group of pictures is too long."""
        return {
            "next_msn": self.next,
            "sessions": self._session + 1,
            "part_target": self.part_target,
            "peak_bandwidth": self.rates.peak,
            "average_bandwidth": self.rates.average,
            "window_seconds": {x: round(r.seconds, 3) for x, r in self.renditions.items()},
            "memory_bytes": sum(p.size for s in self._edge for p in s.pieces.values()),
            "waiting": self.waiting.count,
            "lost_files": self.shelf.lost,
            "ended": self.ended,
            "derived": self.followers.describe(),
            **self._totals(),
        }

    # after a restart

    async def restore(self, *, from_elsewhere: bool = False) -> None:
        """Continue the broadcast of the shelf's journal: numbering, window, timeline. Media comes from the shelf.

        A segment that was open when the process died is listed as a gap, so that its name is never used again.
        from_elsewhere: it died on another machine and may have shown segments that never reached the store's journal;
        as many as there can have been since are gaps. The work is done in a thread: nobody else may use the package
        until this returns. Raises what the shelf does."""
        lines = await self.shelf.journal()
        history = await asyncio.to_thread(self._read, lines)
        silent = max(0.0, self.clock() - self.origin - self._end) if from_elsewhere else 0.0
        self._list_open(history, min(GAPS_AT_ONCE, 1 + math.ceil(silent / self.options.segment_seconds)))

    def resume(self, lines: bytes) -> None:
        """The same here and now, for a journal that is short."""
        self._list_open(self._read(lines))

    def _read(self, lines: bytes) -> History:
        history = read_history(lines)
        if history.head is None:
            return history
        self.origin = history.head.origin
        self._inits = dict(history.inits)
        self._numbers = dict(history.numbers)
        if not history.clean:
            for letter in {"v", "a", *self._numbers}:  # the last init may not have reached the journal
                self._numbers[letter] = self._numbers.get(letter, 0) + 1
        listed = self._replay(history.segments)
        self.followers.restore(history.follows, self._inits, listed)
        self.next = max(self.next, history.next)
        return history

    def _replay(self, segments: list[SegmentLine]) -> list[SegmentLine]:
        """List the newest of them, as many as the window holds; which those are."""
        keep = self.options.dvr_seconds + 8 * self.options.target_duration
        first, seconds = len(segments), 0.0
        while first and seconds < keep:
            if first < len(segments) and segments[first - 1].msn + 1 != segments[first].msn:
                break  # numbers have to follow each other in a playlist
            first -= 1
            seconds += segments[first].seconds
        discontinuities = sum(s.discontinuity for s in segments[:first])
        for line in segments[first:]:
            self._session = max(self._session, line.session)
            self.part_target = line.part_target
            segment = Segment(line.msn, line.session, line.base, line.discontinuity)
            for letter, given in line.pieces.items():
                if letter not in self.renditions:
                    self._rendition(letter, line.msn, discontinuities)
                piece = Piece(letter, line.msn, given.init, given.scale, self.origin + given.start / given.scale)
                piece.start, piece.duration, piece.size, piece.gap = given.start, given.duration, given.size, given.gap
                piece.closed, piece.discontinuity = True, line.discontinuity
                segment.pieces[letter] = piece
                self.renditions[letter].begin(piece)
                self.renditions[letter].close(piece)
                self._end = max(self._end, given.end / given.scale)
                if not given.gap:
                    self.current[letter] = self._inits[given.init]
            discontinuities += line.discontinuity
            self.next = line.msn + 1
            self.timeline.add(line.msn, line.session, line.base, line.pieces, self._inits)
            self._remember(segment)
        for rendition in self.renditions.values():
            rendition.fix(self.part_target)
            self.timeline.drop_before(rendition.first)
        return segments[first:]

    def _list_open(self, history: History, count: int = 1) -> None:
        """What was open, or shown and not in the journal: gaps on a timeline of their own."""
        if history.head is None or history.clean:
            return
        if not self.renditions:
            self.next += count
            return
        self._session += 1
        for number in range(count):
            self._list_gap(first=number == 0)

    def _list_gap(self, *, first: bool) -> None:
        seconds = self.options.segment_seconds
        scales = {x: r.pieces[-1].scale for x, r in self.renditions.items()}
        line = SegmentLine(
            self.next, self._session, self._end, self.origin + self._end, first, self.part_target,
            {
                x: PieceLine(round(self._end * scale), round(seconds * scale), scale, 0, True, "")
                for x, scale in scales.items()
            },
        )  # fmt: skip
        self._replay([line])
        self.shelf.add({}, journal.encode(line))

    # sessions

    def _start(self) -> None:
        self.origin = math.floor(self.clock() * 1000) / 1000
        self.shelf.add({}, journal.encode(Head(self.origin, self.options.target_duration)))

    def init(self, letter: str, track: Track) -> Init:
        """The init segment of this track, which is on the shelf and in the journal from now on."""
        data = init_segment(track)
        digest = hashlib.sha256(data).hexdigest()
        for known in self._inits.values():
            if known.letter == letter and known.digest == digest:
                self.desk.keep(known.name, letter, data)
                self._inits[known.name] = self._inits.pop(known.name)  # what is in use is never the oldest
                return known
        number = self._numbers.get(letter, 0)
        self._numbers[letter] = number + 1
        init = Init(
            f"{letter}-init-{number}.mp4", number, letter, track.codec_string, track.timescale, digest,
            track.width, track.height, track.frame_rate, track.sample_rate, track.channels,
        )  # fmt: skip
        self._inits[init.name] = init
        while len(self._inits) > INITS_KEPT:
            del self._inits[next(iter(self._inits))]
        self.shelf.add({init.name: [data]}, journal.encode(init))
        self.desk.keep(init.name, letter, data)
        return init

    def configurations(self, letter: str) -> int:
        """How many there were so far, at least."""
        return self._numbers.get(letter, 0)

    def _configure(self) -> None:
        for letter, track in self._tracks:
            self.current[letter] = self.init(letter, track)

    def _rendition(self, letter: str, first: int | None = None, discontinuities: int | None = None) -> None:
        options = self.options
        if discontinuities is None:
            others = list(self.renditions.values())
            discontinuities = others[0].all_discontinuities if others else 0
        rendition = Rendition(
            letter,
            options.target_duration,
            options.dvr_seconds,
            self.next if first is None else first,
            discontinuities,
        )
        rendition.part_target = self.part_target
        self.renditions[letter] = rendition

    def _open_session(self, batch: Sequence[Sample]) -> None:
        """A timeline begins now, less the media that already waited, and never before the end of the last one."""
        scales = {t.id: t.timescale for _, t in self._tracks}
        first = next((s for s in batch if s.track in scales), None)
        waited = 0.0
        if first is not None:
            last = max((s.dts for s in batch if s.track == first.track), default=first.dts)
            waited = min(max(0.0, (last - first.dts) / scales[first.track]), 2.0)
        now = self.clock() - waited
        if not self.next and not self._sequence > 1:
            self.origin = min(self.origin, now) if self._session else now
        base = max(self._end, now - self.origin, 0.0)
        self._base = math.ceil(base / STEP - 1e-6) * STEP
        options = self.options
        cuts = Cuts(options.segment_seconds, options.target_duration, options.part_seconds, self.part_target)
        self.followers.on_session(self.next, self._base)
        self.segmenter = Segmenter(
            self._tracks, self, cuts, msn=self.next, base=self._base, sequence=self._sequence,
            changed=self.configurations("v") > 1,
        )  # fmt: skip

    def _close_session(self) -> None:
        segmenter = self.segmenter
        if segmenter is None:
            return
        segmenter.flush()
        self.followers.finish()
        self.segmenter = None
        self._end = max(self._end, segmenter.end)
        self._sequence = segmenter.last_sequence
        for name, value in segmenter.counts().items():
            self._counts[name] += value

    def _totals(self) -> dict[str, int]:
        totals = dict(self._counts)
        if self.segmenter is not None:
            for name, value in self.segmenter.counts().items():
                totals[name] += value
        return totals

    def hint(self, letter: str) -> str:
        """Name of the part that comes next."""
        if self.ended:
            return ""
        if (rendition := self.rendition(letter)) is None or not self.runs(letter):
            return ""
        edge = rendition.edge
        if self.segmenter is not None and self.segmenter.ends_segment(letter):
            return f"{letter}-{edge.msn + 1}.0.m4s"
        return f"{letter}-{edge.msn}.{edge.parts}.m4s"

    def rendition(self, letter: str) -> Rendition | None:
        return self.renditions.get(letter) or self.followers.renditions.get(letter)

    def all_renditions(self) -> list[Rendition]:
        return [*self.renditions.values(), *self.followers.renditions.values()]

    def runs(self, letter: str) -> bool:
        """Whether more of it is to come."""
        return letter in self.current or self.followers.running(letter)

    def track_rates(self) -> dict[str, int]:
        """Average bit rate of each track."""
        return {x: r.average for x, r in self._track_rates.items()}

    def rates_of(self, letter: str) -> Rates:
        return self._track_rates.setdefault(letter, Rates(self.options.target_duration))

    def discontinuity_at(self, msn: int) -> bool:
        segment = self.segments.get(msn)
        return segment.discontinuity if segment is not None else msn == self._session_first and msn > 0

    # Sink of the segmenter

    def on_changed(self, letter: str, track: Track) -> None:
        self.current[letter] = self.init(letter, track)
        self.desk.stale_index()

    def on_part_target(self, seconds: float) -> None:
        self.part_target = seconds
        for rendition in self.renditions.values():
            rendition.fix(seconds)

    def on_boundary(self, msn: int, end: float) -> None:
        self.followers.on_boundary(msn, end)

    def on_part(
        self, letter: str, msn: int, start: int, seconds: float, independent: bool, chunks: list[bytes], size: int
    ) -> None:
        rendition = self.renditions[letter]
        piece = rendition.open
        if piece is None:
            piece = self._piece(letter, msn, start)
        piece.parts.append(Part(seconds, independent, piece.size, size, tuple(chunks)))
        piece.size += size
        rendition.part(piece)
        self.desk.stale_list(letter)
        self.waiting.reached(letter, msn, len(piece.parts))

    def on_segment(self, letter: str, msn: int, start: int, duration: int, *, gap: bool, forced: bool) -> None:
        rendition = self.renditions[letter]
        piece = rendition.open or self._piece(letter, msn, start)
        piece.duration, piece.gap, piece.closed = duration, gap, True
        rendition.close(piece)
        self.next = max(self.next, msn + 1)
        segment = self.segments[msn]
        if len(segment.pieces) == len(self._tracks) and segment.complete:
            self._complete(segment)
        self.desk.stale_list(letter)
        self.waiting.reached(letter, msn + 1, 0)

    def _piece(self, letter: str, msn: int, start: int) -> Piece:
        segment = self.segments.get(msn)
        if segment is None:
            segment = self.segments[msn] = Segment(msn, self._session, self._base, self.discontinuity_at(msn))
        init = self.current[letter]
        piece = Piece(letter, msn, init.name, init.scale, self.origin + start / init.scale)
        piece.start, piece.discontinuity = start, segment.discontinuity
        segment.pieces[letter] = piece
        self.renditions[letter].begin(piece)
        return piece

    # closed segments

    def _complete(self, segment: Segment) -> None:
        lead = next(iter(segment.pieces.values()))
        for letter, rendition in self.renditions.items():
            if letter not in segment.pieces:
                # this publisher has no such track: a gap, so that the renditions stay in step
                piece = Piece(letter, segment.msn, "", lead.scale, lead.at)
                piece.start, piece.duration, piece.gap, piece.closed = lead.start, lead.duration, True, True
                piece.discontinuity = segment.discontinuity
                segment.pieces[letter] = piece
                rendition.begin(piece)
                rendition.close(piece)
                self.desk.stale_list(letter)
                self.waiting.reached(letter, segment.msn + 1, 0)
        pieces = {
            x: PieceLine(p.start, p.duration, p.scale, p.size, p.gap, "" if p.gap else p.init)
            for x, p in segment.pieces.items()
        }
        at = min(p.at for p in segment.pieces.values())
        line = SegmentLine(
            segment.msn, segment.session, segment.base, at, segment.discontinuity, self.part_target, pieces
        )
        self.shelf.add({p.name: p.chunks for p in segment.pieces.values() if not p.gap}, journal.encode(line))
        self.rates.add(sum(p.size for p in segment.pieces.values()), segment.seconds)
        for letter, piece in segment.pieces.items():
            if not piece.gap:
                self.rates_of(letter).add(piece.size, piece.seconds)
        self.timeline.add(segment.msn, segment.session, segment.base, pieces, self._inits)
        self._counts["segments"] += 1
        self._remember(segment)
        self._expire()
        self.followers.on_complete(segment.msn)
        self._losses.hear()
        self.desk.stale_index()

    def _remember(self, segment: Segment) -> None:
        """Keep the live edge; let go of what is behind it and behind the window."""
        self.segments[segment.msn] = segment
        self._edge.append(segment)
        while len(self._edge) > self.options.live_edge_segments:
            old = self._edge.popleft()
            for piece in old.pieces.values():
                self.desk.forget(piece)
                for part in piece.parts:
                    part.chunks = ()
            if old.lost:
                self.gone(old.msn)
        first = min(r.first for r in self.renditions.values())
        self.timeline.drop_before(first)
        for msn in [n for n in self.segments if n < self.next - 64 or n < first]:
            if msn not in (s.msn for s in self._edge):
                del self.segments[msn]
        if not self.options.record:
            end = max((p.start + p.duration) / p.scale for p in segment.pieces.values())
            self.keep_names(end, [p.name for p in segment.pieces.values() if not p.gap])

    def lose(self, msn: int) -> None:
        """The shelf gave this segment up; while its bytes are in memory it can be had from there."""
        segment = next((s for s in self._edge if s.msn == msn), None)
        if segment is None:
            self.gone(msn)
        else:
            segment.lost = True

    def init_bytes(self, name: str) -> bytes | None:
        """An init segment that is in memory."""
        answer = self.desk.ready.get(name)
        return answer.body if answer is not None and isinstance(answer.body, bytes) else None

    def gone(self, msn: int) -> None:
        """A segment that nobody has any longer: a gap in every list."""
        for letter, rendition in self.renditions.items():
            rendition.lose(msn)
            self.desk.stale_list(letter)
        self.timeline.lose(msn)
        self.desk.stale_index()

    def keep_names(self, end: float, names: list[str]) -> None:
        """What is not recorded stays as long again as the window, for players whose playlist is old (6.2.2)."""
        if not self.options.record:
            self._kept.append((end, names))

    def _expire(self) -> None:
        if not self._kept:
            return
        limit = self._kept[-1][0] - 2 * self.options.dvr_seconds - 8 * self.options.target_duration
        while self._kept[0][0] < limit:
            self.shelf.remove(self._kept.popleft()[1])


class Rates:
    """Bit rates of all tracks together, measured over closed segments (4.4.6.2)."""

    def __init__(self, target: int) -> None:
        self.peak = 0
        self._least = target / 2 - 0.1
        self._bytes = 0
        self._seconds = 0.0
        self._open_bytes = 0
        self._open_seconds = 0.0

    @property
    def average(self) -> int:
        return hls.bandwidth(self._bytes, self._seconds)

    def add(self, size: int, seconds: float) -> None:
        self._bytes += size
        self._seconds += seconds
        self._open_bytes += size
        self._open_seconds += seconds
        if self._open_seconds >= self._least:
            self.peak = max(self.peak, hls.bandwidth(self._open_bytes, self._open_seconds))
            self._open_bytes, self._open_seconds = 0, 0.0
