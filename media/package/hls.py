"""HLS playlists (draft-pantos-hls-rfc8216bis): the text of a live rendition, and of the multivariant playlist.

A Rendition lives as long as its LivePackage. Lines are made once, when a part or segment is done; what is too old for
parts and delta updates is sealed into packed blocks, and the window slides by whole blocks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from media.package.journal import Init
from media.package.packed import Packed, compose, join, pack
from media.package.window import Piece

BLOCK = 16
"""Segments in a sealed block."""

PARTS_LISTED = 3
"""Target durations from the end within which parts are listed (6.2.2)."""

SKIP = 6
"""Skip boundary in target durations (4.4.3.8); parts can be had at least as long after they were listed."""


class Block(NamedTuple):
    text: Packed
    first: int
    size: int
    seconds: float
    discontinuities: int
    init: str  # in force at its first segment
    new_init: bool  # its first segment has the EXT-X-MAP line itself


@dataclass(frozen=True, slots=True)
class Edge:
    """How far a rendition is: the next segment to close is `msn`, and it has this many parts."""

    msn: int
    parts: int


class Rendition:
    def __init__(self, letter: str, target: int, dvr: float, first: int, discontinuities: int) -> None:
        self.letter = letter
        self.pieces: deque[Piece] = deque()
        self.open: Piece | None = None
        self.part_target = 0.0
        self.next = first  # msn of the next segment to close
        self.ended = False
        self._target = target
        self._dvr = dvr
        self._blocks: deque[Block] = deque()
        self._sealed_seconds = 0.0
        self._recent_seconds = 0.0
        self._discontinuities = discontinuities
        self._init = ""
        self._prefix: Packed | None = None
        self._unlisted = 0  # parts of segments up to here are no longer listed

    @property
    def name(self) -> str:
        return f"{self.letter}.m3u8"

    @property
    def first(self) -> int:
        if self._blocks:
            return self._blocks[0].first
        return self.pieces[0].msn if self.pieces else self.next

    @property
    def edge(self) -> Edge:
        return Edge(self.next, len(self.open.parts) if self.open else 0)

    @property
    def seconds(self) -> float:
        return self._sealed_seconds + self._recent_seconds

    # what the package tells

    def begin(self, piece: Piece) -> None:
        """A segment is being filled, or is about to be closed as a gap."""
        lines = ["#EXT-X-DISCONTINUITY\n"] if piece.discontinuity else []
        if piece.init and (piece.init != self._init or piece.discontinuity):
            lines.append(f'#EXT-X-MAP:URI="{piece.init}"\n')
            self._init = piece.init
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{moment(piece.at)}\n")
        piece.head_lines = "".join(lines)
        self.open = piece

    def part(self, piece: Piece) -> None:
        number = len(piece.parts) - 1
        part = piece.parts[number]
        independent = ",INDEPENDENT=YES" if part.independent else ""
        uri = f"{piece.letter}-{piece.msn}.{number}.m4s"
        piece.part_lines.append(f'#EXT-X-PART:DURATION={part.seconds:.5f},URI="{uri}"{independent}\n')

    def close(self, piece: Piece) -> None:
        gap = "#EXT-X-GAP\n" if piece.gap else ""
        piece.end_lines = f"{gap}#EXTINF:{piece.seconds:.5f},\n{piece.name}\n"
        self.pieces.append(piece)
        self.next = piece.msn + 1
        self.open = None
        self._recent_seconds += piece.seconds
        self._slide()

    def fix(self, part_target: float) -> None:
        """PART-TARGET is known, or changes with a discontinuity: then no part made for the old one stays listed."""
        self.part_target = part_target
        self._unlisted = self.next
        self._prefix = None

    def lose(self, msn: int) -> None:
        """It was given up and is no longer in memory: a gap (4.4.4.7)."""
        piece = next((p for p in self.pieces if p.msn == msn), None)
        if piece is not None:
            if not piece.gap:
                piece.gap = True
                piece.part_lines = []
                piece.end_lines = "#EXT-X-GAP\n" + piece.end_lines
            return
        for place, block in enumerate(self._blocks):
            if block.first <= msn < block.first + block.size:
                # it stands behind its EXTINF line, and a gap's tag before that
                before, name, after = block.text.raw.decode().partition(f"\n{self.letter}-{msn}.m4s\n")
                head, extinf = before[: before.rfind("\n") + 1], before[before.rfind("\n") + 1 :]
                if not head.endswith("#EXT-X-GAP\n"):
                    self._blocks[place] = block._replace(text=pack(f"{head}#EXT-X-GAP\n{extinf}{name}{after}"))
                    self._prefix = None
                return

    @property
    def all_discontinuities(self) -> int:
        """How many there were, also before the window."""
        recent = sum(p.discontinuity for p in self.pieces)
        return self._discontinuities + sum(b.discontinuities for b in self._blocks) + recent

    def _slide(self) -> None:
        keep = SKIP * self._target + self._target
        block = max(1, min(BLOCK, int(self._dvr / self._target / 4)))
        while len(self.pieces) > block:
            oldest = [self.pieces[n] for n in range(block)]
            seconds = sum(p.seconds for p in oldest)
            if self._recent_seconds - seconds < keep:
                break
            self._seal(oldest, seconds)
        while self._blocks and self.seconds - self._blocks[0].seconds >= max(self._dvr, keep):
            gone = self._blocks.popleft()
            self._sealed_seconds -= gone.seconds
            self._discontinuities += gone.discontinuities
            self._prefix = None

    def _seal(self, oldest: Sequence[Piece], seconds: float) -> None:
        text = "".join([p.head_lines + p.end_lines for p in oldest])
        first = oldest[0]
        self._blocks.append(
            Block(
                pack(text),
                first.msn,
                len(oldest),
                seconds,
                sum(p.discontinuity for p in oldest),
                first.init,
                "#EXT-X-MAP" in first.head_lines,
            )
        )
        for _ in oldest:
            self.pieces.popleft()
        self._sealed_seconds += seconds
        self._recent_seconds -= seconds
        self._prefix = None

    # text

    def render(self, *, hint: str, reports: str) -> tuple[bytes, bytes]:
        if self._prefix is None:
            self._prefix = join([pack(self._header()), *(b.text for b in self._blocks)])
        return compose([self._prefix, self._tail(0, hint, reports)])

    def render_delta(self, *, hint: str, reports: str) -> tuple[bytes, bytes]:
        """A delta update (6.2.5.1); the whole playlist when nothing is old enough to be skipped."""
        skipped = sum(b.size for b in self._blocks)
        seconds = self._recent_seconds
        recent = 0
        for piece in self.pieces:
            seconds -= piece.seconds
            if seconds < SKIP * self._target:
                break
            recent += 1
        skipped += recent
        if not skipped or self.ended:
            return self.render(hint=hint, reports=reports)
        head = self._header(skipped)
        return compose([head + self._tail(recent, hint, reports)])

    def _header(self, skipped: int = 0) -> str:
        target = self._target
        part = self.part_target
        lines = [
            "#EXTM3U\n#EXT-X-VERSION:9\n",
            f"#EXT-X-TARGETDURATION:{target}\n",
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={SKIP * target:.1f}",
            f",HOLD-BACK={3 * target:.1f},PART-HOLD-BACK={3 * part:.2f}\n",
            f"#EXT-X-PART-INF:PART-TARGET={part:.2f}\n",
            f"#EXT-X-START:TIME-OFFSET=-{3 * part:.2f},PRECISE=YES\n",
            f"#EXT-X-MEDIA-SEQUENCE:{self.first}\n",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{self._discontinuities}\n",
        ]
        if skipped:
            lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n")
        elif self._blocks and self._blocks[0].init and not self._blocks[0].new_init:
            lines.append(f'#EXT-X-MAP:URI="{self._blocks[0].init}"\n')
        return "".join(lines)

    def _tail(self, skip: int, hint: str, reports: str) -> str:
        listed = PARTS_LISTED * self._target
        left = self._recent_seconds
        lines: list[str] = []
        for number, piece in enumerate(self.pieces):
            left -= piece.seconds
            if number < skip:
                continue
            lines.append(piece.head_lines)
            if left < listed and piece.msn >= self._unlisted:
                lines.extend(piece.part_lines)
            lines.append(piece.end_lines)
        if self.open is not None and self.open.parts:
            lines.append(self.open.head_lines)
            lines.extend(self.open.part_lines)
        if self.ended:
            lines.append("#EXT-X-ENDLIST\n")
        elif hint:
            lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{hint}"\n')
        lines.append(reports)
        return "".join(lines)


def report(other: Rendition) -> str:
    """EXT-X-RENDITION-REPORT (4.4.5.4): the last part of another rendition, or its last segment."""
    edge = other.edge
    if edge.parts:
        return f'#EXT-X-RENDITION-REPORT:URI="{other.name}",LAST-MSN={edge.msn},LAST-PART={edge.parts - 1}\n'
    if not other.pieces:
        return ""
    last = other.pieces[-1]
    part = f",LAST-PART={len(last.parts) - 1}" if last.parts else ""
    return f'#EXT-X-RENDITION-REPORT:URI="{other.name}",LAST-MSN={last.msn}{part}\n'


def moment(at: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Listed(NamedTuple):
    """A rendition in a multivariant playlist: what it is, its media playlist, and its bit rates in bit/s. codecs: all
    that are in it, where these are more than one (4.4.6.2)."""

    init: Init
    uri: str
    peak: int
    average: int
    codecs: tuple[str, ...] = ()


def multivariant(listed: Sequence[Listed], peak: int, average: int) -> str:
    """A variant for each video with each sound; those that the publisher sends first. peak and average: bit/s of the
    publisher's tracks together."""
    videos = [x for x in listed if x.init.letter[0] == "v"]
    sounds = [x for x in listed if x.init.letter[0] == "a"]
    lines = ["#EXTM3U\n#EXT-X-VERSION:9\n"]
    for sound in sounds if videos else ():
        channels = f',CHANNELS="{sound.init.channels}"' if sound.init.channels else ""
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_group(sound)}",NAME="Sound",DEFAULT=YES,AUTOSELECT=YES{channels}'
            f',URI="{sound.uri}"\n'
        )
    for group in [[sound] for sound in sounds] or [[]]:
        for tracks in [[video, *group] for video in videos] or [group]:
            if all(len(x.init.letter) == 1 for x in tracks):
                rates = peak, average
            else:
                rates = sum(x.peak for x in tracks), sum(x.average for x in tracks)
            lines.append(_variant(tracks, *rates, grouped=bool(videos)))
    return "".join(lines)


def _group(sound: Listed) -> str:
    return "audio" + sound.init.letter[1:]


def _variant(tracks: Sequence[Listed], peak: int, average: int, *, grouped: bool) -> str:
    attributes = [f"BANDWIDTH={peak}", f"AVERAGE-BANDWIDTH={average}"]
    codecs = [codec for x in tracks for codec in x.codecs or (x.init.codec,)]
    attributes.append(f'CODECS="{",".join(codecs)}"')
    lead = tracks[0].init
    if lead.letter[0] == "v":
        if lead.width and lead.height:
            attributes.append(f"RESOLUTION={lead.width}x{lead.height}")
        if lead.frame_rate:
            attributes.append(f"FRAME-RATE={lead.frame_rate:.3f}")
    if grouped and tracks[-1].init.letter[0] == "a":
        attributes.append(f'AUDIO="{_group(tracks[-1])}"')
    return f"#EXT-X-STREAM-INF:{','.join(attributes)}\n{tracks[0].uri}\n"


def bandwidth(bytes_: float, seconds: float) -> int:
    return math.ceil(8 * bytes_ / seconds) if seconds > 0 else 0
