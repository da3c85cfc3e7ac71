"""The RTMP handshake, server side: the simple one of the specification and the two digest schemes of Flash Player.

Lives from the first byte of a connection to its first chunk. Everything is 1 + 1536 + 1536 bytes each way; a client
that proves itself with a digest gets one back, any other gets its own bytes echoed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from media.protocols.errors import HandshakeError

VERSION = 3
SIZE = 1536
DIGEST_SIZE = 32
_TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
PLAYER_KEY = b"Genuine Adobe Flash Player 001" + _TAIL
SERVER_KEY = b"Genuine Adobe Flash Media Server 001" + _TAIL
PLAYER_PART = 30
SERVER_PART = 36
SERVER_VERSION = bytes((5, 0, 15, 1))

DIGEST_FIRST = 8
KEY_FIRST = 772
"""Where the four bytes lie whose sum says where the digest is: a scheme is known by that."""


def digest_offset(block: bytes, scheme: int) -> int:
    return sum(block[scheme : scheme + 4]) % 728 + scheme + 4


def make_digest(block: bytes, offset: int, key: bytes) -> bytes:
    """HMAC-SHA256 of a C1 or S1 without the digest that lies in it."""
    return hmac.digest(key, block[:offset] + block[offset + DIGEST_SIZE :], hashlib.sha256)


def find_digest(block: bytes, key: bytes) -> tuple[int, bytes] | None:
    """The scheme and digest of a C1 or S1 that was signed with `key`; None when it is not signed."""
    for scheme in (DIGEST_FIRST, KEY_FIRST):
        offset = digest_offset(block, scheme)
        digest = block[offset : offset + DIGEST_SIZE]
        if hmac.compare_digest(digest, make_digest(block, offset, key)):
            return scheme, digest
    return None


def sign(block: bytes, scheme: int, key: bytes) -> bytes:
    """A C1 or S1 with its digest put in."""
    offset = digest_offset(block, scheme)
    return block[:offset] + make_digest(block, offset, key) + block[offset + DIGEST_SIZE :]


def answer(c1: bytes, *, random: bytes | None = None) -> tuple[bytes, bytes]:
    """S1 and S2 for a C1."""
    noise = os.urandom(SIZE - 8) if random is None else random
    signed = find_digest(c1, PLAYER_KEY[:PLAYER_PART]) if c1[4:8] != bytes(4) else None
    if signed is None:
        return struct.pack(">II", 0, 0) + noise, c1
    scheme, digest = signed
    s1 = sign(bytes(4) + SERVER_VERSION + noise, scheme, SERVER_KEY[:SERVER_PART])
    body = noise[: SIZE - DIGEST_SIZE].ljust(SIZE - DIGEST_SIZE, b"\x00")
    s2 = body + hmac.digest(hmac.digest(SERVER_KEY, digest, hashlib.sha256), body, hashlib.sha256)
    return s1, s2


class Handshake:
    """bytes in, bytes out; `rest` is what came after it once `done`."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._buffer = b""
        self._answered = False

    def receive(self, data: bytes) -> bytes:
        """What to send. Raises HandshakeError. C2 is awaited but not judged: encoders put all sorts of things there."""
        self._buffer += data
        out = b""
        if self._buffer and self._buffer[0] != VERSION:
            raise HandshakeError(_guess(self._buffer))
        if not self._answered and len(self._buffer) >= 1 + SIZE:
            s1, s2 = answer(self._buffer[1 : 1 + SIZE])
            out = bytes((VERSION,)) + s1 + s2
            self._answered = True
        if self._answered and len(self._buffer) >= 1 + 2 * SIZE:
            self.done = True
            self.rest = self._buffer[1 + 2 * SIZE :]
            self._buffer = b""
        return out


def _guess(first: bytes) -> str:
    if first[0] == 6:
        return "encrypted RTMP (RTMPE) is not spoken here: use rtmp or rtmps"
    if first[0] == 0x16:
        return "this is the port of plain RTMP and the client speaks TLS: use the rtmps port"
    if first[:4] in (b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"CONN") or first[:1] in b"GPHOC":
        return "this is the RTMP port and the client speaks HTTP"
    return f"not RTMP: the first byte is {first[0]}, RTMP begins with {VERSION}"
