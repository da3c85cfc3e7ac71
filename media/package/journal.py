"""The journal of a broadcast: one JSON line for each thing that a restart or a recording must know.

`head` once, `init` for each new configuration of a track, `segment` when all its tracks are closed, `lost` when the
spool gave its files up, `closed` when nothing was open any more. A torn or foreign line is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Head(msgspec.Struct, tag="head", tag_field="line"):
    """origin: when the timeline's zero was, s since the epoch."""

    origin: float
    target: int


class Init(msgspec.Struct, tag="init", tag_field="line"):
    """An init segment and the track it describes. digest: SHA-256 of its bytes, hexadecimal."""

    name: str
    number: int
    letter: str
    codec: str
    scale: int
    digest: str
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0


class PieceLine(msgspec.Struct, array_like=True):
    """start and duration in ticks of the init's scale; size in bytes; init: "" for a gap of a track never seen."""

    start: int
    duration: int
    scale: int
    size: int
    gap: bool
    init: str


class SegmentLine(msgspec.Struct, tag="segment", tag_field="line"):
    """session: number of the timeline, base: where that begins, s. at: start, s since the epoch."""

    msn: int
    session: int
    base: float
    at: float
    discontinuity: bool
    part_target: float
    pieces: dict[str, PieceLine]


class Lost(msgspec.Struct, tag="lost", tag_field="line"):
    msn: int


class Closed(msgspec.Struct, tag="closed", tag_field="line"):
    """next: msn that was not used yet."""

    next: int


Line = Head | Init | SegmentLine | Lost | Closed

_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


def encode(line: Line) -> bytes:
    return _encoder.encode(line)


def read(journal: bytes) -> Iterator[Line]:
    for raw in journal.splitlines():
        try:
            yield _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
