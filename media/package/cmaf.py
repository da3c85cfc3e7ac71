"""CMAF init segments and fragments (ISO/IEC 23000-19, 14496-12): samples in, bytes out, no I/O and no state.

A fragment is written in one pass: all boxes before the payload have known sizes, so each is one struct.pack, and the
payloads are passed on as they came.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from media.package.sample_entries import box, full_box, sample_entry
from media.samples import Kind, Track

KEY_FLAGS = 0x0200_0000
"""sample_depends_on = 2: a sync sample."""
DELTA_FLAGS = 0x0101_0000
"""sample_depends_on = 1, sample_is_non_sync_sample."""

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_HEAD = struct.Struct(">I4s I4sII I4s I4sIIII I4sIQ I4sIIi")
_HEAD_SIZE = _HEAD.size
_MDAT = struct.Struct(">I4s")


def init_segment(track: Track) -> bytes:
    """ftyp and moov of one track, without samples. Its track_ID is `track.id`, its timescale `track.timescale`."""
    video = track.kind is Kind.VIDEO
    ftyp = box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6", b"cmf2", b"cmfc", b"dash", b"mp41")
    mvhd = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">IIIIIHH8x", 0, 0, track.timescale, 0, 0x10000, 0x0100, 0),
        _MATRIX,
        struct.pack(">24xI", track.id + 1),
    )
    tkhd = full_box(
        b"tkhd",
        0,
        3,
        struct.pack(">IIIII8xHHHH", 0, 0, track.id, 0, 0, 0, 0, 0 if video else 0x0100, 0),
        _MATRIX,
        struct.pack(">II", track.width << 16, track.height << 16),
    )
    mdhd = full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, track.timescale, 0, 0x55C4, 0))
    handler, name = (b"vide", b"video\0") if video else (b"soun", b"audio\0")
    hdlr = full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, handler), name)
    header = full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4))
    dinf = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry(track)),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    trak = box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", header, dinf, stbl)))
    trex = full_box(b"trex", 0, 0, struct.pack(">IIIII", track.id, 1, 0, 0, 0))
    return ftyp + box(b"moov", mvhd, trak, box(b"mvex", trex))


def fragment(
    number: int,
    track_id: int,
    decode_time: int,
    durations: Sequence[int],
    payloads: Sequence[bytes],
    keys: Sequence[bool] | None = None,
    offsets: Sequence[int] | None = None,
) -> tuple[list[bytes], int]:
    """One moof and mdat as chunks, and their size in bytes.

    Times in ticks of the track. `keys` None: every sample is a sync sample. `offsets`: composition minus decode time,
    signed (trun version 1), None: all zero.
    """
    count = len(payloads)
    sizes = [len(p) for p in payloads]
    if keys is None and offsets is None and durations.count(durations[0]) == count:
        flags = 0x0201
        run = struct.pack(f">{count}I", *sizes)
    else:
        flags = 0x0F01
        words = [0] * (4 * count)
        words[0::4] = durations
        words[1::4] = sizes
        words[2::4] = [KEY_FLAGS] * count if keys is None else [KEY_FLAGS if key else DELTA_FLAGS for key in keys]
        if offsets is not None:
            words[3::4] = [offset & 0xFFFFFFFF for offset in offsets]
        run = struct.pack(f">{4 * count}I", *words)
    moof = _HEAD_SIZE + len(run)
    # moof { mfhd, traf { tfhd (default-base-is-moof, default duration and flags), tfdt v1, trun v1 } }
    head = _HEAD.pack(
        moof, b"moof", 16, b"mfhd", 0, number & 0xFFFFFFFF, moof - 24, b"traf",
        24, b"tfhd", 0x020028, track_id, durations[0], KEY_FLAGS,
        20, b"tfdt", 0x01000000, decode_time,
        20 + len(run), b"trun", 0x01000000 | flags, count, moof + 8,
    )  # fmt: skip
    mdat = 8 + sum(sizes)
    return [head + run + _MDAT.pack(mdat, b"mdat"), *payloads], moof + mdat
