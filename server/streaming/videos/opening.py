"""Who may see a video, with which grant, and what a view is, as `Desk` asks it. Keeps nothing.

The plain answers know no bonds between people, and no other grant than the public one.
"""

from __future__ import annotations

from typing import Protocol

from server.kit.auth import Caller
from server.kit.http import Call
from server.kit.ownership import may, own
from server.streaming.videos.errors import NoSuchVideo, NotYourVideo
from server.streaming.videos.models import OPEN, Video, Watchable

PUBLIC_GRANT = "p"


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


class Visibility(Protocol):
    async def may_watch(self, video: Watchable, viewer: Caller | None) -> None:
        """Returns when he may. Raises the Problem to answer with. Asked of published videos, and of others than the
        owner."""
        ...


class Grants(Protocol):
    def grant(self, video: Watchable, viewer: Caller | None) -> str | None:
        """The part of media URLs that opens them, for somebody who may watch; None: they cannot be opened yet."""
        ...


class Views(Protocol):
    async def viewed(self, video: Watchable, call: Call) -> None:
        """A player says that it plays. What of it counts is decided there."""
        ...


class PlainVisibility:
    """Public and unlisted are for everybody; others are for their owner alone."""

    async def may_watch(self, video: Watchable, viewer: Caller | None) -> None:
        if video.visibility not in OPEN and not may(viewer, video.owner_id):
            raise missing()


class PlainGrants:
    def grant(self, video: Watchable, viewer: Caller | None) -> str | None:
        return PUBLIC_GRANT if video.visibility in OPEN and video.published else None


class NoViews:
    """Nothing counts."""

    async def viewed(self, video: Watchable, call: Call) -> None:
        return None
