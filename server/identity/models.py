"""What identity takes and gives, and its rows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

PASSWORD_LIMIT = 1024
_Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_LIMIT)]
_RefreshToken = Annotated[str, Meta(min_length=1, max_length=256)]


class RegisterBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Annotated[str, Meta(max_length=254, description="kept unverified; nobody learns whether it is known")]
    username: Annotated[
        str, Meta(max_length=100, description="3 to 30 letters, digits, . _ or -; public, unique whatever the case")
    ]
    password: _Password


class LoginBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Annotated[str, Meta(min_length=1, max_length=254, description="the e-mail address or the username")]
    password: _Password


class RefreshBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    refresh_token: _RefreshToken


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its owner sees it."""

    id: UUID
    username: str
    display_name: str
    email: str
    email_verified: bool
    roles: list[str]
    created_at: datetime


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """expires_in: seconds the access token is good for. The refresh token is good once."""

    user: Profile
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key (RFC 8037, section 2)."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"


class Jwks(msgspec.Struct, frozen=True, kw_only=True):
    keys: list[Jwk]


class Person(msgspec.Struct, frozen=True):
    """An account as everybody sees it."""

    id: UUID
    username: str
    display_name: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A row of users. password_hash: empty when nobody signs in with a password."""

    id: UUID
    username: str
    display_name: str
    email: str
    email_verified_at: datetime | None
    password_hash: str
    roles: list[str]
    created_at: datetime
    disabled_at: datetime | None
    tier: str = "free"
    email_lapsed_at: datetime | None = None

    def verified(self, at: datetime) -> Account:
        """The same account as the owner of its address."""
        return msgspec.structs.replace(self, email_verified_at=at)

    def profile(self) -> Profile:
        return Profile(
            id=self.id,
            username=self.username,
            display_name=self.display_name,
            email=self.email,
            email_verified=self.email_verified_at is not None,
            roles=self.roles,
            created_at=self.created_at,
        )
