"""A video as stored, as other features see it, and as the API shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec

from server.kit.http import PageQuery
from server.streaming.protection.models import Protection, Scheme
from server.streaming.visibility import OPEN as OPEN  # noqa: PLC0414 - a word of videos too
from server.streaming.visibility import Visibility as Visibility  # noqa: PLC0414


class VideoState(StrEnum):
    """playable: the lowest rendition is there; ready: all are."""

    UPLOADING = "uploading"
    PROCESSING = "processing"
    PLAYABLE = "playable"
    READY = "ready"
    FAILED = "failed"


PLAYABLE = (VideoState.PLAYABLE, VideoState.READY)


Title = Annotated[str, msgspec.Meta(min_length=1, max_length=140)]
Description = Annotated[str, msgspec.Meta(max_length=5000)]


class Failure(msgspec.Struct, frozen=True):
    """code: stable, for programs; message: a sentence for the person whose video it is."""

    code: str
    message: str


class Rendition(msgspec.Struct, frozen=True):
    """What can be played. Sizes in pixels; bit_rate: bit/s, the peak."""

    name: str
    width: int
    height: int
    bit_rate: int


class Chapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """start: s from the beginning."""

    start: Annotated[float, msgspec.Meta(ge=0, le=604_800)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=140)]


class Pictures(msgspec.Struct, frozen=True):
    """Names of objects beside the segments. thumbnails: the candidates, the best first; own: the one that was uploaded;
    storyboard: the WebVTT file whose cues name the sprites; preview: the moving picture."""

    thumbnails: tuple[str, ...] = ()
    own: str = ""
    storyboard: str = ""
    preview: str = ""


class Video(msgspec.Struct, frozen=True):
    """The row. `version` counts edits by people; `run` counts attempts to process it. broadcast_id: what it is the
    recording of; replaces: the video whose file this is to be; mark: in the names of its segments; kept: its set is
    made of segments that were there already."""

    id: UUID
    owner_id: UUID
    title: str
    description: str
    visibility: Visibility
    state: VideoState
    progress: float
    error: Failure | None
    publish_at: datetime | None
    published_at: datetime | None
    source_bytes: int
    stored_bytes: int
    duration: float
    renditions: list[Rendition]
    pictures: Pictures
    thumbnail: str | None
    chapters: list[Chapter] | None
    run: int
    likes: int
    views: int
    suspended: bool
    version: int
    packaged: int
    created_at: datetime
    protection: Scheme
    broadcast_id: UUID | None = None
    replaces: UUID | None = None
    mark: str = ""
    kept: bool = False

    @property
    def folder(self) -> str:
        return folder_of(self.id)

    @property
    def playable(self) -> bool:
        """Also when what was to come after it failed."""
        return self.packaged > 0


def folder_of(id: UUID) -> str:
    """Where all objects of a video are."""
    return f"videos/{id}"


def source_key(id: UUID) -> str:
    """The file as it was uploaded."""
    return f"videos/{id}/source"


class Watchable(msgspec.Struct, frozen=True):
    """A video as who hands out its bytes sees it. published: others than the owner may see it, as `visibility` says.
    duration in s. Objects are under `folder`. protection: how its media is handed out; None: as it is."""

    id: UUID
    owner_id: UUID
    visibility: Visibility
    state: VideoState
    published: bool
    duration: float
    folder: str
    protection: Protection | None = None

    @property
    def playable(self) -> bool:
        return self.state in PLAYABLE


class SourceKind(StrEnum):
    """What a video can be cut of."""

    BROADCAST = "broadcast"
    VIDEO = "video"


Kept = tuple[float, float]
"""A stretch of what a video is cut of, s: from, to."""


class Cut(msgspec.Struct, frozen=True):
    """Of a clip, and of a draft that trims the video that it is to replace. keep: in the order of time."""

    kind: SourceKind
    id: UUID
    keep: list[Kept]


class ClipOf(msgspec.Struct, frozen=True):
    """What a video is a clip of, which may be gone; start, end: s on its time."""

    kind: SourceKind
    id: UUID
    start: float
    end: float


class Quota(msgspec.Struct, frozen=True):
    """What an account may still add. bytes and videos: left; seconds: the longest video."""

    bytes: int
    videos: int
    seconds: float


class VideoPlayback(msgspec.Struct, frozen=True):
    """Absolute URLs. renew_in: ask for the video again after so many seconds, and go on with the new addresses; null:
    these stay good. dash: null when it is encrypted for HLS alone. license: where EME's Clear Key asks for keys, null
    when it is not encrypted so."""

    hls: str
    dash: str | None
    renew_in: float | None = None
    license: str | None = None


class VideoOwner(msgspec.Struct, frozen=True):
    id: UUID
    username: str


class UploadedView(msgspec.Struct, frozen=True):
    """What an upload answers. progress: 0 to 1. playback: null until the lowest rendition is there."""

    id: UUID
    state: VideoState
    progress: float
    playback: VideoPlayback | None
    error: Failure | None


class CaptionsView(msgspec.Struct, frozen=True):
    """language: BCP 47. label: what players show. url: the WebVTT file."""

    language: str
    label: str
    cues: int
    url: str


class ThumbnailView(msgspec.Struct, frozen=True):
    """name: what PUT takes to choose it."""

    name: str
    url: str


class VideoEvent(msgspec.Struct, frozen=True):
    at: datetime
    kind: str
    detail: str


class VideoCard(msgspec.Struct, frozen=True):
    """A video in a list. duration in s; thumbnail, preview: absolute URLs, preview null until it is made."""

    id: UUID
    title: str
    visibility: Visibility
    state: VideoState
    progress: float
    error: Failure | None
    duration: float
    thumbnail: str
    preview: str | None
    views: int
    likes: int
    owner: VideoOwner
    created_at: datetime
    published_at: datetime | None
    publish_at: datetime | None


class ReplacementView(msgspec.Struct, frozen=True):
    """A file that is to take the place of a video's: a video itself to its owner alone, to look at, retry and delete by
    this id, with a channel of its own. error: why it will not; the old file stays."""

    id: UUID
    state: VideoState
    progress: float
    error: Failure | None


class VideoView(msgspec.Struct, frozen=True):
    """A video in full. `facts` (of the uploaded file), `events`, `thumbnails` and the bytes are for its owner alone
    (null for others). liked: whether you like it; null when you are not signed in. channel: of the socket, for its
    owner, where progress is told. protection: how its media is encrypted."""

    id: UUID
    version: int
    title: str
    description: str
    visibility: Visibility
    state: VideoState
    progress: float
    error: Failure | None
    created_at: datetime
    publish_at: datetime | None
    published_at: datetime | None
    duration: float
    renditions: list[Rendition]
    playback: VideoPlayback | None
    protection: Scheme
    thumbnail: str
    preview: str | None
    storyboard: str | None
    captions: list[CaptionsView]
    chapters: list[Chapter]
    views: int
    likes: int
    liked: bool | None
    owner: VideoOwner
    broadcast_id: UUID | None
    clip_of: ClipOf | None
    channel: str | None
    replacement: ReplacementView | None
    facts: dict[str, Any] | None
    thumbnails: list[ThumbnailView] | None
    source_bytes: int | None
    stored_bytes: int | None
    events: list[VideoEvent] | None


class VideoEdit(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is given changes. publish_at: others see it from then on; null: at once. thumbnail: a name of
    `thumbnails`. chapters: null for those of the description. protection: how its media is encrypted; who is
    watching it loads it anew."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    protection: Scheme | msgspec.UnsetType = msgspec.UNSET
    publish_at: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET
    thumbnail: Annotated[str, msgspec.Meta(max_length=80)] | msgspec.UnsetType = msgspec.UNSET
    chapters: Annotated[list[Chapter], msgspec.Meta(max_length=200)] | msgspec.UnsetType | None = msgspec.UNSET


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    q: Annotated[str, msgspec.Meta(max_length=200, description="words; the last may be a beginning")] = ""


class LikeView(msgspec.Struct, frozen=True):
    likes: int
    liked: bool


class ViewBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A stretch of the video that was played since the last time, in s of the video."""

    from_: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 0.0
    to: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 0.0


class ViewView(msgspec.Struct, frozen=True):
    """views: as counted so far; a view counts once enough was watched."""

    views: int


class DeletedView(msgspec.Struct, frozen=True):
    """freed_bytes: of the file and of what was made of it; the objects go within moments."""

    id: UUID
    freed_bytes: int


class CaptionsBody(msgspec.Struct, forbid_unknown_fields=True):
    """text: a SubRip (.srt) or WebVTT (.vtt) file. label: what players show; empty: the language's code."""

    text: Annotated[str, msgspec.Meta(min_length=1)]
    label: Annotated[str, msgspec.Meta(max_length=60)] = ""


class CaptionsText(msgspec.Struct, frozen=True):
    """text: the WebVTT file."""

    language: str
    label: str
    cues: int
    text: str
