"""A target as stored, and as the API shows it to its owner; nobody else sees any of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from media.egress.restream import PushState

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60, description="for telling targets apart")]
Url = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=500, description="rtmp://HOST/APP or rtmps://HOST/APP, with :PORT where it needs one"
    ),
]
Key = Annotated[
    str, msgspec.Meta(min_length=1, max_length=500, description="the stream key there; it is never shown again")
]


@dataclass(frozen=True, slots=True)
class Target:
    """The row. key_hint: its last characters, "" of a short one."""

    id: UUID
    channel_id: UUID
    name: str
    url: str
    sealed_key: bytes
    key_hint: str
    enabled: bool
    version: int
    revision: int
    stopped_for: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Push:
    """How the last push to a target goes or went, as its process has written it. over: the broadcast has ended."""

    target_id: UUID
    broadcast_id: UUID
    revision: int
    state: str
    since: datetime
    bitrate: float
    sent_bytes: int
    dropped: int
    reconnects: int
    error: str
    note: str
    over: bool = False


class MakeTargetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to push. enabled: all your broadcasts go there while it is true."""

    name: Name
    url: Url
    key: Key
    enabled: bool = True


class EditTargetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only what is given changes; with another url the key has to be given again."""

    name: Name | None = None
    url: Url | None = None
    key: Key | None = None
    enabled: bool | None = None


class PushView(msgspec.Struct, frozen=True, kw_only=True):
    """The push of the broadcast that is on air, or the last one. bitrate in bit/s; sent_bytes; dropped: frames left out
    because the target took too little; error: why it does not go, in words; note: what is missing though it goes."""

    broadcast_id: UUID
    state: PushState
    since: datetime
    bitrate: float
    sent_bytes: int
    dropped: int
    reconnects: int
    error: str
    note: str


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """key_hint: the key's last characters, as `…ab12`. push: null until the first one."""

    id: UUID
    name: str
    url: str
    key_hint: str
    enabled: bool
    version: int
    created_at: datetime
    push: PushView | None


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of the account in the order in which they were made. most: how many it may have."""

    items: list[TargetView]
    most: int
