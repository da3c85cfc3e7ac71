"""The journal of a broadcast: one JSON line for each thing that a restart or a recording must know.

`head` once, `init` for each new configuration of a track, `segment` when all its tracks are closed, `follow` when a
derived rendition's share of it is, which is later, `lost` when the spool gave its files up, `closed` when nothing was
open any more. A torn or foreign line is skipped, and so is one whose
numbers cannot be: what is read here can be counted with.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**48)]
Ticks = Annotated[int, Meta(ge=0, le=2**53)]
Scale = Annotated[int, Meta(ge=1, le=2**32)]
Moment = Annotated[float, Meta(ge=0.0, le=1e10)]
Letter = Annotated[str, Meta(pattern="^[va](-[a-z0-9]{1,12})?$")]
"""`v` and `a` are what the publisher sends; a derived rendition has its name behind that: `v-480p`, `a-aac`."""
FollowLetter = Annotated[str, Meta(pattern="^[va]-[a-z0-9]{1,12}$")]
InitName = Annotated[str, Meta(pattern=r"^[va](-[a-z0-9]{1,12})?-init-[0-9]{1,9}\.mp4$")]


class Head(msgspec.Struct, tag="head", tag_field="line"):
    """origin: when the timeline's zero was, s since the epoch."""

    origin: Moment
    target: Annotated[int, Meta(ge=1, le=600)]


class Init(msgspec.Struct, tag="init", tag_field="line"):
    """An init segment and the track it describes. digest: SHA-256 of its bytes, hexadecimal."""

    name: InitName
    number: Annotated[int, Meta(ge=0, le=10**9)]
    letter: Letter
    codec: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.+-]{0,100}$")]
    scale: Scale
    digest: str
    width: Count = 0
    height: Count = 0
    frame_rate: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    sample_rate: Count = 0
    channels: Count = 0


class PieceLine(msgspec.Struct, array_like=True, gc=False):
    """start and duration in ticks of the init's scale; size in bytes; init: "" for a gap of a track never seen."""

    start: Ticks
    duration: Ticks
    scale: Scale
    size: Count
    gap: bool
    init: Annotated[str, Meta(max_length=40)]

    @property
    def end(self) -> int:
        return self.start + self.duration


class SegmentLine(msgspec.Struct, tag="segment", tag_field="line", gc=False):
    """session: number of the timeline, base: where that begins, s. at: start, s since the epoch."""

    msn: Count
    session: Count
    base: Moment
    at: Moment
    discontinuity: bool
    part_target: Annotated[float, Meta(ge=0.0, le=60.0)]
    pieces: Annotated[dict[str, PieceLine], Meta(min_length=1, max_length=2)]

    @property
    def seconds(self) -> float:
        return max(piece.duration / piece.scale for piece in self.pieces.values())


class FollowLine(msgspec.Struct, tag="follow", tag_field="line", gc=False):
    """A derived rendition's share of a segment."""

    msn: Count
    letter: FollowLetter
    piece: PieceLine


class Lost(msgspec.Struct, tag="lost", tag_field="line"):
    msn: Count


class Closed(msgspec.Struct, tag="closed", tag_field="line"):
    """next: msn that was not used yet."""

    next: Count


Line = Head | Init | SegmentLine | FollowLine | Lost | Closed

_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


def encode(line: Line) -> bytes:
    return _encoder.encode(line)


def read(journal: bytes) -> Iterator[Line]:
    for raw in io.BytesIO(journal):  # one after the other: a list of them all would hold up other threads
        try:
            yield _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
