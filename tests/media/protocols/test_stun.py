"""STUN against the vectors of RFC 5769, and what must not be read."""

from __future__ import annotations

import pytest

from media.protocols import stun
from media.protocols.errors import StunError

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
ANSWER_4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599"
    "fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
ANSWER_6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5"
    "bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)


def test_the_request_of_rfc_5769() -> None:
    message = stun.parse(REQUEST)
    assert message.kind == stun.BINDING_REQUEST
    assert message.transaction == TRANSACTION
    assert message.username == "evtj:h6vY"
    assert message.priority == 0x6E0001FF
    assert message.attributes[stun.ICE_CONTROLLED] == bytes.fromhex("932ff9b151263b36")
    assert message.unknown == ()
    assert message.proven(PASSWORD)
    assert not message.proven(PASSWORD[:-1] + b"x")


@pytest.mark.parametrize(
    ("data", "mapped"),
    [(ANSWER_4, ("192.0.2.1", 32853)), (ANSWER_6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_answers_of_rfc_5769(data: bytes, mapped: tuple[str, int]) -> None:
    message = stun.parse(data)
    assert message.kind == stun.BINDING_SUCCESS
    assert message.mapped == mapped
    assert message.proven(PASSWORD)


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::7", "::ffff:192.0.2.9"])
def test_an_answer_says_where_the_request_came_from(address: str) -> None:
    answer = stun.parse(stun.success(stun.parse(REQUEST), address, 4321, b"secret"))
    assert answer.mapped == (address.removeprefix("::ffff:"), 4321)
    assert answer.transaction == TRANSACTION
    assert answer.proven(b"secret")


@pytest.mark.parametrize("code", [400, 401, 420, 487])
def test_a_refusal_has_its_code(code: int) -> None:
    strange = stun.parse(stun.build(stun.BINDING_REQUEST, TRANSACTION, [(0x7001, b"abc")]))
    assert strange.unknown == (0x7001,)
    refusal = stun.parse(stun.refusal(strange, code, b"key"))
    assert refusal.kind == stun.BINDING_ERROR
    assert refusal.error == code
    assert refusal.proven(b"key")
    assert refusal.attributes.get(stun.UNKNOWN_ATTRIBUTES) == (b"\x70\x01" if code == 420 else None)


def changed(at: int, value: bytes) -> bytes:
    return REQUEST[:at] + value + REQUEST[at + len(value) :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:19],
        REQUEST[:-1],
        REQUEST[:-4],
        REQUEST + b"\0\0\0\0",
        changed(0, b"\x40"),  # not STUN's first bits
        changed(2, b"\x00\x57"),  # a length that is no multiple of four
        changed(4, b"\x21\x12\xa4\x43"),  # another cookie
        changed(22, b"\xff\xff"),  # an attribute beyond the end
        changed(104, b"\0\0\0\0"),  # another fingerprint
        changed(50, b"\x01"),  # the same, as the content changed
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.PRIORITY, b"\0\0")]),
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.USE_CANDIDATE, b"\0")]),
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.FINGERPRINT, b"\0\0\0\0")]),  # not at the end
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.SOFTWARE, b"")] * 40),
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.USERNAME, b"x" * 514)]),
        stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.SOFTWARE, b"x" * 1500)]),
    ],
)
def test_what_is_not_stun(data: bytes) -> None:
    with pytest.raises(StunError):
        stun.parse(data)


def test_what_follows_the_integrity_counts_for_nothing() -> None:
    proven = stun.build(stun.BINDING_REQUEST, TRANSACTION, [(stun.USERNAME, b"a:b")], key=b"key")[:-8]
    added = stun.USE_CANDIDATE.to_bytes(2, "big") + b"\0\0"
    grown = proven[:2] + (len(proven) + len(added) - 20).to_bytes(2, "big") + proven[4:] + added
    message = stun.parse(grown)
    assert message.proven(b"key")
    assert stun.USE_CANDIDATE not in message.attributes


def test_nothing_is_proven_without_integrity() -> None:
    assert not stun.parse(stun.build(stun.BINDING_REQUEST, TRANSACTION)).proven(b"")
