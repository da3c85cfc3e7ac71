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


_Email = Annotated[str, Meta(min_length=1, max_length=254)]
_MailedToken = Annotated[str, Meta(min_length=1, max_length=256, description="what follows #token= in the mail's link")]


class MailedBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: _MailedToken


class AskResetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: _Email


class ResetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: _MailedToken
    password: _Password


class ChangePasswordBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current_password: _Password | None = None  # left out by an account that has no password yet
    password: _Password


class ChangeEmailBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: _Email


class EndSessionsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """include_current: sign out here as well."""

    include_current: bool = False


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


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One signing-in on one device. device: in words, as far as its user agent says. address: from which it was
    opened. methods: what was shown for it, as in RFC 8176. current: the one that asks."""

    id: UUID
    device: str
    user_agent: str
    address: str
    methods: list[str]
    created_at: datetime
    last_used_at: datetime
    current: bool


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SessionView]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of sessions."""

    id: UUID
    device: str
    user_agent: str
    address: str
    methods: list[str]
    created_at: datetime
    last_used_at: datetime


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
    """A row of users. password_hash: empty when nobody signs in with a password. leaves_at: when it is erased, as its
    owner has deleted it; until then he may sign in to take it back, and for nothing else."""

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
    leaves_at: datetime | None = None

    @property
    def shut_out(self) -> bool:
        """Whether showing whose it is would be of no use."""
        return self.disabled_at is not None and self.leaves_at is None

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


class Facts(msgspec.Struct, frozen=True):
    """What has changed about an account since tokens of it were made."""

    user_id: UUID
    username: str
    roles: frozenset[str]
    tier: str
    disabled: bool
