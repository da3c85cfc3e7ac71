"""What the routes of API keys take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

Scope = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z_]+:(read|write)$", max_length=60, description="<tag>:read or <tag>:write")
]


class MakeKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """scopes: what the key may do: `<tag>:read` for GET, `<tag>:write` for the rest, by the tags of the API's document.
    expires_at: after this the key is refused; null: it never expires."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=60, description="for telling keys apart")]
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=100)]
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as its owner sees it. prefix: how the key begins, after `sfk_`. last_used_at: right to the minute."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeys(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of an account, newest first, expired ones too. available: the scopes that there are."""

    items: list[ApiKey]
    available: list[str]


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """secret: the whole key. It is given once and kept nowhere."""

    key: ApiKey
    secret: str
