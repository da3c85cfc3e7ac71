"""Text that is compressed once and sent many times.

A long playlist is mostly old lines. Blocks of them are deflated once, each ended by a full flush, so that blocks and a
fresh tail put one after the other are one valid gzip member (RFC 1951, 3.2.3; RFC 1952).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


class Packed:
    """raw: the text. deflated: the same as raw deflate blocks, byte-aligned, not final."""

    __slots__ = ("crc", "deflated", "raw")

    def __init__(self, raw: bytes, deflated: bytes, crc: int) -> None:
        self.raw = raw
        self.deflated = deflated
        self.crc = crc


def pack(text: str) -> Packed:
    raw = text.encode()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return Packed(raw, deflate.compress(raw) + deflate.flush(zlib.Z_FULL_FLUSH), zlib.crc32(raw))


def join(blocks: Iterable[Packed]) -> Packed:
    blocks = list(blocks)
    raw = b"".join([block.raw for block in blocks])
    return Packed(raw, b"".join([block.deflated for block in blocks]), zlib.crc32(raw))


def compose(chunks: Sequence[Packed | str]) -> tuple[bytes, bytes]:
    """The body, and the body as gzip. Text between packed blocks is deflated here."""
    raws: list[bytes] = []
    out: list[bytes] = [_GZIP_HEAD]
    crc = size = 0
    for chunk in chunks:
        if isinstance(chunk, str):
            raw = chunk.encode()
            deflate = zlib.compressobj(4, zlib.DEFLATED, -15, 8)
            out.append(deflate.compress(raw))
            out.append(deflate.flush(zlib.Z_FULL_FLUSH))
            crc = zlib.crc32(raw, crc)
        else:
            raw = chunk.raw
            out.append(chunk.deflated)
            crc = chunk.crc if size == 0 else zlib.crc32(raw, crc)
        size += len(raw)
        raws.append(raw)
    out.append(b"\x03\x00")  # an empty final block
    out.append(struct.pack("<II", crc, size & 0xFFFFFFFF))
    return b"".join(raws), b"".join(out)
