"""What a channel is to the rest of the product."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class Channel(msgspec.Struct, frozen=True):
    """One user's place to broadcast. key_hint: the last four characters of the stream key, None while there is none."""

    id: UUID
    user_id: UUID
    key_hint: str | None
    key_created_at: datetime | None


class ChannelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """keep_as_videos: a recorded broadcast becomes a video when it ends."""

    keep_as_videos: bool


class Ingest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to push. rtmp: the full URL (ends in the key when the key is known). rtmp_server: the same without the
    key, for encoders that ask for server and key apart. whip: for WebRTC, with the key or an access token as bearer.
    rtmps: over TLS, when a certificate is configured."""

    rtmp: str
    rtmp_server: str
    whip: str
    rtmps: str | None = None


class KeyView(msgspec.Struct, frozen=True):
    """A channel's key as its owner may see it; the key itself only in the answer that creates it."""

    exists: bool
    hint: str | None
    created_at: datetime | None
    ingest: Ingest
    stream_key: str | None = None
