"""Clips and trims as stored, and as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from server.kit.problems import Invalid
from server.streaming.videos.models import Description, SourceKind, VideoCard, Visibility

Moment = Annotated[float, msgspec.Meta(ge=0, le=10_000_000)]
"""s."""
MOST_KEPT = 20


class Who(StrEnum):
    """Who may make clips of what he may watch."""

    EVERYBODY = "everybody"
    FOLLOWERS = "followers"
    OWNER = "owner"


class Clip(msgspec.Struct, frozen=True):
    """The row. source_owner_id: None once that person is gone; start, end: s on the source's time."""

    video_id: UUID
    maker_id: UUID
    kind: SourceKind
    source_id: UUID
    source_owner_id: UUID | None
    widest: Visibility
    start: float
    end: float
    created_at: datetime


class Options(msgspec.Struct, frozen=True):
    """longest: of a clip, s. per_hour: clips of one person. wait: how long a clip waits for its last moment to be
    recorded, s. children: cuts under way in this process at once."""

    longest: float
    per_hour: int
    wait: float
    children: int


class ClipBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Either `last`, so many seconds up to now, of what is on air; or `from` and `to`, s on the time of the source (see
    `…/clips/range`). visibility: that of the source when it is left out."""

    title: Annotated[str, msgspec.Meta(max_length=140)] = ""
    description: Description = ""
    visibility: Visibility | None = None
    last: Moment | None = None
    from_: Moment | None = None
    to: Moment | None = None

    def stretch(self) -> tuple[float, float] | None:
        """From and to; None: the last seconds. Raises Invalid."""
        if (self.last is None) == (self.from_ is None and self.to is None):
            raise Invalid.at("$.last", "give either `last`, or `from` and `to`")
        if self.last is not None:
            return None
        if self.from_ is None or self.to is None:
            raise Invalid.at("$.to" if self.to is None else "$.from", "`from` and `to` go together")
        if self.to <= self.from_:
            raise Invalid.at("$.to", "has to be later than `from`")
        return self.from_, self.to


class VideoClipBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """from, to: s of the video. visibility: that of the video when it is left out."""

    from_: Moment
    to: Moment
    title: Annotated[str, msgspec.Meta(max_length=140)] = ""
    description: Description = ""
    visibility: Visibility | None = None


class KeptBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """s of the video as it is now."""

    from_: Moment
    to: Moment


class TrimBody(msgspec.Struct, forbid_unknown_fields=True):
    """keep: stretches in the order of time that do not overlap; the rest goes."""

    keep: Annotated[list[KeptBody], msgspec.Meta(min_length=1, max_length=MOST_KEPT)]


class RangeView(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What can be cut now, s on the time of the source. origin: when its second 0 was, null for videos: a moment that a
    player shows is its EXT-X-PROGRAM-DATE-TIME minus this. longest: a clip, s. allowed: whether you may make one."""

    origin: datetime | None
    from_: float
    to: float
    live: bool
    longest: float
    allowed: bool


class RuleBody(msgspec.Struct, forbid_unknown_fields=True):
    """who: null: as it is for all that you have."""

    who: Who | None


class RuleView(msgspec.Struct, frozen=True):
    """who: as it was set here; null: it was not. holds: what that comes to."""

    who: Who | None
    holds: Who


class ClipView(msgspec.Struct, frozen=True):
    """video: the clip itself, as in other lists. kind and source_id: what it is of, which may be gone; start, end: s on
    its time."""

    video: VideoCard
    kind: SourceKind
    source_id: UUID
    start: float
    end: float
