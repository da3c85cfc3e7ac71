"""Which bytes of a sample are encrypted, and with what: vectors of NIST, and samples that nobody wrote on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from hypothesis import given
from hypothesis import strategies as st

from media.protocols.cenc import CLEAR, IV_BYTES, MOST_SUBSAMPLES, Encryption, Subsample, can_protect, subsamples
from media.protocols.errors import MediaError
from media.samples import Codec

KEY, IV = bytes(range(16)), b"\xff" * IV_BYTES
units = st.lists(
    st.tuples(st.integers(0, 31), st.one_of(st.integers(1, 300), st.integers(1, 70_000))), min_size=1, max_size=60
)


def unit(codec: Codec, kind: int, size: int) -> bytes:
    head = bytes((kind,)) if codec is Codec.H264 else bytes((kind << 1, 1))
    body = (head + bytes(size))[:size]
    return size.to_bytes(4, "big") + body


def encrypt(key: bytes, iv: bytes, sample: bytes, parts: Sequence[Subsample] | None) -> bytes:
    encryption = Encryption(key)
    encryption.sample(bytes(IV_BYTES), b"something before it", None)
    return encryption.sample(iv, sample, parts)


def keystream(size: int) -> bytes:
    """Of the counter that begins with the IV and 0 (NIST SP 800-38A, 6.5)."""
    return Cipher(AES(KEY), CTR(IV + bytes(8))).encryptor().update(bytes(size))


@given(st.sampled_from((Codec.H264, Codec.HEVC)), units)
def test_slices_are_encrypted_in_whole_blocks_and_nothing_else_is(codec: Codec, about: list[tuple[int, int]]) -> None:
    parts_of = [unit(codec, kind, size) for kind, size in about]
    sample = b"".join(parts_of)
    parts = subsamples(codec, 4, sample)
    assert parts is not None
    assert sum(map(sum, parts)) == len(sample)
    assert 0 < len(parts) <= MOST_SUBSAMPLES
    assert all(0 <= clear <= 0xFFFF and secret % 16 == 0 for clear, secret in parts)
    secret = set()
    at = 0
    for clear, hidden in parts:
        secret |= {at + clear, at + clear + hidden} if hidden else set()
        at += clear + hidden
    coded = [
        (kind in range(1, 6) if codec is Codec.H264 else True) and len(data) >= CLEAR + 16
        for (kind, _), data in zip(about, parts_of, strict=True)
    ]
    if sum(coded) < 12:  # so few that each can be told of, with what is clear between them
        at = 0
        wanted = set()
        for data, mine in zip(parts_of, coded, strict=True):
            if mine:
                wanted |= {at + len(data) - (len(data) - CLEAR) // 16 * 16, at + len(data)}
            at += len(data)
        assert secret == wanted
    made = encrypt(KEY, IV, sample, parts)
    assert len(made) == len(sample)
    assert encrypt(KEY, IV, made, parts) == sample


@given(st.binary(min_size=1, max_size=400), st.sampled_from((1, 2, 4)))
def test_what_is_no_nal_unit_is_encrypted_whole(sample: bytes, length_size: int) -> None:
    parts = subsamples(Codec.H264, length_size, sample)
    assert parts is not None
    assert sum(map(sum, parts)) == len(sample)
    assert encrypt(KEY, IV, encrypt(KEY, IV, sample, parts), parts) == sample


def test_one_counter_runs_over_all_that_is_encrypted_of_a_sample() -> None:
    first, second = unit(Codec.H264, 5, 300), unit(Codec.H264, 1, 200)
    between = unit(Codec.H264, 6, 1000)
    parts = subsamples(Codec.H264, 4, first + between + second)
    hidden = (len(first) - CLEAR) // 16 * 16, (len(second) - CLEAR) // 16 * 16
    assert parts == [
        (len(first) - hidden[0], hidden[0]),
        (len(between) + len(second) - hidden[1], hidden[1]),
    ]
    made = encrypt(KEY, IV, first + between + second, parts)
    stream = keystream(sum(hidden))
    assert made[len(first) - hidden[0] : len(first)] == stream[: hidden[0]]  # the plain bytes there are zeros
    assert made[-hidden[1] :] == stream[hidden[0] :]
    assert made[: len(first) - hidden[0]] == first[: len(first) - hidden[0]]


def test_more_slices_than_can_be_told_of_leave_no_picture() -> None:
    sample = unit(Codec.H264, 1, 500) * (MOST_SUBSAMPLES + 1)
    parts = subsamples(Codec.H264, 4, sample)
    assert parts == [(len(sample) % 16, len(sample) // 16 * 16)]


def test_sound_is_encrypted_whole_by_a_counter_of_blocks() -> None:
    """With its key (SP 800-38A, F.5.1), against the blocks that AES makes of our counter."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    iv = bytes.fromhex("f0f1f2f3f4f5f6f7")
    blocks = b"".join(iv + n.to_bytes(8, "big") for n in range(3))
    stream = Cipher(AES(key), ECB()).encryptor().update(blocks)
    assert subsamples(Codec.AAC, 0, b"sound") is None
    assert encrypt(key, iv, bytes(40), None) == stream[:40]


@pytest.mark.parametrize("codec", [Codec.AV1, Codec.VP9])
def test_what_cannot_be_split_is_refused(codec: Codec) -> None:
    with pytest.raises(MediaError):
        subsamples(codec, 4, b"frame")
    assert not can_protect({"av1": "av01.0.04M.08", "vp9": "vp09.00.10.08"}[codec])
    assert can_protect("avc1.64001F")
