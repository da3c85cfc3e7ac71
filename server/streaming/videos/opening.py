"""Who may see a video, with which grant, and what a view is, as `Desk` asks it. Keeps nothing."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from server.kit.auth import Caller
from server.kit.http import Call
from server.kit.ownership import own
from server.streaming.videos.errors import NoSuchVideo, NotYourVideo
from server.streaming.videos.models import Video, ViewBody, Watchable


def missing() -> NoSuchVideo:
    return NoSuchVideo("It was deleted, is not for you, or the address is wrong.")


def owned(video: Video | None, caller: Caller) -> Video:
    """Others are told that there is a video only when they may see it in lists."""
    shown = video is not None and video.published_at is not None and not video.suspended
    listed = shown and video is not None and video.visibility == "public"
    return own(
        video,
        caller,
        missing=missing,
        foreign=(lambda: NotYourVideo("Only its owner can do that.")) if listed else None,
    )


class Door(Protocol):
    """Who gets in, and with which grant in the path of the media."""

    async def may_watch(self, what: Watchable, viewer: Caller | None) -> None:
        """Returns when he may. Raises the Problem to answer with."""
        ...

    def grant(self, what: Watchable, viewer: Caller | None) -> str:
        """What stands in the path of its media for somebody who may watch."""
        ...

    def renew_in(self, grant: str) -> float | None:
        """Seconds after which to ask for a new one; None: it stays good."""
        ...

    def doubt(self, id: UUID) -> None:
        """How its media is handed out was changed; after the commit."""
        ...

    async def changed(self, id: UUID) -> None:
        """It was edited or deleted; after the commit."""
        ...


class Views(Protocol):
    async def viewed(self, video: Watchable, call: Call, body: ViewBody) -> None:
        """A player says that it plays. What of it counts is decided there."""
        ...
