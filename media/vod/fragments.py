"""Fragments that were written here (media.package.cmaf), taken apart into samples again; and a field of init segments.

Pure. What they hold comes from publishers and from the store, so every length is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from media.protocols.errors import MediaError

NOT_SYNC = 0x0001_0000
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_ENTRY_HEAD = {b"avc1": 86, b"avc3": 86, b"hvc1": 86, b"hev1": 86, b"av01": 86, b"vp09": 86, b"mp4a": 36, b"Opus": 36}
"""Bytes of a sample entry before the boxes in it, with its own header."""
_MOST_SAMPLES = 100_000


class CodedSample(NamedTuple):
    """In ticks of its track. pts: when it is shown."""

    dts: int
    pts: int
    duration: int
    key: bool
    data: bytes


def samples(segment: bytes) -> list[CodedSample]:
    """All of a segment of one track, in decode order. Raises MediaError."""
    found: list[CodedSample] = []
    for kind, start, end in _boxes(segment, 0, len(segment)):
        if kind == b"moof":
            found += _run(segment, start - 8, end)
    if not found:
        raise MediaError("a segment holds no samples")
    return found


def config_of(init: bytes) -> tuple[bytes, bytes]:
    """The kind and the content of the decoder configuration's box (avcC, av1C, ...). Raises MediaError."""
    *_, (kind, start, end) = _way(init)
    return kind, init[start:end]


def with_config(init: bytes, config: bytes) -> bytes:
    """The same init segment with another decoder configuration. Raises MediaError."""
    way = _way(init)
    _, start, end = way[-1]
    changed = bytearray(init[:start] + config + init[end:])
    for _, begin, until in way:
        struct.pack_into(">I", changed, begin - 8, until - begin + 8 + len(config) - (end - start))
    return bytes(changed)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start and end of the content) of those that stand one after the other."""
    while at < end:
        if at + 8 > end:
            raise MediaError("a box ends too early")
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            raise MediaError("a box has an impossible length")
        yield kind, at + 8, at + size
        at += size


def _way(init: bytes) -> list[tuple[bytes, int, int]]:
    """The boxes from moov down to the decoder configuration."""
    way: list[tuple[bytes, int, int]] = []
    start, end = 0, len(init)
    for wanted in _PATH:
        found = next((box for box in _boxes(init, start, end) if box[0] == wanted), None)
        if found is None:
            raise MediaError("an init segment lacks a box")
        way.append(found)
        _, start, end = found
    entry = next(_boxes(init, start + 8, end), None)  # behind version, flags and the count of entries
    if entry is None or entry[0] not in _ENTRY_HEAD:
        raise MediaError("an init segment is of an unknown codec")
    config = next(_boxes(init, entry[1] - 8 + _ENTRY_HEAD[entry[0]], entry[2]), None)
    if config is None:
        raise MediaError("an init segment lacks its decoder configuration")
    return [*way, entry, config]


def _run(data: bytes, moof: int, end: int) -> list[CodedSample]:
    traf = next(((start, until) for kind, start, until in _boxes(data, moof + 8, end) if kind == b"traf"), None)
    if traf is None:
        raise MediaError("a fragment lacks its track")
    inside = {kind: (start, until) for kind, start, until in _boxes(data, *traf)}
    try:
        duration, flags = _defaults(data, *inside[b"tfhd"])
        dts = _decode_time(data, *inside[b"tfdt"])
        start, until = inside[b"trun"]
    except KeyError:
        raise MediaError("a fragment lacks a box") from None
    return list(_samples(data, moof, start, until, dts, duration, flags))


def _defaults(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Duration and flags of samples that do not tell their own."""
    told = int.from_bytes(data[start : start + 4], "big") & 0xFFFFFF
    if told != 0x020028 or end - start != 16:
        raise MediaError("a fragment was not written here")
    duration, flags = struct.unpack_from(">II", data, start + 8)
    return duration, flags


def _decode_time(data: bytes, start: int, end: int) -> int:
    if end - start != 12 or data[start] != 1:
        raise MediaError("a fragment was not written here")
    return int.from_bytes(data[start + 4 : end], "big")


def _samples(
    data: bytes, moof: int, start: int, end: int, dts: int, duration: int, flags: int
) -> Iterator[CodedSample]:
    if end - start < 12:
        raise MediaError("a fragment ends too early")
    head, count, offset = struct.unpack_from(">IIi", data, start)
    told = head & 0xFFFFFF
    if told not in (0x0201, 0x0F01) or not 0 < count <= _MOST_SAMPLES:
        raise MediaError("a fragment was not written here")
    wide = 4 if told == 0x0201 else 16
    if end - start != 12 + count * wide:
        raise MediaError("a fragment has an impossible length")
    at = moof + offset
    for number in range(count):
        place = start + 12 + number * wide
        if wide == 4:
            (size,), length, mark, shift = struct.unpack_from(">I", data, place), duration, flags, 0
        else:
            length, size, mark, shift = struct.unpack_from(">IIIi", data, place)
        if at < 0 or at + size > len(data):
            raise MediaError("a fragment points beyond its end")
        yield CodedSample(dts, dts + shift, length, not mark & NOT_SYNC, data[at : at + size])
        at += size
        dts += length
