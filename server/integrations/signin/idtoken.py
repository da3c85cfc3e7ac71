"""ID tokens: checked as OpenID Connect Core 1.0 asks in section 3.1.3.7, each step of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import jwt
import msgspec

from server.integrations.signin.discovery import ALGORITHMS, Issuer
from server.integrations.signin.provider import ProviderError
from server.integrations.signin.tokens import text

SKEW = 60  # s between their clock and ours
_LONGEST = 16 * 1024
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


async def check(issuer: Issuer, client_id: str, token: str, *, nonce: str, access_token: str) -> dict[str, Any]:
    """The claims of a token that this issuer made for us in this attempt. Raises ProviderError, which says what fails.

    The hash of the access token is compared when the token has one.
    """
    if not token or len(token) > _LONGEST:
        raise ProviderError("the provider gave no ID token")
    algorithm, kid = _header(token)
    if algorithm not in ALGORITHMS or algorithm not in (await issuer.metadata()).algorithms:
        raise ProviderError(f"the ID token is signed with {algorithm!r}, which is not taken from this provider")
    claims = await _signed(issuer, token, algorithm, kid)
    moment = time.time()
    if claims.get("iss") != issuer.url:
        raise ProviderError("the ID token is of another issuer")
    _check_audience(claims, client_id)
    if _seconds(claims, "exp") + SKEW <= moment:
        raise ProviderError("the ID token has expired")
    if _seconds(claims, "iat") - SKEW > moment or ("nbf" in claims and _seconds(claims, "nbf") - SKEW > moment):
        raise ProviderError("the ID token is not good yet")
    if not hmac.compare_digest(text(claims, "nonce").encode(), nonce.encode()):
        raise ProviderError("the ID token is of another attempt: its nonce is not ours")
    if "at_hash" in claims and not hmac.compare_digest(
        text(claims, "at_hash").encode(errors="replace"), half_hash(access_token, algorithm).encode()
    ):
        raise ProviderError("the ID token does not belong to the access token beside it")
    return claims


def half_hash(value: str, algorithm: str) -> str:
    """`at_hash` (section 3.1.3.6): the left half of a hash as long as the signature's; EdDSA (Ed25519) has SHA-512."""
    digest = _HASHES[algorithm[2:] if algorithm != "EdDSA" else "512"](value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def _header(token: str) -> tuple[str, str]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ProviderError("the ID token is no JWT") from None
    if "crit" in header:
        raise ProviderError("the ID token asks for something that is not understood here")
    return text(header, "alg"), text(header, "kid")


async def _signed(issuer: Issuer, token: str, algorithm: str, kid: str) -> dict[str, Any]:
    """The claims, if one of the issuer's keys has signed them."""
    for key in await issuer.keys(kid, algorithm):
        try:
            payload = jwt.PyJWS().decode(token, key.key, algorithms=[algorithm])
            claims = msgspec.json.decode(payload)
        except (jwt.PyJWTError, msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            continue
        if isinstance(claims, dict):
            return claims
    raise ProviderError("none of the provider's keys has signed the ID token")


def _check_audience(claims: dict[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise ProviderError("the ID token is for somebody else")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise ProviderError("the ID token was asked for by somebody else")


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProviderError(f"the ID token has no {name}")
    return value
