"""Rights as the features ask for them that keep what is watched: each for its own kind, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from server.kit.auth import Caller
from server.kit.problems import Problem
from server.streaming.playback.errors import NotForYou
from server.streaming.playback.rights import Rights
from server.streaming.playback.subjects import Kind, Subject
from server.streaming.playback.visibility import Watched
from server.streaming.visibility import OPEN, PUBLIC_GRANT


class Door:
    """missing: makes the answer for who may not know that there is such a thing."""

    def __init__(self, rights: Rights, kind: Kind, missing: Callable[[], Problem]) -> None:
        self._rights = rights
        self._kind = kind
        self._missing = missing

    async def may_watch(self, what: Watched, viewer: Caller | None) -> None:
        """Returns when he may. Raises `missing`, FollowersOnly, SubscribersOnly, NotBought."""
        try:
            await self._rights.visibility.may_watch(what, viewer)
        except NotForYou:
            raise self._missing() from None

    async def enter(self, id: UUID, viewer: Caller | None) -> Subject:
        """The same for who has its id only: what was known of it within the last second."""
        try:
            return await self._rights.may_watch(self._kind, id, viewer)
        except NotForYou:
            raise self._missing() from None

    async def may_still(self, id: UUID, viewer: Caller | None) -> bool:
        """For what goes on for long: asked every second."""
        return await self._rights.may_still(self._kind, id, viewer)

    def grant(self, what: Watched, viewer: Caller | None) -> str:
        """What stands in the path of its media for somebody who may watch."""
        if viewer is None or (what.published and what.visibility in OPEN):
            return PUBLIC_GRANT
        return self._rights.issue(self._kind, what.id, viewer)

    def renew_in(self, grant: str) -> float | None:
        """Seconds after which to ask for a new one; None: it stays good."""
        return self._rights.renew_in(grant)

    def doubt(self, id: UUID) -> None:
        """How its media is handed out was changed; after the commit."""
        self._rights.doubt(self._kind, id)

    async def changed(self, id: UUID) -> None:
        """It was edited or deleted; after the commit."""
        await self._rights.changed(self._kind, id)
