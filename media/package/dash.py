"""DASH manifests (ISO/IEC 23009-1) over the same files as HLS.

A Period is a run of segments with the same tracks: a discontinuity, a gap or another codec begins the next one,
because within a SegmentTemplate numbers and times have to follow each other. Period@start is the
place on the timeline whose zero is availabilityStartTime, and presentationTimeOffset is the same moment in ticks, so
the offset of audio and video is theirs.

availabilityTimeOffset is not written: a segment is one file that exists once it is closed, and cannot be had in pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from media.package.journal import Init, PieceLine
from media.package.packed import Packed, compose, pack

BLOCK = 16


class Sealed(NamedTuple):
    first: int
    size: int
    text: dict[str, Packed]


@dataclass(slots=True)
class Stretch:
    """A derived rendition's segments within a Period, one after the other without a hole: the newest such row."""

    init: Init
    lines: deque[tuple[int, str]] = field(default_factory=deque)


@dataclass(slots=True)
class Run:
    """One Period. start: s on the timeline; inits: letter -> configuration."""

    number: int
    session: int
    start: float
    inits: dict[str, Init]
    first: int
    next: int
    end: float = 0.0
    shown_at: float = 0.0  # start in a manifest without holes (recording)
    sealed: deque[Sealed] = field(default_factory=deque)
    open: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    followers: dict[str, Stretch] = field(default_factory=dict)

    def offset(self, init: Init) -> int:
        return round(self.start * init.scale)


class Timeline:
    """All segments that a manifest lists, as text. Old ones are packed."""

    def __init__(self) -> None:
        self.runs: deque[Run] = deque()

    def add(
        self, msn: int, session: int, base: float, pieces: Mapping[str, PieceLine], inits: Mapping[str, Init]
    ) -> None:
        """A closed segment. Pieces that are gaps, or of a configuration that nobody knows, are not in the manifest."""
        media = {letter: piece for letter, piece in pieces.items() if not piece.gap and piece.init in inits}
        if not media:
            return
        run = self.runs[-1] if self.runs else None
        ours = {letter: inits[piece.init] for letter, piece in media.items()}
        if run is None or run.session != session or run.next != msn or not _continues(run.inits, ours):
            start = min(piece.start / piece.scale for piece in media.values())
            if run is None or run.session != session:
                start = min(start, base) if start - base < 0.1 else start
            run = Run(msn, session, start, ours, msn, msn)
            self.runs.append(run)
        run.next = msn + 1
        run.end = max((piece.start + piece.duration) / piece.scale for piece in media.values())
        run.open.append((msn, {x: f'<S t="{p.start}" d="{p.duration}"/>' for x, p in media.items()}))
        if len(run.open) >= 2 * BLOCK:
            self._seal(run)

    def follow(self, msn: int, letter: str, piece: PieceLine, init: Init) -> None:
        """A derived rendition's share of a segment, which may be closed before or after the source's."""
        for run in reversed(self.runs):
            if run.first <= msn <= run.next:
                stretch = run.followers.get(letter)
                if stretch is None or stretch.init != init or not stretch.lines or stretch.lines[-1][0] != msn - 1:
                    stretch = run.followers[letter] = Stretch(init)
                stretch.lines.append((msn, f'<S t="{piece.start}" d="{piece.duration}"/>'))
                return

    def lose_follow(self, letter: str, msn: int) -> None:
        """Its share of this segment was given up: what it has begins behind that."""
        for run in self.runs:
            stretch = run.followers.get(letter)
            while stretch is not None and stretch.lines and stretch.lines[0][0] <= msn <= stretch.lines[-1][0]:
                stretch.lines.popleft()

    def drop_before(self, msn: int) -> None:
        """The window begins here (or up to a block earlier)."""
        while self.runs and self.runs[0].next <= msn:
            self.runs.popleft()
        if not self.runs:
            return
        run = self.runs[0]
        while run.sealed and run.sealed[0].first + run.sealed[0].size <= msn:
            run.first += run.sealed.popleft().size
        while not run.sealed and len(run.open) > 1 and run.open[0][0] < msn:
            run.open.popleft()
            run.first = run.open[0][0]
        for stretch in run.followers.values():
            while stretch.lines and stretch.lines[0][0] < run.first:
                stretch.lines.popleft()

    def lose(self, msn: int) -> None:
        """This segment was given up: what follows it is another Period. One that is sealed stays listed."""
        for place, run in enumerate(self.runs):
            at = next((n for n, (number, _) in enumerate(run.open) if number == msn), None)
            if at is None:
                continue
            lines = list(run.open)
            run.open = deque(lines[:at])
            run.next = msn
            later = lines[at + 1 :]
            if later:
                start = min(_start(text) / run.inits[x].scale for x, text in later[0][1].items())
                rest = Run(msn + 1, run.session, start, run.inits, msn + 1, later[-1][0] + 1, run.end)
                rest.open = deque(later)
                for letter, stretch in run.followers.items():
                    rest.followers[letter] = Stretch(stretch.init, deque(x for x in stretch.lines if x[0] > msn))
                    stretch.lines = deque(x for x in stretch.lines if x[0] < msn)
                self.runs.insert(place + 1, rest)
            run.end = min(_start(text) / run.inits[x].scale for x, text in lines[at][1].items())
            if not run.open and not run.sealed:
                self.runs.remove(run)
            return

    @staticmethod
    def _seal(run: Run) -> None:
        oldest = [run.open.popleft() for _ in range(BLOCK)]
        text = {letter: pack("".join([lines[letter] for _, lines in oldest])) for letter in run.inits}
        run.sealed.append(Sealed(oldest[0][0], BLOCK, text))

    def periods(self, bandwidths: Mapping[str, int], *, durations: bool, last_open: bool) -> Iterator[Packed | str]:
        for run in self.runs:
            start = run.shown_at if durations else run.start
            length = ""
            if durations or (run is self.runs[-1] and not last_open):
                length = f' duration="{seconds(run.end - run.start)}"'
            yield f'<Period id="p{run.number}" start="{seconds(start)}"{length}>'
            followers = {x: s for x, s in run.followers.items() if s.lines}
            for letter in sorted(run.inits, reverse=True):
                init = run.inits[letter]
                yield adaptation_head(1 if letter == "v" else 2, letter)
                yield representation_head(letter, init, run.offset(init), run.first, bandwidths.get(letter, 0))
                for block in run.sealed:
                    yield block.text[letter]
                yield "".join([lines[letter] for _, lines in run.open])
                yield REPRESENTATION_END
                for other in [x for x, s in followers.items() if x[0] == letter and _alike(s.init, init)]:
                    yield _stretch(run, other, followers.pop(other), bandwidths)
                yield "</AdaptationSet>"
            for number, (letter, stretch) in enumerate(sorted(followers.items())):
                yield adaptation_head(3 + number, letter)
                yield _stretch(run, letter, stretch, bandwidths)
                yield "</AdaptationSet>"
            yield "</Period>"


def _start(line: str) -> int:
    """Of a segment's line in a SegmentTimeline, ticks."""
    return int(line.split('"', 2)[1])


REPRESENTATION_END = "</SegmentTimeline></SegmentTemplate></Representation>"


def _continues(inits: Mapping[str, Init], others: Mapping[str, Init]) -> bool:
    """Whether the same Representations go on. A picture may have changed its size: its key frames carry the parameter
    sets then, so that the init segment of before serves. Another Period would cut the sound where the picture changes,
    which is not quite where a segment of it begins, and leave a hole."""
    if inits.keys() != others.keys():
        return False
    return all(
        init == others[x] or (x == "v" and init.scale == others[x].scale and _alike(init, others[x]))
        for x, init in inits.items()
    )


def _alike(one: Init, other: Init) -> bool:
    """Whether a player may change from one to the other within an AdaptationSet: the same codec."""
    return one.codec.partition(".")[0] == other.codec.partition(".")[0]


def _stretch(run: Run, letter: str, stretch: Stretch, bandwidths: Mapping[str, int]) -> str:
    init = stretch.init
    head = representation_head(letter, init, run.offset(init), stretch.lines[0][0], bandwidths.get(letter, 0))
    return head + "".join([line for _, line in stretch.lines]) + REPRESENTATION_END


def adaptation_head(id: int, letter: str) -> str:
    kind = "video" if letter[0] == "v" else "audio"
    role = "main" if len(letter) == 1 else "alternate"
    return (
        f'<AdaptationSet id="{id}" contentType="{kind}" mimeType="{kind}/mp4" segmentAlignment="true">'
        f'<Role schemeIdUri="urn:mpeg:dash:role:2011" value="{role}"/>'
    )


def representation_head(letter: str, init: Init, offset: int, first: int, bandwidth: int) -> str:
    about = [f' codecs={quoteattr(init.codec)} bandwidth="{max(bandwidth, 1)}"']
    channels = ""
    if letter[0] == "v":
        if init.width and init.height:
            about.append(f' width="{init.width}" height="{init.height}"')
        if init.frame_rate:
            about.append(f' frameRate="{_rate(init.frame_rate)}"')
    else:
        about.append(f' audioSamplingRate="{init.sample_rate or init.scale}"')
        channels = (
            '<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011"'
            f' value="{init.channels or 2}"/>'
        )
    return (
        f'<Representation id="{letter}"{"".join(about)}>{channels}'
        f'<SegmentTemplate timescale="{init.scale}" presentationTimeOffset="{offset}"'
        f' initialization="{init.name}" media="{letter}-$Number$.m4s" startNumber="{first}"><SegmentTimeline>'
    )


def live_manifest(
    timeline: Timeline,
    *,
    origin: str,
    now: str,
    dvr: float,
    target: int,
    segment: float,
    bandwidths: Mapping[str, int],
    ended: bool,
) -> tuple[bytes, bytes]:
    """origin and now: RFC 3339. ended: nothing will follow; the manifest then says where it stops (5.3.1.2)."""
    end = max((run.end for run in timeline.runs), default=0.0)
    more = f' mediaPresentationDuration="{seconds(end)}"' if ended else f' minimumUpdatePeriod="{seconds(segment)}"'
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
        f' availabilityStartTime="{origin}" publishTime="{now}"{more} timeShiftBufferDepth="{seconds(dvr)}"'
        f' suggestedPresentationDelay="{seconds(3 * segment)}" minBufferTime="{seconds(segment)}"'
        f' maxSegmentDuration="{seconds(target + 0.5)}">'
    )
    clocks = (
        '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="time"/>'
        f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="{now}"/>'
        "</MPD>\n"
    )
    periods = timeline.periods(bandwidths, durations=False, last_open=not ended)
    return compose(merged([head, *periods, clocks]))


def static_manifest(timeline: Timeline, *, target: int, bandwidths: Mapping[str, int]) -> tuple[bytes, bytes]:
    """For a recording: the holes between sessions are closed up."""
    at = 0.0
    for run in timeline.runs:
        run.shown_at = at
        at += run.end - run.start
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
        f' mediaPresentationDuration="{seconds(at)}" minBufferTime="PT2S" maxSegmentDuration="{seconds(target + 0.5)}">'
    )
    periods = timeline.periods(bandwidths, durations=True, last_open=False)
    return compose(merged([head, *periods, "</MPD>\n"]))


def merged(chunks: Sequence[Packed | str]) -> list[Packed | str]:
    """The same with neighbouring texts put together."""
    out: list[Packed | str] = []
    texts: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, str):
            texts.append(chunk)
            continue
        if texts:
            out.append("".join(texts))
            texts = []
        out.append(chunk)
    if texts:
        out.append("".join(texts))
    return out


def seconds(value: float) -> str:
    """xs:duration."""
    return f"PT{value:.6f}".rstrip("0").rstrip(".") + "S"


def _rate(rate: float) -> str:
    if abs(rate - round(rate)) < 0.001:
        return str(round(rate))
    if abs(rate * 1.001 - round(rate * 1.001)) < 0.001 * rate / 24:
        return f"{round(rate * 1.001) * 1000}/1001"
    return f"{round(rate * 1000)}/1000"
