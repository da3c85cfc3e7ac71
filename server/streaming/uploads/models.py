"""An upload as stored, and what its client says of the video."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from server.kit.problems import Invalid
from server.streaming.videos.models import Description, Title, Visibility


class Kind(StrEnum):
    """whole: one file by tus; partial, final: several that are joined; form: multipart/form-data."""

    WHOLE = "whole"
    PARTIAL = "partial"
    FINAL = "final"
    FORM = "form"


class State(StrEnum):
    """full: all bytes are kept, a job makes the object of them; done: the video has its file."""

    OPEN = "open"
    FULL = "full"
    DONE = "done"
    EXPIRED = "expired"


class Upload(msgspec.Struct, frozen=True):
    """The row. length: bytes, None while it is not known; received: bytes that survive anything; head: the first of
    them, as many as tell what they are; metadata: as the client sent it."""

    id: UUID
    owner_id: UUID
    video_id: UUID | None
    kind: Kind
    state: State
    place: str
    length: int | None
    received: int
    head: bytes
    metadata: str
    pieces: list[UUID]
    joined: bool
    idempotency_key: str | None
    sent_bytes: int | None
    expires_at: datetime

    @property
    def gone(self) -> bool:
        """Its time is over, or its video was deleted."""
        if self.state is State.EXPIRED:
            return True
        return self.kind in (Kind.WHOLE, Kind.FINAL) and self.video_id is None


class Details(msgspec.Struct, frozen=True):
    """What an upload says of its video. replaces: the video whose file it is to be; then the rest says nothing."""

    title: Title
    description: Description
    visibility: Visibility
    replaces: UUID | None = None

    @classmethod
    def of(cls, given: dict[str, str]) -> Details:
        """From texts by name; a file's name stands in for a title. Raises Invalid."""
        for name, text in given.items():
            if "\0" in text:
                raise Invalid.at(name, "has a NUL character")
        title = given.get("title", "").strip() or _title_of(given.get("filename", ""))
        wanted: dict[str, Any] = {
            "title": title,
            "description": given.get("description", ""),
            "visibility": given.get("visibility") or Visibility.PRIVATE,
            "replaces": given.get("replaces") or None,
        }
        try:
            return msgspec.convert(wanted, cls)
        except msgspec.ValidationError as error:
            raise Invalid.from_msgspec(error, "body") from None


def _title_of(filename: str) -> str:
    name = filename.replace("\\", "/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return " ".join(stem.replace("_", " ").split())[:140].strip() or "Untitled"


class Options(msgspec.Struct, frozen=True):
    """Bytes, seconds, and numbers at once."""

    most_bytes: int
    open_per_account: int
    writing_per_account: int
    writing: int
    hours: float
    least_rate: float
    window: float
    checkpoint: float

    @property
    def lease(self) -> float:
        """How long a connection that gives no sign of life holds its upload: longer than a client may be silent."""
        return 3 * self.window
