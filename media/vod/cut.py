"""A stretch of what is there already as a set of its own: which segments are taken as they are, and what is made anew.

The middle is whole segments, which the store copies. A segment in which the stretch begins or ends becomes an edge:
`media.vod.cutting` passes on the samples of it that can be decoded without the others, and encodes the rest anew. Times
stay those of the source, so sound and picture stay in step by themselves, and the set is shown from `zero` on.

An edge is exact to the picture. Sound is cut between its frames, at the one that is nearest (AAC: 11 ms at 48 kHz).
Where an edge cannot be encoded to fit (HEVC, groups of pictures that lean on the one before over several segments) the
set begins at the key frame before and ends with the segment.

Reads the segments that it cuts in, and the ones behind them; holds nothing afterwards.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from media.samples import VIDEO_TIMESCALE
from media.vod.errors import BadSource
from media.vod.fragments import CodedSample, samples
from media.vod.results import Made, Segment

FURTHEST_BACK = 10
"""Segments before an edge in which its key frame is looked for."""
LONGEST_EDGE = 3
"""An edge may be of so many segments, if those behind the first do not begin with a key frame of their own."""
WHOLE = 0.2
"""Sound that a derived rendition has not from the start to the end, but for so many s, is left out."""
MADE_EXACTLY = ("avc1", "avc3", "av01", "vp09")
"""Codecs (of RFC 6381) whose edges are encoded to fit the segments that are copied."""

Read = Callable[[str], Awaitable[bytes]]
"""An object by its key. Raises BadSource when it is not there."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A segment of the source as its playlist has it: start and duration in ticks of its strip, size in bytes; -1: the
    rendition has none there."""

    key: str
    start: int
    duration: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.duration


class Strip(msgspec.Struct, frozen=True):
    """A rendition of the source. letter: of the rendition that it becomes (`v-720p`, `a`); codec: RFC 6381; init: key
    of its init segment. Pieces follow each other without a hole; those of all pictures are cut at the same moments."""

    letter: str
    codec: str
    scale: int
    init: str
    pieces: tuple[Piece, ...]
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0


class Edge(msgspec.Struct, frozen=True):
    """A segment to make of what these objects show from start up to end (ticks of the strip). delay: by which samples
    are decoded before they are shown, there where the next segment begins. listed: start and duration in playlists."""

    number: int
    pieces: tuple[str, ...]
    start: int
    end: int
    delay: int
    listed: tuple[int, int]


class StripPlan(msgspec.Struct, frozen=True):
    """copies: number of the segment and the piece that it is."""

    strip: Strip
    edges: tuple[Edge, ...]
    copies: tuple[tuple[int, Piece], ...]

    @property
    def listed(self) -> list[tuple[int, int]]:
        """Start and end of each segment, in their order."""
        edges = [(e.number, (e.listed[0], sum(e.listed))) for e in self.edges]
        return [span for _, span in sorted([*edges, *((n, (p.start, p.end)) for n, p in self.copies)])]

    def made(self, first: int, init: str, sizes: dict[int, int]) -> Made:
        """As results have it. first: number of the first segment; sizes: of the edges, in bytes."""
        strip = self.strip
        edges = [Segment(first + e.number, *e.listed, sizes[e.number]) for e in self.edges]
        copies = [Segment(first + number, p.start, p.duration, p.size) for number, p in self.copies]
        return Made(
            strip.letter,
            strip.codec,
            strip.scale,
            init,
            tuple(sorted(edges + copies, key=lambda segment: segment.number)),
            strip.width,
            strip.height,
            strip.frame_rate,
            strip.sample_rate,
            strip.channels,
        )


class CutPlan(msgspec.Struct, frozen=True):
    """zero: when the set begins to be shown, on the source's timeline, in ticks of 1/90000 s; duration in the same.
    exact: begins and ends at the very picture."""

    zero: int
    duration: int
    exact: bool
    strips: tuple[StripPlan, ...]


class _Span(NamedTuple):
    """Of one strip, by the places of its pieces. head, tail: the first and the last one with something of the stretch;
    copy_first to copy_last are taken as they are. from_, to: when the first picture is shown, and when the last one is
    over."""

    from_: int
    to: int
    head: int
    tail: int
    copy_first: int
    copy_last: int


async def plan_cut(strips: Sequence[Strip], start: float, end: float, read: Read) -> CutPlan:
    """strips: pictures from the best to the lowest, then the sound; either may be missing. start, end: s on their
    timeline; what is shown at `start` is the first picture, what is shown just before `end` the last. Raises BadSource
    when nothing is left or a segment is not there, MediaError when one cannot be understood."""
    videos = [strip for strip in strips if strip.width]
    sounds = [strip for strip in strips if not strip.width]
    reader = _Reader(read)
    if not videos:
        return await _sound_alone(sounds, start, end, reader)
    lead = videos[0]
    exact = lead.codec.startswith(MADE_EXACTLY)
    span = await _span(lead, start, end, reader) if exact else None
    if span is None:
        exact, span = False, await _wide_span(lead, start, end, reader)
    plans = []
    for strip in videos:
        try:
            plan = await _video(strip, span, reader, exact=exact)
        except _Missing:
            continue
        if plan is not None:
            plans.append(plan)
    if not plans:
        raise BadSource("nothing_there", "There is no picture in this stretch.")
    zero, until = (round(at * VIDEO_TIMESCALE / lead.scale) for at in (span.from_, span.to))
    count = len(plans[0].listed)
    for strip in sounds:
        scale = strip.scale / VIDEO_TIMESCALE
        sound = await _sound(strip, zero * scale, until * scale, reader, count)
        if sound is not None:
            plans.append(sound)
    return CutPlan(zero, until - zero, exact, tuple(plans))


# pictures


async def _span(strip: Strip, start: float, end: float, reader: _Reader) -> _Span | None:
    """None: the edges cannot be exact."""
    pieces = strip.pieces
    head, from_ = await _shown_at(strip, round(start * strip.scale), reader)
    tail, to = await _over_at(strip, max(round(end * strip.scale), from_ + 1), reader)
    copy_first = head
    if from_ > await _first(strip, head, reader) or not _whole(await reader.samples(pieces[head])):
        copy_first = head + 1
    while copy_first <= tail and not _whole(await reader.samples(pieces[copy_first])):
        copy_first += 1
    copy_last = tail if to >= await _last(strip, tail, reader) else tail - 1
    if copy_first - head > LONGEST_EDGE or (copy_first > copy_last and tail - head >= LONGEST_EDGE):
        return None
    return _Span(from_, to, head, tail, copy_first, copy_last)


async def _wide_span(strip: Strip, start: float, end: float, reader: _Reader) -> _Span:
    """From a key frame to the end of a segment."""
    head, _ = await _shown_at(strip, round(start * strip.scale), reader)
    tail, _ = await _over_at(strip, round(end * strip.scale), reader)
    head = await _back_to_key(strip, head, reader)
    tail = max(tail, head)
    key = (await reader.samples(strip.pieces[head]))[0].pts
    return _Span(key, await _last(strip, tail, reader), head, tail, head, tail)


async def _video(strip: Strip, span: _Span, reader: _Reader, *, exact: bool) -> StripPlan | None:
    """None: this rendition is not cut as the best one is."""
    pieces = strip.pieces
    if len(pieces) <= span.tail or any(piece.size < 0 for piece in pieces[span.head : span.tail + 1]):
        return None
    joints = {span.copy_first} if span.copy_first <= span.copy_last else set()
    for place in joints:
        if not (await reader.samples(pieces[place]))[0].key:
            return None
    if not exact:
        return StripPlan(strip, (), tuple((n, p) for n, p in enumerate(pieces[span.head : span.tail + 1])))
    edges: list[Edge] = []
    if span.copy_first > span.copy_last:  # the stretch is within a segment or two
        edges.append(await _edge(strip, 0, span.head, span.tail, span.from_, span.to, reader))
        return StripPlan(strip, tuple(edges), ())
    if span.copy_first > span.head:
        until = await _first(strip, span.copy_first, reader)
        edges.append(await _edge(strip, 0, span.head, span.copy_first - 1, span.from_, until, reader))
    copied = pieces[span.copy_first : span.copy_last + 1]
    copies = tuple((len(edges) + number, piece) for number, piece in enumerate(copied))
    if span.copy_last < span.tail:
        begin = await _first(strip, span.tail, reader)
        number = len(edges) + len(copies)
        edges.append(await _edge(strip, number, span.tail, span.tail, begin, span.to, reader))
    return StripPlan(strip, tuple(edges), copies)


async def _edge(strip: Strip, number: int, first: int, last: int, start: int, end: int, reader: _Reader) -> Edge:
    pieces = strip.pieces
    found = await reader.samples(pieces[first])
    from_key = await _back_to_key(strip, first, reader)
    if from_key == first and start < found[0].pts:
        from_key = await _back_to_key(strip, first - 1, reader)  # pictures that lean on the group before
    behind = await reader.samples(pieces[last + 1]) if await _ends_with(strip, last, end, reader) else found
    delay = behind[0].pts - behind[0].dts
    # playlists of live segments count from when these are decoded, those of videos from when they are shown
    shift = pieces[first].start - min(sample.pts for sample in found)
    listed_end = pieces[last + 1].start if behind is not found else end + shift
    listed = (start + shift, max(listed_end - start - shift, 1))
    keys = tuple(piece.key for piece in pieces[from_key : last + 1])
    return Edge(number, keys, start, end, delay, listed)


async def _ends_with(strip: Strip, last: int, end: int, reader: _Reader) -> bool:
    """Whether the next piece goes on at this very moment."""
    return last + 1 < len(strip.pieces) and end == await _first(strip, last + 1, reader)


async def _shown_at(strip: Strip, at: int, reader: _Reader) -> tuple[int, int]:
    """The piece that has the picture shown at this moment, and since when that is shown."""
    place = max(bisect_right([piece.start for piece in strip.pieces], at) - 1, 0)
    if place and at < await _first(strip, place, reader):
        place -= 1
    elif place + 1 < len(strip.pieces) and at >= await _first(strip, place + 1, reader):
        place += 1
    times = [sample.pts for sample in await reader.samples(strip.pieces[place])]
    return place, max((time for time in times if time <= at), default=min(times))


async def _over_at(strip: Strip, at: int, reader: _Reader) -> tuple[int, int]:
    """The piece that has the last picture before this moment, and when the next one is shown."""
    place = max(bisect_right([piece.start for piece in strip.pieces], at) - 1, 0)
    while place and at <= await _first(strip, place, reader):
        place -= 1
    if place + 1 < len(strip.pieces) and at > await _first(strip, place + 1, reader):
        place += 1
    times = [sample.pts for sample in await reader.samples(strip.pieces[place])]
    return place, min((time for time in times if time >= at), default=await _last(strip, place, reader))


async def _first(strip: Strip, place: int, reader: _Reader) -> int:
    return min(sample.pts for sample in await reader.samples(strip.pieces[place]))


async def _last(strip: Strip, place: int, reader: _Reader) -> int:
    """When the piece's last picture is over."""
    found = await reader.samples(strip.pieces[place])
    newest = max(found, key=lambda sample: sample.pts)
    return newest.pts + found[-1].duration


async def _back_to_key(strip: Strip, place: int, reader: _Reader) -> int:
    """The nearest piece up to here that begins with a key frame."""
    for back in range(max(place, 0), max(place - FURTHEST_BACK, 0) - 1, -1):
        if (await reader.samples(strip.pieces[back]))[0].key:
            return back
    raise BadSource("no_key_frame", "There is no key frame to begin with. Choose another moment.")


def _whole(found: Sequence[CodedSample]) -> bool:
    """Whether a decoder can begin here and show all of it."""
    return found[0].key and all(sample.pts >= found[0].pts for sample in found)


# sound


class _Kept(NamedTuple):
    """Of the sound: what is kept of these pieces. begin, until: ticks; whole: nothing is cut off."""

    pieces: tuple[Piece, ...]
    begin: int
    until: int
    shift: int
    whole: bool

    @property
    def listed(self) -> tuple[int, int]:
        return self.begin + self.shift, self.until - self.begin


async def _sound(strip: Strip, start: float, end: float, reader: _Reader, count: int = 0) -> StripPlan | None:
    """Frames of which the greater part is in the stretch, in `count` segments where it can be. None: there is no sound
    in it, or not from its start to its end while the rendition has some."""
    pieces = [piece for piece in strip.pieces if piece.size >= 0]
    starts = [piece.start for piece in pieces]
    kept: list[_Kept] = []
    for piece in pieces[max(bisect_right(starts, start) - 2, 0) : bisect_right(starts, end) + 1]:
        if piece.start > start + strip.scale and piece.end < end - strip.scale:
            kept.append(_Kept((piece,), piece.start, piece.end, 0, whole=True))
            continue
        found = await reader.samples(piece)
        some = [sample for sample in found if start < sample.pts + sample.duration / 2 <= end]
        if some:
            until = some[-1].pts + some[-1].duration
            shift = piece.start - found[0].pts
            kept.append(_Kept((piece,), some[0].pts, until, shift, whole=len(some) == len(found)))
    # what reaches a little into the segment before the first picture's, or behind the last one's, belongs to that
    if 1 < len(kept) > count > 0:
        kept[:2] = [_together(kept[0], kept[1])]
    if 1 < len(kept) > count > 0:
        kept[-2:] = [_together(kept[-2], kept[-1])]
    if not kept:
        return None
    slack = WHOLE * strip.scale
    broken = len(pieces) < len(strip.pieces) and (kept[0].begin > start + slack or kept[-1].until < end - slack)
    if broken:
        return None
    edges = [
        Edge(number, tuple(piece.key for piece in one.pieces), one.begin, one.until, 0, one.listed)
        for number, one in enumerate(kept)
        if not one.whole
    ]
    return StripPlan(strip, tuple(edges), tuple((n, one.pieces[0]) for n, one in enumerate(kept) if one.whole))


def _together(first: _Kept, second: _Kept) -> _Kept:
    return _Kept((*first.pieces, *second.pieces), first.begin, second.until, first.shift, whole=False)


async def _sound_alone(sounds: Sequence[Strip], start: float, end: float, reader: _Reader) -> CutPlan:
    for strip in sounds:
        plan = await _sound(strip, start * strip.scale, end * strip.scale, reader)
        if plan is not None:
            listed = plan.listed
            zero = round(listed[0][0] * VIDEO_TIMESCALE / strip.scale)
            length = listed[-1][1] - listed[0][0]
            return CutPlan(zero, round(length * VIDEO_TIMESCALE / strip.scale), True, (plan,))
    raise BadSource("nothing_there", "There is neither picture nor sound in this stretch.")


class _Missing(Exception):
    """What would be needed to cut it, a rendition has not."""


class _Reader:
    """Segments taken apart, each read once. Only those at the edges are."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, list[CodedSample]] = {}

    async def samples(self, piece: Piece) -> list[CodedSample]:
        found = self._known.get(piece.key)
        if piece.size < 0:
            raise _Missing
        if found is None:
            found = self._known[piece.key] = await asyncio.to_thread(_times, await self._read(piece.key))
        return found


def _times(segment: bytes) -> list[CodedSample]:
    """Its samples without the media itself. In a thread: a segment may have megabytes."""
    return [sample._replace(data=b"") for sample in samples(segment)]
