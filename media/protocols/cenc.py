"""Common Encryption of samples, scheme `cenc` (ISO/IEC 23001-7: AES-128 in counter mode). Pure: bytes in, bytes out.

Of H.264 and HEVC the coded slices are encrypted and all else is left: lengths, NAL unit headers, parameter sets, SEI,
and of each slice the beginning, where its header is, so that a player can find its way without the key. What is
encrypted of a NAL unit is whole blocks of 16 bytes. Samples of sound are encrypted whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from media.protocols.errors import MediaError
from media.samples import Codec

IV_BYTES = 8
"""The other half of a counter block counts the blocks of the sample."""
BLOCK = 16
CLEAR = 96
"""Bytes at the beginning of a coded slice that stay as they are, with the NAL unit's length: more than a slice header
has."""
MOST_CLEAR = 0xFFFF
"""BytesOfClearData has two bytes."""
MOST_SUBSAMPLES = 40
"""What is told of a sample has at most 255 bytes: its IV, a count, and six for each."""

Subsample: TypeAlias = tuple[int, int]
"""Bytes that are clear, then bytes that are encrypted."""


def can_protect(codec: str) -> bool:
    """Whether samples of this codec (RFC 6381) can be encrypted here. In AV1 and VP9 what may be encrypted begins where
    the frame's header ends, and to find that takes a decoder's state."""
    return codec.partition(".")[0] in ("avc1", "avc3", "hvc1", "hev1", "mp4a", "Opus", "opus")


def subsamples(codec: Codec, length_size: int, sample: bytes | memoryview) -> list[Subsample] | None:
    """None: the sample is encrypted whole. Raises MediaError for a codec that is not encrypted here."""
    if codec in (Codec.AAC, Codec.OPUS):
        return None
    if codec not in (Codec.H264, Codec.HEVC):
        raise MediaError(f"{codec} is not encrypted")
    units = _units(codec, length_size, sample)
    found = _split(units) if units is not None else []
    if found and len(found) <= MOST_SUBSAMPLES:
        return found
    # not made of NAL units, or of more slices than can be told: whole, as leaving any of it clear would show a picture
    rest = len(sample) % BLOCK
    return [(rest, len(sample) - rest)]


class Encryption:
    """With one key; to decrypt is the same."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(AES(key), CTR(bytes(BLOCK))).encryptor()

    def sample(self, iv: bytes, sample: bytes | memoryview, parts: Sequence[Subsample] | None) -> bytes:
        """As it is stored. parts: see `subsamples`."""
        cipher = self._cipher
        cipher.reset_nonce(iv + bytes(BLOCK - IV_BYTES))
        if parts is None:
            return cipher.update(sample)
        # one run of the counter over all that is encrypted of a sample (9.5.1)
        out: list[bytes | memoryview] = []
        view = memoryview(sample)
        at = 0
        for clear, secret in parts:
            out.append(view[at : at + clear])
            at += clear
            if secret:
                out.append(cipher.update(view[at : at + secret]))
                at += secret
        return b"".join(out)


def _units(codec: Codec, length_size: int, sample: bytes | memoryview) -> list[tuple[int, bool]] | None:
    """Of each NAL unit: its size with its length before it, and whether it is a coded slice. None: these are none."""
    found = []
    at, end = 0, len(sample)
    while at < end:
        after = at + length_size + int.from_bytes(sample[at : at + length_size], "big")
        if after > end or at + length_size >= end:
            return None
        head = sample[at + length_size] if after > at + length_size else 0
        found.append((after - at, 1 <= head & 31 <= 5 if codec is Codec.H264 else head >> 1 & 63 < 32))
        at = after
    return found


def _split(units: Sequence[tuple[int, bool]]) -> list[Subsample]:
    found: list[Subsample] = []
    clear = 0
    for size, coded in units:
        secret = (size - CLEAR) // BLOCK * BLOCK if coded and size >= CLEAR + BLOCK else 0
        clear += size - secret
        while clear > MOST_CLEAR:
            found.append((MOST_CLEAR, 0))
            clear -= MOST_CLEAR
        if secret:
            found.append((clear, secret))
            clear = 0
    if clear:
        found.append((clear, 0))
    return found
