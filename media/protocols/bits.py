"""Reading bits, most significant first, as the headers of every codec are written."""

from __future__ import annotations

from media.protocols.errors import MediaError


class BitReader:
    """Over a header of at most a few kilobytes; reading past the end raises MediaError."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    @property
    def left(self) -> int:
        return self._left

    def bits(self, count: int) -> int:
        if count > self._left:
            raise MediaError("a codec header ends too early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        if count > self._left:
            raise MediaError("a codec header ends too early")
        self._left -= count

    def ue(self) -> int:
        """Unsigned Exp-Golomb code (H.264, 9.1), at most 32 bits wide."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise MediaError("a codec header holds a number that is too large")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """Signed Exp-Golomb code (H.264, 9.1.1)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)


def unescape(nal: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (H.264, 7.3.1)."""
    if b"\x00\x00\x03" not in nal:
        return nal
    parts = []
    start = 0
    while (at := nal.find(b"\x00\x00\x03", start)) >= 0:
        parts.append(nal[start : at + 2])
        start = at + 3
    parts.append(nal[start:])
    return b"".join(parts)
