"""Derived renditions in the package: playlists and segments beside the source's, cut where the source was cut.

Owned by a LivePackage, which tells where its segments end and when they are complete; nothing here holds it up. A
rendition's share of a segment is closed, kept and journaled on its own, later than the source's. A rendition joins at
any moment and leaves at any: then its playlist goes on with gaps, until nothing of it is left in the window.

What nobody asked for yet is offered by a Maker: it is listed in the multivariant playlist, made from the first request
of its media playlist on, and given up some seconds after the last request.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from media.broadcast import Derived
from media.package import journal
from media.package.follow import FollowSegmenter
from media.package.hls import Rendition
from media.package.journal import FollowLine, Init, PieceLine, SegmentLine
from media.package.segmenter import Cuts
from media.package.window import Part, Piece
from media.samples import VIDEO_TIMESCALE, Kind, Sample, Track

if TYPE_CHECKING:
    from media.package.live import LivePackage

log = logging.getLogger(__name__)

HELD_SAMPLES, HELD_BYTES = 512, 4 << 20
"""What of a rendition may wait for the source to get as far."""

BOUNDARIES = 6
"""Of the newest segments: how late what is derived may begin."""

MOST_GAPS = 60
"""A rendition that comes back after a longer absence begins anew."""

KEPT = 64
"""Segments whose parts can be found, behind the newest."""

UNASKED_SECONDS = 12.0
"""What is made on demand is given up this long after the last request for it; players ask each target duration."""

MOST = 12
"""Renditions beside the source's."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be had on demand: as it will be, for the multivariant playlist. rate: bit/s."""

    name: str
    kind: Kind
    codec: str
    rate: int
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    channels: int = 0

    @property
    def letter(self) -> str:
        return letter_of(self.kind, self.name)


class Maker(Protocol):
    """Makes derived renditions of one broadcast when they are asked for."""

    def offers(self, tracks: tuple[Track, ...]) -> Sequence[Offer]:
        """What can be made of these tracks, and is worth listing."""
        ...

    def want(self, name: str) -> Callable[[], None] | None:
        """Make it, as a listed derived rendition of the broadcast. What to call when it is no longer wanted; None when
        it cannot be made just now."""
        ...


def letter_of(kind: Kind, name: str) -> str:
    return f"{'v' if kind is Kind.VIDEO else 'a'}-{name}"


class Following:
    """One derived rendition on its way into the package: a reader of it, and where its samples wait."""

    def __init__(self, followers: Followers, derived: Derived) -> None:
        self.derived = derived
        self.track: Track | None = None
        self.letter = ""
        self.segmenter: FollowSegmenter | None = None
        self.dropped = 0
        self._followers = followers
        self._held: deque[Sample] = deque()
        self._held_bytes = 0

    # Reader

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        track = tracks[0]
        if self.track is not None:
            self._followers.leave(self)  # another configuration on the same timeline
        self.track, self.letter = track, letter_of(track.kind, self.derived.name)
        self._clear()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        self.on_tracks(tracks)

    def on_samples(self, batch: Sequence[Sample]) -> None:
        self._held.extend(batch)
        self._held_bytes += sum([len(sample.data) for sample in batch])
        self.pump()
        if len(self._held) > HELD_SAMPLES or self._held_bytes > HELD_BYTES:
            self.dropped += len(self._held)
            self._clear()
            self._followers.leave(self)  # it begins again, with a key frame

    def on_interrupted(self) -> None:
        """What is open is closed with the source's, or at its next boundary when that goes on."""
        self._followers.leave(self)
        self.track = None
        self._clear()

    def on_end(self) -> None:
        pass  # the followers are told

    def pump(self) -> None:
        """Cut what the source has come as far as."""
        track, held = self.track, self._held
        source = self._followers.package.segmenter
        if track is None or not held or source is None or source.steps is None:
            return
        shift = source.steps / 25
        limit = source.progress + 1e-6
        ready: list[Sample] = []
        while held and held[0].dts / track.timescale + shift <= limit:
            sample = held.popleft()
            self._held_bytes -= len(sample.data)
            if self.segmenter is None and not self._followers.begin(self, track, sample, source.steps):
                self.dropped += 1
                continue
            ready.append(sample)
        if ready and self.segmenter is not None:
            self.segmenter.push(ready)

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def _clear(self) -> None:
        self._held.clear()
        self._held_bytes = 0


class Followers:
    """All of a package's renditions beside the source's."""

    def __init__(self, package: LivePackage, maker: Maker | None) -> None:
        self.package = package
        self.renditions: dict[str, Rendition] = {}
        self.inits: dict[str, Init] = {}
        self.offered: dict[str, Offer] = {}
        self._maker = maker
        self._tracks: tuple[Track, ...] = ()
        self.following: list[Following] = []
        self._cutting: dict[str, FollowSegmenter] = {}
        self._began: dict[int, float] = {}  # msn -> where it begins, s
        self._pieces: dict[str, dict[int, Piece]] = {}
        self._sequences: dict[str, int] = {}
        self._last_media: dict[str, int] = {}
        self._leases: dict[str, Callable[[], None]] = {}
        self._asked: dict[str, float] = {}

    # Follower of the broadcast

    def on_derived(self, derived: Derived) -> None:
        if (
            self.package.ended
            or not derived.listed
            or any(f.derived is derived for f in self.following)
            or len(self.following) >= MOST
        ):
            return
        following = Following(self, derived)
        self.following.append(following)
        derived.add(following)

    def on_derived_gone(self, derived: Derived) -> None:
        for following in [f for f in self.following if f.derived is derived]:
            self.leave(following)
            self.following.remove(following)

    # what the package tells

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._tracks = tracks
        self._look_at_offers()

    def on_session(self, msn: int, base: float) -> None:
        self._began = {msn: base}

    def on_boundary(self, msn: int, end: float) -> None:
        began = self._began
        began[msn + 1] = end
        while len(began) > BOUNDARIES:
            del began[next(iter(began))]
        for letter, segmenter in list(self._cutting.items()):
            segmenter.boundary(msn, end)
            if segmenter.left:
                segmenter.finish(msn + 1, end)
                self._stop(letter)

    def on_complete(self, msn: int) -> None:
        """The source's segment is whole: what is not being made has a gap there."""
        for letter in list(self.renditions):
            if letter not in self._cutting:
                self._fill(letter, msn + 1)
                self._drop_when_empty(letter)
        self._release_unasked()
        self._look_at_offers()

    def pump(self) -> None:
        for following in self.following:
            if following.holding:
                following.pump()

    def finish(self) -> None:
        """The session is over."""
        following = self.package.next
        end = self._began.get(following, 0.0)
        for letter, segmenter in list(self._cutting.items()):
            segmenter.finish(following, end)
            self._stop(letter)
        for each in self.following:
            each.segmenter = None
        for letter in self.renditions:
            self._fill(letter, following)
        self._began = {}

    def release(self) -> None:
        """Nobody is to make anything any more."""
        for letter in list(self._leases):
            self._release(letter)

    def end(self) -> None:
        self.release()
        for rendition in self.renditions.values():
            rendition.ended = True

    def describe(self) -> dict[str, object]:
        return {
            letter: {
                "next_msn": rendition.next,
                "running": letter in self._cutting,
                "window_seconds": round(rendition.seconds, 3),
                "wanted": letter in self._leases,
            }
            for letter, rendition in self.renditions.items()
        }

    # demand

    def asked(self, letter: str) -> bool:
        """Somebody asks for its playlist or media; whether there is, or is about to be, such a rendition."""
        if letter in self.offered:
            self._asked[letter] = time.monotonic()
            if letter not in self._leases and self._maker is not None:
                release = self._maker.want(self.offered[letter].name)
                if release is not None:
                    self._leases[letter] = release
                elif letter not in self.renditions:
                    return False
            if letter not in self.renditions:
                self._first(letter, self.package.next)
        return letter in self.renditions

    def cold(self, letter: str) -> bool:
        """It was asked for, and its first media is still on its way."""
        return letter in self._leases and letter not in self._cutting

    def running(self, letter: str) -> bool:
        return letter in self._cutting or letter in self._leases

    def listed(self) -> list[str]:
        """Letters that belong into the multivariant playlist."""
        with_media = [x for x in self.renditions if x in self._last_media]
        return with_media + [x for x in self.offered if x not in with_media]

    def init_of(self, letter: str) -> Init:
        """As it is, or as it will be."""
        init = self.inits.get(letter)
        offer = self.offered.get(letter)
        if init is None and offer is not None:
            init = Init(
                f"{letter}-init-0.mp4", 0, letter, offer.codec, 1, "", offer.width, offer.height, offer.frame_rate,
                0, offer.channels,
            )  # fmt: skip
        assert init is not None
        return init

    def rate_of(self, letter: str) -> tuple[int, int]:
        """Peak and average in bit/s: measured, or as offered."""
        rates = self.package.rates_of(letter)
        offer = self.offered.get(letter)
        least = offer.rate if offer is not None else 1
        return max(rates.peak, least), max(rates.average, least)

    def piece(self, letter: str, msn: int) -> Piece | None:
        pieces = self._pieces.get(letter)
        return pieces.get(msn) if pieces else None

    # joining and leaving

    def begin(self, following: Following, track: Track, sample: Sample, steps: int) -> bool:
        """Place it on the timeline at this sample; False when it cannot begin with that."""
        if track.kind is Kind.VIDEO and not sample.key:
            return False
        letter = following.letter
        if letter in self._cutting:
            return False  # the one before it ends with this segment
        at = sample.dts / track.timescale + steps / 25
        frame = sample.duration / track.timescale or 1 / (track.frame_rate or 30.0)
        first = self.renditions[letter].next if letter in self.renditions else 0
        msn = max((n for n, began in self._began.items() if n >= first and began <= at + frame / 2), default=-1)
        if msn < 0:
            return False
        package, options = self.package, self.package.options
        self.inits[letter] = package.init(letter, track)
        self._fill(letter, msn)
        rendition = self.renditions[letter]
        if rendition.part_target != package.part_target:
            rendition.fix(package.part_target)
        segmenter = FollowSegmenter(
            letter,
            track,
            self,
            Cuts(options.segment_seconds, options.target_duration, options.part_seconds, package.part_target),
            msn=msn,
            base=self._began[msn],
            steps=steps,
            frame=frame,
            sequence=self._sequences.get(letter, 1),
            changed=package.configurations(letter) > 1,
        )
        for number, began in sorted(self._began.items()):
            if number > msn:
                segmenter.boundary(number - 1, began)
        following.segmenter = self._cutting[letter] = segmenter
        package.desk.stale_index()
        return True

    def leave(self, following: Following) -> None:
        """What it has open is closed at the end of the segment; then come gaps."""
        if following.segmenter is not None:
            following.segmenter.left = True
            following.segmenter = None

    def _stop(self, letter: str) -> None:
        segmenter = self._cutting.pop(letter)
        self._sequences[letter] = segmenter.last_sequence
        for following in self.following:
            if following.segmenter is segmenter:
                following.segmenter = None
        self.renditions[letter].open = None
        self.package.desk.stale_index()

    def _rendition(self, letter: str, first: int) -> Rendition:
        options, package = self.package.options, self.package
        discontinuities = 0
        if lead := next(iter(package.renditions.values()), None):
            discontinuities = lead.all_discontinuities - sum(p.discontinuity for p in lead.pieces if p.msn >= first)
        rendition = Rendition(letter, options.target_duration, options.dvr_seconds, first, discontinuities)
        rendition.part_target = package.part_target
        self.renditions[letter] = rendition
        package.desk.stale_list(letter)
        package.desk.stale_index()
        return rendition

    def _first(self, letter: str, msn: int) -> None:
        """It begins at this segment, behind a gap: ffmpeg up to 5.1 dies (SIGSEGV) of a rendition that lists parts and
        no whole segment yet."""
        before = msn - 1
        segment = self.package.segments.get(before)
        if segment is None or not any(piece.closed for piece in segment.pieces.values()):
            self._rendition(letter, msn)
        else:
            self._gap(self._rendition(letter, before), before)

    def _fill(self, letter: str, upto: int) -> None:
        """Gaps up to this msn, not included; where there are too many, the rendition begins there."""
        rendition = self.renditions.get(letter)
        if rendition is None or upto - rendition.next > MOST_GAPS:
            self._first(letter, upto)
            return
        for msn in range(rendition.next, upto):
            self._gap(rendition, msn)

    def _gap(self, rendition: Rendition, msn: int) -> None:
        segment = self.package.segments.get(msn)
        lead = next((p for p in segment.pieces.values() if p.closed), None) if segment is not None else None
        if lead is not None:
            start, duration, scale = lead.start, lead.duration, lead.scale
        else:
            began = self._began.get(msn, 0.0)
            start, scale = round(began * VIDEO_TIMESCALE), VIDEO_TIMESCALE
            duration = max(round((self._began.get(msn + 1, began) - began) * scale), 1)
        piece = Piece(rendition.letter, msn, "", scale, self.package.origin + start / scale)
        piece.start, piece.duration, piece.gap, piece.closed = start, duration, True, True
        piece.discontinuity = self.package.discontinuity_at(msn)
        rendition.begin(piece)
        self._closed(rendition, piece)

    def _drop_when_empty(self, letter: str) -> None:
        """Nothing of it is left in the window, and nobody is waiting for more."""
        rendition = self.renditions[letter]
        if letter in self._leases or rendition.first <= self._last_media.get(letter, -1):
            return
        if letter not in self._last_media and rendition.seconds < 2 * self.package.options.target_duration:
            return  # it was asked for and is about to begin
        rendition.ended = True
        self.package.waiting.reached(letter, rendition.next + 2, 0)
        del self.renditions[letter]
        self._last_media.pop(letter, None)
        self._pieces.pop(letter, None)
        self.package.desk.stale_list(letter)
        self.package.desk.stale_index()

    def _look_at_offers(self) -> None:
        """They change with the source, and with what the machine can do just now."""
        if self._maker is None or self.package.ended or self.package.closed:
            return
        offered = {offer.letter: offer for offer in self._maker.offers(self._tracks)}
        if offered.keys() != self.offered.keys():
            self.package.desk.stale_index()
        self.offered = offered
        for letter in [x for x in self._leases if x not in offered]:
            self._release(letter)

    def _release(self, letter: str) -> None:
        self._leases.pop(letter)()

    def _release_unasked(self) -> None:
        limit = time.monotonic() - UNASKED_SECONDS
        for letter in [x for x in self._leases if self._asked[x] < limit]:
            self._release(letter)

    # Sink of the segmenters

    def on_changed(self, letter: str, track: Track) -> None:
        raise AssertionError("a derived rendition begins anew with another configuration")

    def on_part_target(self, seconds: float) -> None:
        raise AssertionError("a derived rendition has the source's part target")

    def on_part(
        self, letter: str, msn: int, start: int, seconds: float, independent: bool, chunks: list[bytes], size: int
    ) -> None:
        rendition = self.renditions[letter]
        piece = rendition.open or self._open(rendition, msn, start)
        piece.parts.append(Part(seconds, independent, piece.size, size, tuple(chunks)))
        piece.size += size
        rendition.part(piece)
        self._last_media[letter] = msn
        self.package.desk.stale_list(letter)
        self.package.waiting.reached(letter, msn, len(piece.parts))

    def on_segment(self, letter: str, msn: int, start: int, duration: int, *, gap: bool, forced: bool) -> None:
        rendition = self.renditions[letter]
        piece = rendition.open or self._open(rendition, msn, start)
        piece.duration, piece.gap, piece.closed = duration, gap, True
        self._closed(rendition, piece)
        if gap:
            return
        line = PieceLine(piece.start, duration, piece.scale, piece.size, False, piece.init)
        package = self.package
        package.shelf.add({piece.name: piece.chunks}, journal.encode(FollowLine(msn, letter, line)))
        package.timeline.follow(msn, letter, line, self.inits[letter])
        package.rates_of(letter).add(piece.size, piece.seconds)
        package.keep_names((piece.start + duration) / piece.scale, [piece.name])
        self._forget_old(letter, msn)

    def _open(self, rendition: Rendition, msn: int, start: int) -> Piece:
        letter, package = rendition.letter, self.package
        init = self.inits[letter]
        piece = Piece(letter, msn, init.name, init.scale, package.origin + start / init.scale)
        piece.start, piece.discontinuity = start, package.discontinuity_at(msn)
        self._pieces.setdefault(letter, {})[msn] = piece
        rendition.begin(piece)
        return piece

    def _closed(self, rendition: Rendition, piece: Piece) -> None:
        rendition.close(piece)
        self.package.desk.stale_list(rendition.letter)
        self.package.waiting.reached(rendition.letter, piece.msn + 1, 0)

    def _forget_old(self, letter: str, msn: int) -> None:
        """Bytes are kept at the live edge alone, as the source's are."""
        pieces = self._pieces[letter]
        for number in [n for n in pieces if n <= msn - self.package.options.live_edge_segments]:
            piece = pieces[number]
            if piece.parts and piece.parts[0].chunks:
                self.package.desk.forget(piece)
                for part in piece.parts:
                    part.chunks = ()
            if number < msn - KEPT:
                del pieces[number]

    # losses and restarts

    def lose(self, letter: str, msn: int) -> None:
        """The shelf gave its share of this segment up: a gap."""
        rendition = self.renditions.get(letter)
        if rendition is not None:
            rendition.lose(msn)
            self.package.desk.stale_list(letter)
        self.package.timeline.lose_follow(letter, msn)

    def restore(
        self,
        follows: Mapping[str, Mapping[int, PieceLine]],
        inits: Mapping[str, Init],
        segments: Sequence[SegmentLine],
    ) -> None:
        """What a process before this one had listed. segments: those in the window, from the source's journal."""
        for letter, pieces in follows.items():
            lines = [line for line in segments if line.msn in pieces]
            if not lines:
                continue
            first = lines[0].msn
            rendition = self._rendition(letter, first)
            for line in segments:
                if line.msn < first:
                    continue
                given = pieces.get(line.msn) or _gap_of(line)
                piece = Piece(
                    letter, line.msn, given.init, given.scale, self.package.origin + given.start / given.scale
                )
                piece.start, piece.duration, piece.size, piece.gap = given.start, given.duration, given.size, given.gap
                piece.closed, piece.discontinuity = True, line.discontinuity
                rendition.begin(piece)
                rendition.close(piece)
                if not given.gap:
                    self.inits[letter] = inits[given.init]
                    self._last_media[letter] = line.msn
                    self.package.timeline.follow(line.msn, letter, given, inits[given.init])
            rendition.fix(self.package.part_target)


def _gap_of(line: SegmentLine) -> PieceLine:
    lead = next(iter(line.pieces.values()))
    return PieceLine(lead.start, lead.duration, lead.scale, 0, True, "")
