"""Archives and departures, as clients send and see them, and their rows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

State = Literal["none", "waiting", "running", "ready", "failed", "expired"]


class ExportBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """media: with the recordings as files, which makes the archive as large as they are; else with their addresses."""

    media: bool = False


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """done of total: parts of the product that have given what they have. bytes: size of the archive so far."""

    state: State = "none"
    media: bool = False
    asked_at: datetime | None = None
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    bytes: int = 0
    done: int = 0
    total: int = 0


class ExportTokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=100)]


class RestoreBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=300)]


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """due_at: when the account is erased; until then its owner may take it back."""

    due_at: datetime


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A row of exports. prefix: where the pieces are, each of piece_bytes but the last."""

    id: UUID
    user_id: UUID
    state: State
    media: bool
    asked_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    attempts: int
    prefix: str | None
    pieces: int
    piece_bytes: int
    bytes: int
    done: int
    total: int

    def view(self) -> ExportView:
        return ExportView(
            state=self.state,
            media=self.media,
            asked_at=self.asked_at,
            ready_at=self.ready_at,
            expires_at=self.expires_at,
            bytes=self.bytes,
            done=self.done,
            total=self.total,
        )
