"""What an OpenID provider says of itself, and the keys that it signs with.

Issuer owns a copy of both: the document for an hour, the keys for an hour or until a token names one that is not among
them, which is asked for at most once in half a minute. When the provider is away the old copies go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from server.integrations.signin.provider import ProviderAway, ProviderError
from server.integrations.signin.tokens import fetch, text
from server.kit.outgoing import Outgoing

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a public key alone: `none` and the HMACs, for which our secret would do, are never taken."""
_KEPT = 3600.0
_LOOK_AGAIN = 30.0
_MOST_KEYS = 50
_LONGEST_MODULUS = 1400  # characters of base64url: RSA keys over 8192 bits cost more than they are worth


@dataclass(frozen=True, slots=True)
class Metadata:
    """OpenID Connect Discovery 1.0, section 3, as far as it is used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    algorithms: tuple[str, ...]
    basic: bool  # the token endpoint takes the secret in the header
    names_issuer: bool  # `iss` stands beside every code (RFC 9207)


@dataclass(frozen=True, slots=True)
class Key:
    """kid, algorithm: empty when the provider does not say."""

    kid: str
    algorithm: str
    kind: str
    key: Any


class Issuer:
    def __init__(self, http: Outgoing, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """url: the issuer exactly as the provider writes it."""
        self.url = url
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._keys: list[Key] = []
        self._keys_at: float | None = None

    async def metadata(self) -> Metadata:
        """Raises ProviderError."""
        if (fresh := self._kept()) is not None:
            return fresh
        async with self._lock:
            if (fresh := self._kept()) is not None:
                return fresh
            try:
                self._metadata = await self._discover()
            except ProviderAway:
                if self._metadata is None:
                    raise
            self._metadata_at = self._clock()
            return self._metadata

    async def keys(self, kid: str, algorithm: str) -> list[Key]:
        """The keys that may have signed a token with this header. Raises ProviderError."""
        if self._keys_at is None or self._clock() - self._keys_at > _KEPT or not self._fitting(kid, algorithm):
            metadata = await self.metadata()
            async with self._lock:
                due = self._keys_at is None or self._clock() - self._keys_at > _LOOK_AGAIN
                if due:
                    try:
                        self._keys = _key_set(await fetch(self._http, metadata.jwks_uri))
                    except ProviderAway:
                        if not self._keys:
                            raise
                    self._keys_at = self._clock()
        return self._fitting(kid, algorithm)

    def _kept(self) -> Metadata | None:
        return self._metadata if self._clock() - self._metadata_at < _KEPT else None

    def _fitting(self, kid: str, algorithm: str) -> list[Key]:
        kind = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
        return [
            key
            for key in self._keys
            if key.kind == kind and key.algorithm in {"", algorithm} and (key.kid == kid or not kid)
        ]

    async def _discover(self) -> Metadata:
        said = await fetch(self._http, self.url.rstrip("/") + "/.well-known/openid-configuration")
        if text(said, "issuer") != self.url:
            raise ProviderError(f"{self.url} says that it is another issuer, {text(said, 'issuer')[:200]!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _endpoint(self.url, said, name)
        methods = said.get("code_challenge_methods_supported")
        if isinstance(methods, list) and "S256" not in methods:
            raise ProviderError(f"{self.url} does not take PKCE with S256")
        offered = said.get("id_token_signing_alg_values_supported")
        algorithms = tuple(each for each in ALGORITHMS if each in (offered if isinstance(offered, list) else ["RS256"]))
        if not algorithms:
            raise ProviderError(f"{self.url} signs in no way that is taken here")
        ways = said.get("token_endpoint_auth_methods_supported")
        return Metadata(
            authorization_endpoint=said["authorization_endpoint"],
            token_endpoint=said["token_endpoint"],
            jwks_uri=said["jwks_uri"],
            userinfo_endpoint=_endpoint(self.url, said, "userinfo_endpoint") if said.get("userinfo_endpoint") else "",
            algorithms=algorithms,
            basic="client_secret_basic" in ways if isinstance(ways, list) else True,
            names_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )


def _endpoint(issuer: str, said: Any, name: str) -> str:
    """An address of the provider, no less protected than its issuer."""
    value = text(said, name)
    parts = urlsplit(value)
    if parts.scheme not in {"https", urlsplit(issuer).scheme} or not parts.hostname or parts.fragment:
        raise ProviderError(f"{issuer} has no {name} that could be used")
    return value


def _key_set(said: object) -> list[Key]:
    """The public keys of a JWK Set (RFC 7517) that check signatures; what is not understood is left out (section 5)."""
    entries = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise ProviderError("the provider's keys are not a JWK Set")
    keys = []
    for entry in entries[:_MOST_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or len(text(entry, "n")) > _LONGEST_MODULUS:
            continue
        if (kind := text(entry, "kty")) not in {"RSA", "EC", "OKP"}:  # never `oct`, a secret that is no secret
            continue
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if hasattr(key, "sign"):  # a private key: whoever published it has lost it
            continue
        keys.append(Key(text(entry, "kid"), text(entry, "alg"), kind, key))
    return keys
