"""What a set is made of: stretches, one after the other, each with its renditions in one format on one timeline.

An uploaded file is one stretch. A recording has one for each session and each format that the publisher changed to; a
clip one for each edge that was encoded anew and one between them. Segments are numbered through all of them, and in
each stretch the same numbers are there in every rendition, or none. Plain data that can be stored as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from media.samples import VIDEO_TIMESCALE
from media.vod.results import Made


class Stretch(msgspec.Struct, frozen=True):
    """start: where it begins on the timeline of its files, ticks of 1/90000 s. seconds: of each of its segments.
    renditions: those that are there, each with as many segments as `seconds` has, from number `first` on."""

    start: int
    first: int
    seconds: tuple[float, ...]
    renditions: tuple[Made, ...]

    @property
    def length(self) -> float:
        """Seconds."""
        return sum(self.seconds)

    def rendition(self, letter: str) -> Made | None:
        return next((made for made in self.renditions if made.letter == letter), None)

    def joined(self, more: Iterable[Made]) -> Stretch:
        """With what was made of it since: renditions whose segments came in several pieces, in any order. What is of
        another stretch, or has not all segments, is left out."""
        wanted = range(self.first, self.first + len(self.seconds))
        found: dict[str, list[Made]] = {}
        for made in more:
            if made.segments and made.segments[0].number in wanted:
                found.setdefault(made.letter, []).append(made)
        whole = list(self.renditions)
        for letter, parts in found.items():
            segments = {segment.number: segment for made in parts for segment in made.segments}
            if self.rendition(letter) is None and all(number in segments for number in wanted):
                made = msgspec.structs.replace(parts[0], segments=tuple(segments[number] for number in wanted))
                whole.append(made)
        return msgspec.structs.replace(self, renditions=tuple(whole))


def whole_letters(stretches: Sequence[Stretch]) -> list[str]:
    """Renditions that can be watched from the start to the end: those that are there wherever their kind is at all. The
    pictures first, from the smallest to the largest; then the sounds."""
    about: dict[str, Made] = {}
    for stretch in stretches:
        for made in stretch.renditions:
            about.setdefault(made.letter, made)
    whole = [x for x in about if all(_fits(x, stretch) for stretch in stretches)]
    return sorted(whole, key=lambda x: (x[0] == "a", about[x].width * about[x].height, x))


def _fits(letter: str, stretch: Stretch) -> bool:
    kinds = {made.letter[0] for made in stretch.renditions}
    return letter[0] not in kinds or stretch.rendition(letter) is not None


def stretches_to_json(stretches: Sequence[Stretch]) -> bytes:
    return msgspec.json.encode(stretches)


def stretches_from_json(data: bytes | str) -> list[Stretch]:
    """Raises msgspec.MsgspecError."""
    return msgspec.json.decode(data, type=list[Stretch])


def in_ticks(seconds: float) -> int:
    return round(seconds * VIDEO_TIMESCALE)
