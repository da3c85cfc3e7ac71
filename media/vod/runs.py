"""What can be cut of a source: runs of segments that go on without a break, on the source's own time.

A run ends where a session of the publisher does, where a segment is missing, and where a format changes. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from media.package.history import read_history
from media.package.journal import Init, PieceLine, SegmentLine
from media.samples import VIDEO_TIMESCALE
from media.vod.cut import Piece, Strip
from media.vod.options import Options
from media.vod.plan import rungs_of
from media.vod.stretches import Stretch

LEAST = 0.02
"""Less of a run than this, s, is not worth a cut."""
AROUND = 12.0
"""Seconds of a run that are looked at before what is wanted, for its key frame."""
MISSING = Piece("", 0, 0, -1)


class Run(msgspec.Struct, frozen=True):
    """start, end: s on the source's time. later: what is shown then has so many s more on the time of its files."""

    start: float
    end: float
    later: float
    strips: tuple[Strip, ...]


class Window(msgspec.Struct, frozen=True):
    """A part of a run that is wanted, s on the source's time."""

    run: Run
    start: float
    end: float

    @property
    def shown(self) -> tuple[float, float]:
        """The same on the time of the files."""
        return self.start + self.run.later, self.end + self.run.later


class Journal(msgspec.Struct, frozen=True):
    """A broadcast as its journal tells it. origin: when its time began, s since the epoch. first, last: what of it
    there is media for, s on its time; None: of nothing. session_first: where its last session began. closed: nothing is
    being added."""

    origin: float
    first: float | None
    last: float | None
    closed: bool
    session_first: float = 0.0


def windows(runs: Iterable[Run], start: float, end: float) -> list[Window]:
    """What of the runs is in this time, in its order."""
    found = [Window(run, max(start, run.start), min(end, run.end)) for run in runs]
    return [window for window in found if window.end - window.start > LEAST]


# videos


def runs_of_stretches(stretches: Sequence[Stretch], folder: str, old_mark: str = "", mark: str = "") -> list[Run]:
    """Of a video. folder: of its objects; marks: in the names of what there is, and of what is made of it."""
    runs, at = [], 0.0
    for stretch in stretches:
        strips = [
            Strip(
                marked(unmarked(made.letter, old_mark), mark),
                made.codec,
                made.scale,
                f"{folder}/{made.init}",
                tuple(
                    Piece(f"{folder}/{made.letter}-{s.number}.m4s", s.start, s.duration, s.size) for s in made.segments
                ),
                made.width,
                made.height,
                made.frame_rate,
                made.sample_rate,
                made.channels,
            )
            for made in stretch.renditions
        ]
        strips.sort(key=lambda strip: -strip.width * strip.height)
        runs.append(Run(at, at + stretch.length, stretch.start / VIDEO_TIMESCALE - at, tuple(strips)))
        at += stretch.length
    return runs


def unmarked(letter: str, mark: str) -> str:
    return letter.removesuffix(mark).rstrip("-") if mark else letter


def marked(letter: str, mark: str) -> str:
    if not mark:
        return letter
    return f"{letter}{mark}" if "-" in letter else f"{letter}-{mark}"


# broadcasts


def look(journal: bytes) -> Journal:
    """In a thread, as what follows: a long broadcast has many segments."""
    history = read_history(journal)
    there = [line for line in history.segments if _there(line)]
    if history.head is None or not there:
        return Journal(history.head.origin if history.head else 0.0, None, None, history.clean)
    session = [line for line in there if line.session == there[-1].session]
    return Journal(history.head.origin, _start(there[0]), _end(there[-1]), history.clean, _start(session[0]))


def runs_of_journal(journal: bytes, folder: str, start: float, end: float, options: Options) -> list[Run]:
    """Of a broadcast, as far as they may be needed for this time."""
    history = read_history(journal)
    near = [x for x in history.segments if _end(x) > start - AROUND and _start(x) < end + AROUND / 2]
    runs = []
    for key, group in itertools.groupby(_numbered(near), key=lambda pair: pair[0]):
        lines = [line for _, line in group]
        if any(key[1:]):
            runs.append(_run(lines, history.inits, history.follows, folder, options))
    return runs


def _numbered(lines: Iterable[SegmentLine]) -> Iterable[tuple[tuple[int, str, str], SegmentLine]]:
    """With what has to be the same all through a run."""
    run = 0
    for line in lines:
        run += line.discontinuity
        yield (run, _init(line, "v"), _init(line, "a")), line


def _run(
    lines: Sequence[SegmentLine],
    inits: dict[str, Init],
    follows: dict[str, dict[int, PieceLine]],
    folder: str,
    options: Options,
) -> Run:
    strips: list[Strip] = []
    names: set[str] = set()
    for letter in ("v", "a"):
        name = _init(lines[0], letter)
        if name:
            init = inits[name]
            new = f"v-{rungs_of(init.width, init.height, init.frame_rate, options)[-1].name}" if letter == "v" else "a"
            names.add(new)
            strips.append(_strip(new, letter, init, folder, [(x.msn, x.pieces[letter]) for x in lines]))
    for letter, pieces in follows.items():
        there = [pieces[line.msn].init for line in lines if line.msn in pieces]
        if not there or letter in names:
            continue
        init = inits[there[-1]]
        found = [(line.msn, pieces.get(line.msn)) for line in lines]
        same = [(msn, piece if piece is not None and piece.init == init.name else None) for msn, piece in found]
        strips.append(_strip(letter, letter, init, folder, same))
    strips.sort(key=lambda strip: -strip.width * strip.height)
    return Run(_start(lines[0]), _end(lines[-1]), 0.0, tuple(strips))


def _strip(new: str, letter: str, init: Init, folder: str, found: Sequence[tuple[int, PieceLine | None]]) -> Strip:
    pieces = tuple(
        Piece(f"{folder}/{letter}-{msn}.m4s", p.start, p.duration, p.size) if p is not None else MISSING
        for msn, p in found
    )
    return Strip(
        new,
        init.codec,
        init.scale,
        f"{folder}/{init.name}",
        pieces,
        init.width,
        init.height,
        init.frame_rate,
        init.sample_rate,
        init.channels,
    )


def _init(line: SegmentLine, letter: str) -> str:
    piece = line.pieces.get(letter)
    return "" if piece is None or piece.gap else piece.init


def _there(line: SegmentLine) -> bool:
    return any(not piece.gap for piece in line.pieces.values())


def _start(line: SegmentLine) -> float:
    piece = line.pieces.get("v") or next(iter(line.pieces.values()))
    return piece.start / piece.scale


def _end(line: SegmentLine) -> float:
    piece = line.pieces.get("v") or next(iter(line.pieces.values()))
    return piece.end / piece.scale
