"""The license format of Clear Key (W3C Encrypted Media Extensions, 9.1.3 and 9.1.4). Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec

from media.package.protect import Key

MOST_BYTES = 8192
_Kid = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Request(msgspec.Struct):
    """kids: base64url without padding. type: what the session is for; here all are temporary."""

    kids: Annotated[list[_Kid], msgspec.Meta(min_length=1, max_length=100)]
    type: str = "temporary"


_decode = msgspec.json.Decoder(Request).decode


class BadRequest(Exception):
    """No license request; says what one is."""


def asked(body: bytes) -> list[bytes]:
    """The ids of the keys that are asked for. Raises BadRequest."""
    try:
        return [_bytes(kid) for kid in _decode(body).kids]
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise BadRequest('A license request is JSON, as {"kids": ["base64url of a key id"]}.') from error


def license_of(key: Key) -> bytes:
    """A JSON Web Key Set with this key."""
    one = {"kty": "oct", "kid": _text(key.id), "k": _text(key.secret)}
    return msgspec.json.encode({"keys": [one], "type": "temporary"})


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
