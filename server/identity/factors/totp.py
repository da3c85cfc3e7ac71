"""Codes of authenticator apps (RFC 6238: SHA-1, 30 s, six digits, as all apps have them), and how an app learns of us.

Holds nothing.
"""

from __future__ import annotations

import asyncio
import hmac

import pyotp
import segno

from server.kit.clock import now

PERIOD = 30
DIGITS = 6
DRIFT = 1
"""Steps before and after ours that are taken too (RFC 6238, section 5.2)."""


def new_secret() -> str:
    """160 bits in base32 (RFC 4226, section 4, R6)."""
    return pyotp.random_base32(32)


def address(secret: str, account: str, issuer: str) -> str:
    """What the picture says: otpauth://totp/…"""
    return pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD).provisioning_uri(name=account, issuer_name=issuer)


async def picture(text: str) -> str:
    """A QR code as a data: address of an SVG; made in a thread, as it takes tens of milliseconds."""
    return await asyncio.to_thread(_picture, text)


def is_code(text: str) -> bool:
    """Whether this may be a code of an app at all; people type spaces."""
    plain = plain_code(text)
    return len(plain) == DIGITS and plain.isascii() and plain.isdigit()


def plain_code(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


def step_of(secret: str, code: str, after: int) -> int | None:
    """The time step whose code this is, later than `after`; None: of no step that is near enough.

    Compares with every step in the same time, whichever it is.
    """
    current = int(now().timestamp() // PERIOD)
    totp = pyotp.HOTP(secret, digits=DIGITS)
    given = plain_code(code).encode(errors="replace")
    found = None
    for step in range(current - DRIFT, current + DRIFT + 1):
        if hmac.compare_digest(totp.at(step).encode(), given) and step > after:
            found = step
    return found


def _picture(text: str) -> str:
    code = segno.make(text, error="m", micro=False)
    return code.svg_data_uri(scale=6, border=4, dark="#000", light="#fff")
