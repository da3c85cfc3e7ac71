"""What can be watched, broadcasts and videos alike, as far as it matters to who may."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from server.streaming.protection.models import Protection
from server.streaming.visibility import OPEN

GRANT_CHECK = "grant"
"""Below a grant, in place of a file: answers 204 while the grant is good. For caches that keep one copy for all."""


class Kind(StrEnum):
    """As in the first part of the path."""

    LIVE = "live"
    VIDEO = "videos"


@dataclass(frozen=True, slots=True)
class Subject:
    """visibility: public | unlisted | private | followers | subscribers | paid. published: others than the owner may
    see it, as `visibility` says. ready: there is something to play. ended, recorded: of a broadcast. duration in s, of
    a video. protection: how its media is handed out; None: as it is."""

    kind: Kind
    id: UUID
    owner_id: UUID
    visibility: str
    published: bool = True
    ready: bool = True
    ended: bool = False
    recorded: bool = False
    duration: float = 0.0
    protection: Protection | None = None

    @property
    def open(self) -> bool:
        return self.published and self.visibility in OPEN


class Source(Protocol):
    """Reads subjects of one kind; those that are gone are left out."""

    async def __call__(self, ids: Collection[UUID]) -> Mapping[UUID, Subject]: ...
