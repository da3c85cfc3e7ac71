"""What a journal says once it is read whole: the segments from first to last, each there or a gap.

A journal may lack lines: a full disk or spool gives a segment and its line up together. So numbers that are missing are
filled with gaps, and what cannot be played because its configuration is unknown is a gap too. Pure, for a thread.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from media.package.journal import Closed, FollowLine, Head, Init, Lost, PieceLine, SegmentLine, read

MOST_MISSING = 3600
"""A hole of more segments than this is not listed: what follows it begins anew."""

TARGET = 4
"""Target duration, s, of a journal whose head is lost."""

_LETTERS = ("v", "a")
_INIT = re.compile(r"[va](?:-[a-z0-9]{1,12})?-init-([0-9]{1,9})\.mp4")
_LONGEST = 1e9
_LONGEST_SEGMENT = 600.0


@dataclass(frozen=True, slots=True)
class History:
    """head: None for a journal that says nothing. next: no msn from here on was closed or given up. numbers: of the
    next init by letter. clean: nothing was open when it ended. follows: letter of a derived rendition -> msn -> its
    share of that segment, where it has media."""

    head: Head | None
    inits: dict[str, Init]
    segments: list[SegmentLine]
    next: int
    numbers: dict[str, int]
    clean: bool
    follows: dict[str, dict[int, PieceLine]]


def read_history(journal: bytes) -> History:
    head: Head | None = None
    inits: dict[str, Init] = {}
    lost: set[int] = set()
    by_msn: dict[int, SegmentLine] = {}
    numbers: dict[str, int] = {}
    follows: dict[str, dict[int, PieceLine]] = {}
    following, clean, empty = 0, True, True
    for line in read(journal):
        clean, empty = isinstance(line, Closed), False
        if isinstance(line, Head):
            head = head or line
        elif isinstance(line, Init):
            inits[line.name] = line
            numbers[line.letter] = max(numbers.get(line.letter, 0), line.number + 1)
        elif isinstance(line, Lost):
            lost.add(line.msn)
        elif isinstance(line, Closed):
            following = max(following, line.next)
        elif isinstance(line, FollowLine):
            if found := _INIT.fullmatch(line.piece.init):
                numbers[line.letter] = max(numbers.get(line.letter, 0), int(found[1]) + 1)
            if line.piece.init in inits and _possible(line.piece):
                _check(line.letter, line.piece, inits, lost=False)
                if not line.piece.gap:
                    follows.setdefault(line.letter, {})[line.msn] = line.piece
        elif _sane(line):
            by_msn[line.msn] = line
    segments = [by_msn[msn] for msn in sorted(by_msn)]
    for segment in segments:
        for letter, piece in segment.pieces.items():
            if piece.init not in inits and (found := _INIT.fullmatch(piece.init)):
                numbers[letter] = max(numbers.get(letter, 0), int(found[1]) + 1)
            _check(letter, piece, inits, lost=segment.msn in lost)
    end = max([following, *(msn + 1 for msn in lost), *(msn + 1 for msn in by_msn)], default=0)
    if head is None and not empty:
        head = Head(_origin(segments), TARGET)
    listed = _filled(segments, end, head.target if head else TARGET)
    return History(head, inits, listed, end, numbers, clean, _matched(follows, by_msn, lost))


def _sane(line: SegmentLine) -> bool:
    return all(letter in _LETTERS and _possible(piece) for letter, piece in line.pieces.items())


def _possible(piece: PieceLine) -> bool:
    return piece.end <= _LONGEST * piece.scale and piece.duration <= _LONGEST_SEGMENT * piece.scale


def _matched(
    follows: Mapping[str, Mapping[int, PieceLine]], by_msn: Mapping[int, SegmentLine], lost: Set[int]
) -> dict[str, dict[int, PieceLine]]:
    """Those of segments that the source has too."""
    there = by_msn.keys() - lost
    kept = {x: {msn: p for msn, p in pieces.items() if msn in there} for x, pieces in follows.items()}
    return {x: pieces for x, pieces in kept.items() if pieces}


def _check(letter: str, piece: PieceLine, inits: Mapping[str, Init], *, lost: bool) -> None:
    init = inits.get(piece.init)
    if init is None or init.letter != letter or init.scale != piece.scale:
        piece.gap, piece.init = True, ""
    elif lost:
        piece.gap = True


def _origin(segments: Sequence[SegmentLine]) -> float:
    """Where the timeline's zero was, by the first segment."""
    if not segments:
        return 0.0
    first = segments[0]
    return max(0.0, first.at - min(p.start / p.scale for p in first.pieces.values()))


def _filled(segments: Sequence[SegmentLine], end: int, target: int) -> list[SegmentLine]:
    """The same without holes up to `end`, not included; after a hole too long to fill, a discontinuity."""
    filled: list[SegmentLine] = []
    for segment in segments:
        if filled:
            before = filled[-1]
            count = segment.msn - before.msn - 1
            if count:
                filled += _missing(before, segment, count, target)
                # the segment that said it may be one of those
                segment.discontinuity |= segment.session != before.session or count > MOST_MISSING
        filled.append(segment)
    if filled and filled[-1].msn + 1 < end:
        filled += _missing(filled[-1], None, end - filled[-1].msn - 1, target)
    return filled


def _missing(before: SegmentLine, after: SegmentLine | None, count: int, target: int) -> list[SegmentLine]:
    """`count` gaps between two segments: as long as the hole on one timeline, else as long as the segment before."""
    if count > MOST_MISSING:
        return []
    lengths: dict[str, int] = {}
    for letter, piece in before.pieces.items():
        length = piece.duration
        then = after.pieces.get(letter) if after is not None and after.session == before.session else None
        if then is not None and then.scale == piece.scale and then.start > piece.end:
            length = (then.start - piece.end) // count
        lengths[letter] = min(max(length, 1), math.floor(target * piece.scale))
    lines = []
    for number in range(count):
        pieces = {
            x: PieceLine(p.end + number * lengths[x], lengths[x], p.scale, 0, True, "")
            for x, p in before.pieces.items()
        }
        at = before.at + min((p.end - p.start + number * lengths[x]) / p.scale for x, p in before.pieces.items())
        lines.append(
            SegmentLine(before.msn + 1 + number, before.session, before.base, at, False, before.part_target, pieces)
        )
    return lines
