from __future__ import annotations

import hashlib
import hmac
import os

import pytest

from media.protocols.errors import HandshakeError
from media.protocols.rtmp.handshake import (
    DIGEST_FIRST,
    KEY_FIRST,
    PLAYER_KEY,
    PLAYER_PART,
    SERVER_KEY,
    SERVER_PART,
    SIZE,
    Handshake,
    find_digest,
    sign,
)


def test_the_simple_handshake_echoes() -> None:
    shake = Handshake()
    c1 = bytes(8) + os.urandom(SIZE - 8)
    out = shake.receive(b"\x03" + c1)
    assert (out[0], len(out), out[1 + SIZE :]) == (3, 1 + 2 * SIZE, c1)
    assert out[5:9] == bytes(4)
    assert shake.receive(out[1 : 1 + SIZE] + b"rest") == b""
    assert shake.done
    assert shake.rest == b"rest"


@pytest.mark.parametrize("scheme", [DIGEST_FIRST, KEY_FIRST])
def test_a_signed_hello_is_answered_signed_in_its_own_scheme(scheme: int) -> None:
    c1 = sign(bytes(4) + bytes((9, 0, 124, 2)) + os.urandom(SIZE - 8), scheme, PLAYER_KEY[:PLAYER_PART])
    found = find_digest(c1, PLAYER_KEY[:PLAYER_PART])
    assert found is not None
    out = Handshake().receive(b"\x03" + c1)
    s1, s2 = out[1 : 1 + SIZE], out[1 + SIZE :]
    signed = find_digest(s1, SERVER_KEY[:SERVER_PART])
    assert signed is not None
    assert signed[0] == scheme
    key = hmac.digest(SERVER_KEY, found[1], hashlib.sha256)
    assert s2[-32:] == hmac.digest(key, s2[:-32], hashlib.sha256)


def test_a_version_without_a_digest_falls_back_to_the_echo() -> None:
    c1 = bytes(4) + bytes((9, 0, 124, 2)) + bytes(SIZE - 8)
    assert Handshake().receive(b"\x03" + c1)[1 + SIZE :] == c1


def test_byte_by_byte() -> None:
    shake = Handshake()
    out = b"".join(shake.receive(bytes((b,))) for b in b"\x03" + bytes(2 * SIZE))
    assert len(out) == 1 + 2 * SIZE
    assert shake.done


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\x06", "RTMPE"),
        (b"\x16\x03\x01", "TLS"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"\x00", "not RTMP"),
        (b"\xff" * 4000, "not RTMP"),
    ],
)
def test_other_protocols_are_named(first: bytes, words: str) -> None:
    with pytest.raises(HandshakeError, match=words):
        Handshake().receive(first)
