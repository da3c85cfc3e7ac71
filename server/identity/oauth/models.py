"""What signing in elsewhere takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from server.identity.models import SignedIn

_Redirect = Annotated[
    str,
    Meta(
        max_length=500,
        description="where to go afterwards: a path of our pages, or an address of an app that the server knows",
    ),
]
_Challenge = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9_-]{43}$",
        description="needed by apps: base64url(SHA-256(code_verifier)), as S256 of RFC 7636",
    ),
]
_Verifier = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9._~-]{43,128}$",
        description="what `code_challenge` was made of; needed when there was one",
    ),
]


class SignInStartBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    redirect: _Redirect = "/"
    code_challenge: _Challenge | None = None


class OneTimeCodeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=100)]
    code_verifier: _Verifier | None = None


class TicketQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ticket: Annotated[str, Meta(min_length=1, max_length=4096)]


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """url: send the browser there, within ten minutes."""

    url: str


class ProviderItem(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    title: str


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    items: list[ProviderItem]


class SignedInElsewhere(SignedIn, frozen=True, kw_only=True):
    """redirect: the path that the attempt began with. created: whether the account is new."""

    redirect: str
    created: bool


class SignInLink(msgspec.Struct, frozen=True, kw_only=True):
    """An account elsewhere that opens this one. name, email: what it was called when it was linked."""

    provider: str
    title: str
    name: str
    email: str
    created_at: datetime
    last_used_at: datetime


class Links(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SignInLink]
