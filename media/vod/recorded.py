"""The recording of a broadcast as the set of a video: which segments are taken as they are, and what is lacking. Pure.

A recording's journal says what there is. Segments are numbered anew from 0, holes are closed up, and wherever a session
ends, something is missing or a format changes, a stretch ends. What the live ladder made is taken where it is there
for a whole stretch; what lacks is Work: renditions to be encoded of the recorded picture, on its timeline and cut where
it is cut, AAC beside Opus, pictures to choose from. Of what is recorded nothing is decoded for the set itself.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from media.package.history import History, read_history
from media.package.journal import Init, PieceLine, SegmentLine
from media.samples import VIDEO_TIMESCALE
from media.vod.facts import AudioFacts, SourceFacts, VideoFacts
from media.vod.options import Options
from media.vod.pictures import moments
from media.vod.plan import AudioPlan, Chunk, Plan, RungPlan, rungs_of, ticks
from media.vod.results import Made, Segment
from media.vod.stretches import Stretch, in_ticks

AAC = "a-aac"
PICTURE, SOUND, STILLS = "picture", "sound", "stills"


class Copy(NamedTuple):
    """A file of the recording, and what it is called in the set."""

    name: str
    new: str


class Recorded(NamedTuple):
    """segments: how many numbers of the recording have media. clean: the journal has its end. looks: of each stretch,
    what its picture is encoded with, None where it has none: stretches that look alike hold what one decoder takes."""

    stretches: tuple[Stretch, ...]
    copies: tuple[Copy, ...]
    looks: tuple[Init | None, ...]
    segments: int
    clean: bool


class Work(msgspec.Struct, frozen=True):
    """A piece for the engine. files: of the set, one after the other they are the source; shifts: ticks by which the
    times in each are to be moved before, none: as they are."""

    kind: str
    rungs: tuple[str, ...]
    plan: Plan
    files: tuple[str, ...]
    shifts: tuple[int, ...] = ()


class Looked(NamedTuple):
    """What a probe found in the first segments of a stretch's picture. late: ticks from a segment's decode time to when
    its first picture is shown."""

    facts: VideoFacts
    late: int


def recorded(journal: bytes, options: Options) -> Recorded:
    """What there is. No stretches: nothing was recorded."""
    history = read_history(journal)
    groups = list(_groups(history))
    pictures = [history.inits[group[0].pieces["v"].init] for group in groups if _has(group[0], "v")]
    largest = max(pictures, key=lambda init: init.width * init.height, default=None)
    ladder = [rung.name for rung in _ladder(largest, options)] if largest is not None else []
    opus = any(_codec(group, history, "a") == "opus" for group in groups)
    stretches: list[Stretch] = []
    copies: list[Copy] = []
    looks: list[Init | None] = []
    number = 0
    for place, group in enumerate(groups, start=1):
        stretch, taken = _stretch(group, history, ladder, options, first=number, place=place, opus=opus)
        stretches.append(stretch)
        copies += taken
        looks.append(history.inits[group[0].pieces["v"].init] if _has(group[0], "v") else None)
        number += len(group)
    segments = sum(any(not p.gap for p in line.pieces.values()) for line in history.segments)
    return Recorded(tuple(stretches), tuple(copies), tuple(looks), segments, history.clean)


def bytes_of(stretches: Sequence[Stretch], *, source: bool) -> int:
    """Of the segments; source: of those alone that the publisher sent."""
    total = 0
    for stretch in stretches:
        top = source_of(stretch)
        for made in stretch.renditions:
            if not source or made is top or made.letter == "a":
                total += sum(segment.size for segment in made.segments)
    return total


def source_of(stretch: Stretch) -> Made | None:
    """The picture that the others are made of."""
    videos = [made for made in stretch.renditions if made.letter[0] == "v"]
    return max(videos, key=lambda made: (made.width * made.height, made.segments[0].size), default=None)


def work_of(
    stretches: Sequence[Stretch], looks: Sequence[Init | None], found: Sequence[Looked | None], options: Options
) -> list[Work]:
    """What lacks, in the order in which it is to be done. found: of each stretch; None: no picture of it can be
    made."""
    work: list[Work] = []
    stills = _stills(stretches, looks, found, options)
    if stills is not None:
        work.append(stills)
    work += [_sound(stretch, sound, place, options) for place, stretch, sound in opus_alone(stretches)]
    names = dict.fromkeys(
        rung.name for look in looks if look is not None for rung in _ladder(look, options)
    )  # from low to high in every ladder
    lacking = {place: _lacking(stretch, names) for place, stretch in enumerate(stretches, start=1)}
    if all(look is None or seen is not None for look, seen in zip(looks, found, strict=True)):
        for place, stretch in enumerate(stretches, start=1):
            look = found[place - 1]
            if look is not None and lacking[place]:
                work += _pictures(stretch, look, lacking[place], place, options)
    return work


def beside(
    stretches: Sequence[Stretch], looks: Sequence[Init | None], found: Sequence[Looked | None], options: Options
) -> list[Work | None]:
    """The same for a set that gets no rungs of its own: stills (None: none can be made), and sound where it lacks."""
    sounds = (_sound(stretch, sound, place, options) for place, stretch, sound in opus_alone(stretches))
    return [_stills(stretches, looks, found, options), *sounds]


def opus_alone(stretches: Sequence[Stretch]) -> list[tuple[int, Stretch, Made]]:
    """Stretches (place from 1, stretch, its sound) that lack AAC, in a set that has Opus."""
    if not any(made.codec.lower() == "opus" for stretch in stretches for made in stretch.renditions):
        return []
    return [
        (place, stretch, sound)
        for place, stretch in enumerate(stretches, start=1)
        if (sound := stretch.rendition("a")) is not None and stretch.rendition(AAC) is None
    ]


def retimed(segment: bytes, shift: int) -> bytes:
    """With its decode times moved by so many ticks. Raises ValueError for what is no segment."""
    changed = bytearray(segment)
    for kind, start, end in _boxes(segment, 0, len(segment)):
        if kind != b"moof":
            continue
        for inner, begin, until in _boxes(segment, start, end):
            for box, at, stop in _boxes(segment, begin, until) if inner == b"traf" else ():
                if box == b"tfdt":
                    wide = segment[at] == 1
                    if stop - at < (12 if wide else 8):
                        raise ValueError("a decode time is cut short")
                    (time,) = struct.unpack_from(">Q" if wide else ">I", segment, at + 4)
                    struct.pack_into(">Q" if wide else ">I", changed, at + 4, max(0, time + shift))
    return bytes(changed)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            raise ValueError("a box does not fit")
        yield kind, at + 8, at + size
        at += size


# stretches


def _groups(history: History) -> Iterator[list[SegmentLine]]:
    """Segments one after the other on one timeline, with the same tracks in the same formats."""
    group: list[SegmentLine] = []
    before: tuple[object, ...] = ()
    for line in history.segments:
        there = tuple(sorted((x, piece.init) for x, piece in line.pieces.items() if not piece.gap))
        key = (line.session, there)
        if group and (key != before or line.msn != group[-1].msn + 1 or line.discontinuity):
            yield group
            group = []
        before = key
        if there:
            group.append(line)
    if group:
        yield group


def _has(line: SegmentLine, letter: str) -> bool:
    return letter in line.pieces and not line.pieces[letter].gap


def _codec(group: Sequence[SegmentLine], history: History, letter: str) -> str:
    return history.inits[group[0].pieces[letter].init].codec.lower() if _has(group[0], letter) else ""


def _stretch(
    group: Sequence[SegmentLine],
    history: History,
    ladder: Sequence[str],
    options: Options,
    *,
    first: int,
    place: int,
    opus: bool,
) -> tuple[Stretch, list[Copy]]:
    lead = "v" if _has(group[0], "v") else "a"
    rows: list[tuple[str, str, list[PieceLine]]] = []  # letter there, letter here, its pieces
    if lead == "v":
        source = [line.pieces["v"] for line in group]
        own = [rung.name for rung in _ladder(history.inits[source[0].init], options)]
        for name in ladder:
            made = _derived(group, history, f"v-{name}") if name in own[:-1] else None
            if made is not None:
                rows.append((f"v-{name}", f"v-{name}", made))
            elif name not in own[:-1]:  # the picture has no more lines than that
                rows.append(("v", f"v-{name}", source))
    if _has(group[0], "a"):
        sound = [line.pieces["a"] for line in group]
        rows.append(("a", "a", sound))
        if opus:
            aac = sound if _codec(group, history, "a") != "opus" else _derived(group, history, AAC)
            if aac is not None:
                rows.append(("a" if aac is sound else AAC, AAC, aac))
    copies: list[Copy] = []
    renditions = []
    for there, here, pieces in rows:
        init = history.inits[pieces[0].init]
        renditions.append(_made(here, init, pieces, first, place))
        copies.append(Copy(init.name, renditions[-1].init))
        copies += [
            Copy(f"{there}-{line.msn}.m4s", f"{here}-{number}.m4s") for number, line in enumerate(group, start=first)
        ]
    start = min(line.pieces[x].start / line.pieces[x].scale for line in group[:1] for x in line.pieces if _has(line, x))
    seconds = tuple(line.pieces[lead].duration / line.pieces[lead].scale for line in group)
    return Stretch(in_ticks(start), first, seconds, tuple(renditions)), copies


def _made(letter: str, init: Init, pieces: Sequence[PieceLine], first: int, place: int) -> Made:
    return Made(
        letter,
        init.codec,
        init.scale,
        f"{letter}-init-{place}.mp4",
        tuple(Segment(number, p.start, p.duration, p.size) for number, p in enumerate(pieces, start=first)),
        init.width,
        init.height,
        init.frame_rate,
        init.sample_rate,
        init.channels,
    )


def _derived(group: Sequence[SegmentLine], history: History, letter: str) -> list[PieceLine] | None:
    """What was made of it live, where it is there for all of the stretch, in one format."""
    there = history.follows.get(letter, {})
    pieces = [there[line.msn] for line in group if line.msn in there]
    return pieces if len(pieces) == len(group) and len({piece.init for piece in pieces}) == 1 else None


def _ladder(init: Init, options: Options) -> tuple[RungPlan, ...]:
    return rungs_of(init.width, init.height, init.frame_rate, options)


# what lacks


def _lacking(stretch: Stretch, names: Sequence[str] | dict[str, None]) -> list[str]:
    top = source_of(stretch)
    if top is None:
        return []
    return [name for name in names if stretch.rendition(f"v-{name}") is None]


def _pictures(stretch: Stretch, look: Looked, names: Sequence[str], place: int, options: Options) -> Iterator[Work]:
    """A chunk of the stretch each, all rungs of it together."""
    top = source_of(stretch)
    assert top is not None
    bits = 8 * sum(segment.size for segment in top.segments) / max(stretch.length, 0.001)
    rungs = tuple(
        msgspec.structs.replace(rung, bit_rate=round(min(rung.bit_rate, max(bits, 64_000))))
        for rung in rungs_of(look.facts.width, look.facts.height, look.facts.frame_rate, options)
        if rung.name in names
    )
    if not rungs:
        return
    half = round(VIDEO_TIMESCALE / max(look.facts.frame_rate, 1.0) / 2)
    shown = [round(s.start * VIDEO_TIMESCALE / top.scale) + look.late for s in top.segments]
    size = round(options.chunk_seconds * VIDEO_TIMESCALE)
    firsts = [0]
    for number in range(1, len(shown)):
        if shown[number] - shown[firsts[-1]] >= size:
            firsts.append(number)
    for first, end in itertools.zip_longest(firsts, firsts[1:], fillvalue=len(shown)):
        zero = shown[first]
        # half a picture early, as publishers' clocks are rounded: each segment begins with the key frame all the same
        inner = [at - half - zero for at in shown[first + 1 : end]]
        last = top.segments[end - 1]
        length = round((last.start + last.duration) * VIDEO_TIMESCALE / top.scale) + look.late - zero
        facts = msgspec.structs.replace(look.facts, start=zero, end=zero + length, keys=(zero,), timescale=_TICK)
        yield Work(
            PICTURE,
            tuple(rung.name for rung in rungs),
            Plan(
                facts=SourceFacts("mp4", 0, length / VIDEO_TIMESCALE, facts, None, ()),
                options=options,
                zero=zero,
                lead=0,
                boundaries=(0, *inner, length),
                rungs=rungs,
                chunks=(Chunk(0, 0, end - first, 0, length),),
                audio=None,
                first=stretch.first + first,
                init=place,
                origin=zero,
            ),
            (top.init, *(f"{top.letter}-{segment.number}.m4s" for segment in top.segments[first:end])),
        )


_TICK = (1, VIDEO_TIMESCALE)


def _sound(stretch: Stretch, sound: Made, place: int, options: Options) -> Work:
    """AAC of a stretch in one piece."""
    starts = [round(segment.start * VIDEO_TIMESCALE / sound.scale) for segment in sound.segments]
    last = sound.segments[-1]
    end = round((last.start + last.duration) * VIDEO_TIMESCALE / sound.scale)
    zero = starts[0]
    channels = 1 if sound.channels == 1 else 2
    facts = AudioFacts(
        index=0,
        codec="opus",
        profile="",
        sample_rate=48_000,
        channels=sound.channels or 2,
        bit_rate=0,
        language="",
        default=True,
        start=sound.segments[0].start,
        end=last.start + last.duration,
        timescale=(1, sound.scale),
        frames=0,
        even=True,
    )
    return Work(
        SOUND,
        (),
        Plan(
            facts=SourceFacts("mp4", 0, (end - zero) / VIDEO_TIMESCALE, None, facts, (facts,)),
            options=options,
            zero=zero,
            lead=0,
            boundaries=(*(start - zero for start in starts), end - zero),
            rungs=(),
            chunks=(),
            audio=AudioPlan(False, channels, 48_000, options.audio_bit_rate * channels // 2),
            mark="aac",
            first=stretch.first,
            init=place,
            origin=zero,
        ),
        (sound.init, *(f"{sound.letter}-{segment.number}.m4s" for segment in sound.segments)),
    )


def _stills(
    stretches: Sequence[Stretch], looks: Sequence[Init | None], found: Sequence[Looked | None], options: Options
) -> Work | None:
    """Pictures of the moments that are wanted, of those segments alone that have them, on the timeline of the whole.
    Of the stretches that look alike and are longest together: in the others the picture before stands."""
    lengths: dict[str, float] = {}
    for stretch, look, seen in zip(stretches, looks, found, strict=True):
        if look is not None and seen is not None:
            lengths[look.digest] = lengths.get(look.digest, 0.0) + stretch.length
    if not lengths:
        return None
    kind = max(lengths, key=lambda digest: lengths[digest])
    length = in_ticks(sum(stretch.length for stretch in stretches))
    wanted = moments(length)
    files: list[str] = []
    shifts: list[int] = []
    keys: list[int] = []
    facts: VideoFacts | None = None
    at = 0
    for stretch, look, seen in zip(stretches, looks, found, strict=True):
        top = source_of(stretch)
        if top is not None and look is not None and seen is not None and look.digest == kind:
            if facts is None:
                facts, files, shifts = seen.facts, [top.init], [0]
            begin = at
            for segment, seconds in zip(top.segments, stretch.seconds, strict=True):
                end = begin + in_ticks(seconds)
                if any(begin <= moment < end for moment in wanted) or not keys:
                    files.append(f"{top.letter}-{segment.number}.m4s")
                    shifts.append(begin - round(segment.start * VIDEO_TIMESCALE / top.scale))
                    keys.append(begin + seen.late)
                begin = end
        at += in_ticks(stretch.length)
    if facts is None:
        return None
    facts = msgspec.structs.replace(facts, start=keys[0], end=length, keys=tuple(keys), timescale=_TICK)
    plan = Plan(
        facts=SourceFacts("mp4", 0, length / VIDEO_TIMESCALE, facts, None, ()),
        options=options,
        zero=0,
        lead=0,
        boundaries=(0, length),
        rungs=(RungPlan("stills", facts.width, facts.height, 1),),
        chunks=(),
        audio=None,
    )
    return Work(STILLS, (), plan, tuple(files), tuple(shifts))


def late_of(facts: VideoFacts, top: Made) -> int:
    """From the first segment's decode time to when its first picture is shown, ticks."""
    return ticks(facts.start, facts.timescale) - round(top.segments[0].start * VIDEO_TIMESCALE / top.scale)
