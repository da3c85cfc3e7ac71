from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols import amf
from media.protocols.errors import AmfError

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=5))
def test_what_is_encoded_is_decoded(values: list[object]) -> None:
    assert amf.decode(amf.encode(*values)) == values


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_values_or_an_amf_error(data: bytes) -> None:
    for read in (amf.decode, amf.decode_envelope, lambda d: amf.decode(b"\x11" + d)):
        with contextlib.suppress(AmfError):
            read(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x06", None),
        (b"\x08\x00\x00\x00\x01\x00\x01a\x01\x01\x00\x00\x09", {"a": True}),
        (b"\x0b" + struct.pack(">d", 5.0) + b"\x00\x00", 5.0),
        (b"\x0c\x00\x00\x00\x02hi", "hi"),
        (b"\x10\x00\x01C\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x11\x04\x81\x00", 128.0),
        (b"\x11\x04\xff\xff\xff\xff", -1.0),
        (b"\x11\x05" + struct.pack(">d", 1.5), 1.5),
        (b"\x11\x06\x05hi", "hi"),
        (b"\x11\x09\x05\x01\x06\x03a\x06\x00", ["a", "a"]),  # the second is a reference to the first
        (b"\x11\x0a\x0b\x01\x07key\x06\x05hi\x01", {"key": "hi"}),
        (b"\x11\x0a\x13\x01\x03a\x03", {"a": True}),
        (b"\x11\x0c\x05ab", b"ab"),
        (b"\x11\x08\x01" + struct.pack(">d", 2.0), 2.0),
    ],
)
def test_kinds(data: bytes, value: object) -> None:
    assert amf.decode(data) == [value]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x00\x00\x00\x01" * 40, "nested"),
        (b"\x03\x00\x01a" * 40, "nested"),
        (b"\x11" + b"\x09\x03\x01" * 40, "nested"),
        (b"\x05" * 5000, "4096 values"),
        (b"\x0a\xff\xff\xff\xff", "4096 values"),
        (b"\x11\x09\xff\xff\xff\xff\x01", "4096 values"),
        (b"\x02\xff\xffshort", "middle of a value"),
        (b"\x0c\xff\xff\xff\xffshort", "middle of a value"),
        (b"\x42", "unknown kind 66"),
        (b"\x11\x06\x08", "does not hold"),
        (b"\x11\x0a\x07\x01", "form of its own"),
    ],
)
def test_bombs_and_damage(data: bytes, words: str) -> None:
    with pytest.raises(AmfError, match=words):
        amf.decode(data)
