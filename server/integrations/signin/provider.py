"""What signing in elsewhere asks of a provider, and what it gives."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Protocol


class ProviderError(Exception):
    """The provider is away, refuses us, or says something that must not be believed. For logs; names no secret."""


class ProviderAway(ProviderError):
    """Nothing wrong was said; trying again may help."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One person's way to a provider and back, from our side.

    redirect_uri: ours, where the provider sends the browser. state: what ties the answer to the browser. nonce: what
    ties the ID token to this attempt. verifier: of PKCE (RFC 7636, section 4.1).
    """

    redirect_uri: str
    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """For `code_challenge_method=S256`, the only method in use."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who a provider says it is. Everything but the subject is a claim that its person could have typed.

    subject: the provider's lasting id of the account; never an address or a name, which change hands. email_verified:
    the provider itself has sent a mail there.
    """

    subject: str
    email: str = ""
    email_verified: bool = False
    username: str = ""
    name: str = ""


class Provider(Protocol):
    @property
    def key(self) -> str:
        """What stands in addresses and in the database: `github`."""
        ...

    @property
    def title(self) -> str:
        """What people read: `GitHub`."""
        ...

    @property
    def authority(self) -> str:
        """Whose the subjects are: `https://github.com`. It outlives keys, which the operator chooses."""
        ...

    async def address(self, attempt: Attempt) -> str:
        """Where to send the browser. Raises ProviderError."""
        ...

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        """Trade the code that came back for who it is. issuer: `iss` beside the code (RFC 9207), if any.

        Raises ProviderError.
        """
        ...
