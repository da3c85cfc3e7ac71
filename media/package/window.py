"""What a live broadcast lists: its segments from the oldest in the window to the one that is being filled.

A Piece is one track's share of a segment. Recent pieces are objects; once they are too old for parts and delta updates
they are sealed in blocks (see hls.py, dash.py) and only text is left of them. Payloads are kept at the live edge alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Part:
    """seconds: as listed. offset: where it begins within the segment file. chunks: () once it left the memory."""

    seconds: float
    independent: bool
    offset: int
    size: int
    chunks: tuple[bytes, ...]


@dataclass(slots=True)
class Piece:
    """start and duration in ticks of `scale`; at: when it began, s since the epoch."""

    letter: str
    msn: int
    init: str
    scale: int
    at: float = 0.0
    start: int = 0
    duration: int = 0
    size: int = 0
    gap: bool = False
    closed: bool = False
    discontinuity: bool = False
    parts: list[Part] = field(default_factory=list)
    head_lines: str = ""
    part_lines: list[str] = field(default_factory=list)
    end_lines: str = ""

    @property
    def seconds(self) -> float:
        return self.duration / self.scale

    @property
    def name(self) -> str:
        return f"{self.letter}-{self.msn}.m4s"

    @property
    def chunks(self) -> list[bytes]:
        return [chunk for part in self.parts for chunk in part.chunks]


@dataclass(slots=True)
class Segment:
    """All tracks' pieces of one msn. `session`: number of the timeline; base: where that timeline began, s."""

    msn: int
    session: int
    base: float
    discontinuity: bool
    lost: bool = False
    pieces: dict[str, Piece] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return all(piece.closed for piece in self.pieces.values())

    @property
    def seconds(self) -> float:
        return max(piece.seconds for piece in self.pieces.values())
