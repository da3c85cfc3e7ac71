"""A broadcast as stored, and as the API shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from server.streaming.channels.models import Ingest
from server.streaming.visibility import Visibility


class State(StrEnum):
    CREATED = "created"
    LIVE = "live"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


ON_AIR = (State.LIVE, State.INTERRUPTED)

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=140)]
Description = Annotated[str, msgspec.Meta(max_length=5000)]


class TrackView(msgspec.Struct, frozen=True):
    """kind: video | audio. Sizes in pixels, frame_rate in frames/s, sample_rate in Hz; 0 where it does not apply."""

    kind: str
    codec: str
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0


class RecordingFacts(msgspec.Struct, frozen=True):
    """duration in s; bytes of all segments."""

    duration: float
    bytes: int
    segments: int


class Broadcast(msgspec.Struct, frozen=True):
    """The row. `fence` counts owners: a process may write only while its number is the newest. `version` counts edits
    by people."""

    id: UUID
    channel_id: UUID
    owner_id: UUID
    title: str
    description: str
    visibility: str
    state: State
    record: bool
    viewers: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    tracks: list[TrackView]
    recording: RecordingFacts | None
    thumbnail: bool
    fence: int
    version: int

    @property
    def published(self) -> bool:
        """Who may watch is a matter of `visibility` alone, as opposed to videos that wait for their time."""
        return True


class StartBody(msgspec.Struct, forbid_unknown_fields=True):
    title: Title
    description: Description = ""
    visibility: Visibility = Visibility.PUBLIC


class EditBody(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is given changes."""

    title: Title | None = None
    description: Description | None = None
    visibility: Visibility | None = None


class EndBody(msgspec.Struct, forbid_unknown_fields=True):
    stream_id: UUID


class Owner(msgspec.Struct, frozen=True):
    id: UUID
    username: str


class Playback(msgspec.Struct, frozen=True):
    """Absolute URLs: of the live playlists, and where players by WebRTC POST their offer (WHEP). Of what is neither
    public nor unlisted they are for the caller and good for minutes."""

    hls: str
    dash: str
    whep: str


class RecordingView(msgspec.Struct, frozen=True):
    """duration in s."""

    hls: str
    dash: str
    duration: float


class Line(msgspec.Struct, frozen=True):
    """How a publisher by WebRTC comes through. loss: share of packets, over the last second; rtt (null as long as no
    packet had to be sent again) and jitter in s. Since it connected: packets that were asked for once more (nacks),
    that came then (recovered) or not at all (lost), and key frames asked for (plis)."""

    loss: float
    rtt: float | None
    jitter: float
    nacks: int
    recovered: int
    lost: int
    plis: int


class Health(msgspec.Struct, frozen=True):
    """bitrate in bit/s, frame_rate in frames/s, key_distance in s; advice: sentences for the person who pushes; line:
    null for RTMP, whose connection hides it."""

    bitrate: float
    frame_rate: float
    key_distance: float
    advice: list[str]
    line: Line | None


class EventView(msgspec.Struct, frozen=True):
    at: datetime
    kind: str
    detail: str


class StartedView(msgspec.Struct, frozen=True):
    """stream_key: only when it had to be made just now, else null (`POST /live/key` makes a new one)."""

    id: UUID
    title: str
    description: str
    visibility: str
    state: State
    stream_key: str | None
    ingest: Ingest
    playback: Playback
    channel: str


class CardView(msgspec.Struct, frozen=True):
    """A broadcast in a list."""

    id: UUID
    title: str
    visibility: str
    state: State
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    viewers: int
    thumbnail: str
    owner: Owner
    recording: RecordingView | None


class BroadcastView(msgspec.Struct, frozen=True):
    """A broadcast in full. video: what was made of its recording. `health` and `events` are for its owner alone (null
    for others)."""

    id: UUID
    version: int
    title: str
    description: str
    visibility: str
    state: State
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    viewers: int
    tracks: list[TrackView]
    owner: Owner
    playback: Playback
    thumbnail: str
    channel: str
    recording: RecordingView | None
    video: UUID | None
    health: Health | None
    events: list[EventView] | None


class JoinView(msgspec.Struct, frozen=True):
    """renew_in: ask again after so many seconds, and go on with the new addresses; null: these stay good."""

    playback: Playback
    renew_in: float | None
    channel: str
    viewers: int


class Room(msgspec.Struct, frozen=True):
    """A broadcast as those beside it see it: its owner, and whether it has not ended."""

    id: UUID
    owner_id: UUID
    open: bool
    started_at: datetime | None
