"""STUN messages (RFC 8489) as ICE uses them (RFC 8445): parsed, proven, and built.

Parsing is strict, because anybody can send a datagram: every length is checked before it is used, a message is at most
a datagram long, and a wrong fingerprint makes it something else than STUN. What a password proves is asked
separately (`StunMessage.proven`): most floods end before that.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from binascii import crc32
from collections.abc import Iterable

from media.protocols.errors import StunError

COOKIE = 0x2112A442
HEADER = 20
MAX_MESSAGE = 1500
MAX_ATTRIBUTES = 32
MAX_USERNAME = 513
"""RFC 8445, 5.3: two fragments of at most 256 characters and the colon between them."""

BINDING_REQUEST = 0x0001
BINDING_INDICATION = 0x0011
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111

MAPPED_ADDRESS = 0x0001
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
REALM = 0x0014
NONCE = 0x0015
MESSAGE_INTEGRITY_SHA256 = 0x001C
PASSWORD_ALGORITHM = 0x001D
USERHASH = 0x001E
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
SOFTWARE = 0x8022
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

REASONS = {
    400: "Bad Request",
    401: "Unauthenticated",
    420: "Unknown Attribute",
    487: "Role Conflict",
}

_UNDERSTOOD = frozenset(
    {
        MAPPED_ADDRESS,
        USERNAME,
        MESSAGE_INTEGRITY,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        REALM,
        NONCE,
        MESSAGE_INTEGRITY_SHA256,
        PASSWORD_ALGORITHM,
        USERHASH,
        XOR_MAPPED_ADDRESS,
        PRIORITY,
        USE_CANDIDATE,
    }
)
_OPTIONAL = 0x8000
_FINGERPRINT_XOR = 0x5354554E
_LENGTHS = {
    MESSAGE_INTEGRITY: 20,
    PRIORITY: 4,
    USE_CANDIDATE: 0,
    FINGERPRINT: 4,
    ICE_CONTROLLED: 8,
    ICE_CONTROLLING: 8,
}
_head = struct.Struct(">HHI12s")
_u16x2 = struct.Struct(">HH")
_u32 = struct.Struct(">I")
_INTEGRITY_BYTES = 24
_FINGERPRINT_BYTES = 8


class StunMessage:
    """kind: one of BINDING_…, or another that we do not serve. transaction: 12 bytes. attributes: the first of each
    kind. unknown: attributes that one has to understand to serve the message, and we do not."""

    __slots__ = ("_data", "_integrity_at", "attributes", "kind", "transaction", "unknown")

    def __init__(
        self,
        kind: int,
        transaction: bytes,
        attributes: dict[int, bytes],
        unknown: tuple[int, ...],
        data: bytes,
        integrity_at: int,
    ) -> None:
        self.kind = kind
        self.transaction = transaction
        self.attributes = attributes
        self.unknown = unknown
        self._data = data
        self._integrity_at = integrity_at

    def proven(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with this password (RFC 8489, 14.5)."""
        at = self._integrity_at
        if not at:
            return False
        # the length counts up to the integrity itself: a fingerprint that follows was added later
        covered = self._data[:2] + _u16(at + _INTEGRITY_BYTES - HEADER) + self._data[4:at]
        return hmac.compare_digest(hmac.digest(key, covered, "sha1"), self._data[at + 4 : at + _INTEGRITY_BYTES])

    @property
    def username(self) -> str | None:
        value = self.attributes.get(USERNAME)
        # in ICE it is ASCII (RFC 8445, 5.3); what is not names nobody here
        return None if value is None else value.decode("ascii", "replace")

    @property
    def priority(self) -> int | None:
        value = self.attributes.get(PRIORITY)
        return None if value is None else int(_u32.unpack(value)[0])

    @property
    def error(self) -> int | None:
        """The code of an error response."""
        value = self.attributes.get(ERROR_CODE)
        return None if value is None or len(value) < 4 else (value[2] & 7) * 100 + value[3]

    @property
    def mapped(self) -> tuple[str, int] | None:
        """XOR-MAPPED-ADDRESS as address and port."""
        value = self.attributes.get(XOR_MAPPED_ADDRESS)
        if value is None or len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
            return None
        mask = _u32.pack(COOKIE) + self.transaction
        port = int.from_bytes(value[2:4], "big") ^ (COOKIE >> 16)
        plain = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
        return str(ipaddress.ip_address(plain)), port


def parse(data: bytes) -> StunMessage:
    """Raises StunError for anything that is not exactly one STUN message."""
    size = len(data)
    if not HEADER <= size <= MAX_MESSAGE:
        raise StunError("The length of a STUN message cannot be.")
    kind, length, cookie, transaction = _head.unpack_from(data)
    if kind & 0xC000 or cookie != COOKIE:
        raise StunError("This is not a STUN message.")
    if length % 4 or HEADER + length != size:
        raise StunError("A STUN message is not as long as it says.")
    attributes: dict[int, bytes] = {}
    unknown: list[int] = []
    integrity_at = 0
    at = HEADER
    seen = 0
    while at < size:
        attribute, count = _u16x2.unpack_from(data, at)
        end = at + 4 + count
        if end > size:
            raise StunError("An attribute of a STUN message is longer than the message.")
        seen += 1
        if seen > MAX_ATTRIBUTES:
            raise StunError("A STUN message has too many attributes.")
        if _LENGTHS.get(attribute, count) != count:
            raise StunError("An attribute of a STUN message has a length that it cannot have.")
        if attribute == FINGERPRINT:
            if end != size:
                raise StunError("The fingerprint of a STUN message is not at its end.")
            if _u32.unpack_from(data, at + 4)[0] != crc32(data[:at]) ^ _FINGERPRINT_XOR:
                raise StunError("The fingerprint of a STUN message is wrong.")
            attributes[FINGERPRINT] = data[at + 4 : end]
        elif not integrity_at:  # what follows the integrity is not covered by it, and counts for nothing
            if attribute not in attributes:
                attributes[attribute] = data[at + 4 : end]
            if attribute == MESSAGE_INTEGRITY:
                integrity_at = at
            elif attribute < _OPTIONAL and attribute not in _UNDERSTOOD:
                unknown.append(attribute)
        at = end + (-count) % 4
    if at != size:
        raise StunError("An attribute of a STUN message is longer than the message.")
    if len(attributes.get(USERNAME, b"")) > MAX_USERNAME:
        raise StunError("The username of a STUN message is too long.")
    return StunMessage(kind, transaction, attributes, tuple(unknown), data, integrity_at)


def build(kind: int, transaction: bytes, attributes: Iterable[tuple[int, bytes]] = (), *, key: bytes = b"") -> bytes:
    """A message with a fingerprint, and with MESSAGE-INTEGRITY when a key is given."""
    body = b"".join(
        _u16x2.pack(attribute, len(value)) + value + bytes(-len(value) % 4) for attribute, value in attributes
    )
    if key:
        covered = _head.pack(kind, len(body) + _INTEGRITY_BYTES, COOKIE, transaction) + body
        body += _u16x2.pack(MESSAGE_INTEGRITY, 20) + hmac.digest(key, covered, "sha1")
    message = _head.pack(kind, len(body) + _FINGERPRINT_BYTES, COOKIE, transaction) + body
    return message + _u16x2.pack(FINGERPRINT, 4) + _u32.pack(crc32(message) ^ _FINGERPRINT_XOR)


def success(request: StunMessage, address: str, port: int, key: bytes) -> bytes:
    """The answer to a binding request: where it came from. An IPv4 address may be written as IPv6 maps it."""
    return build(BINDING_SUCCESS, request.transaction, ((XOR_MAPPED_ADDRESS, _xored(request, address, port)),), key=key)


def refusal(request: StunMessage, code: int, key: bytes = b"") -> bytes:
    """An error response. Without a key it proves nothing, as when the request named nobody here (RFC 8489, 9.1.3)."""
    attributes = [(ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + REASONS[code].encode())]
    if code == 420:
        attributes.append((UNKNOWN_ATTRIBUTES, b"".join(map(_u16, request.unknown))))
    return build(BINDING_ERROR, request.transaction, attributes, key=key)


def _xored(request: StunMessage, address: str, port: int) -> bytes:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    mask = _u32.pack(COOKIE) + request.transaction
    hidden = bytes(a ^ b for a, b in zip(parsed.packed, mask, strict=False))
    return bytes((0, 1 if parsed.version == 4 else 2)) + _u16(port ^ (COOKIE >> 16)) + hidden


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")
