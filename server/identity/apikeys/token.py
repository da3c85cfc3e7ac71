"""What a key looks like: `sfk_<prefix>_<secret><checksum>`.

prefix: 10 letters and digits, by which the key is found and shown. secret: 43 letters and digits, 256 random bits.
checksum: 6 letters and digits, the CRC-32 of all before it, so that a key that was cut or mistyped is told from one
that is unknown, and scanners for leaked secrets find keys without asking us.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass

MARK = "sfk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = 10
_SECRET = 43
_CHECKSUM = 6
_SHAPE = re.compile(rf"sfk_([0-9A-Za-z]{{{_PREFIX}}})_[0-9A-Za-z]{{{_SECRET + _CHECKSUM}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: shown once as `text`, kept as `prefix` and `digest`."""

    prefix: str
    text: str
    digest: bytes


def make() -> Made:
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(_PREFIX))
    body = f"{MARK}{prefix}_{_base62(secrets.randbits(256), _SECRET)}"
    text = body + _checksum(body)
    return Made(prefix, text, digest(text))


def prefix_of(text: str) -> str | None:
    """The prefix of what looks like a key; None when it was cut, mistyped or made up."""
    found = _SHAPE.fullmatch(text)
    if found is None or _checksum(text[:-_CHECKSUM]) != text[-_CHECKSUM:]:
        return None
    return found[1]


def digest(text: str) -> bytes:
    """What is stored of a key. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM)


def _base62(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
