"""Who may watch what: the one place that decides, whatever it is and however it is played."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from server.kit.auth import Caller
from server.kit.problems import Problem
from server.streaming.playback.errors import FollowersOnly, NotBought, NotForYou, SubscribersOnly
from server.streaming.visibility import OPEN
from server.streaming.visibility import Visibility as Level


class Watched(Protocol):
    """A broadcast, a video: whatever somebody wants to watch. published: others than its owner may see it at all."""

    @property
    def id(self) -> UUID: ...
    @property
    def owner_id(self) -> UUID: ...
    @property
    def visibility(self) -> str: ...
    @property
    def published(self) -> bool: ...


class Bonds(Protocol):
    """What people are to each other, asked of the feature that keeps it."""

    async def follows(self, viewer_id: UUID, owner_id: UUID) -> bool: ...

    async def subscribes(self, viewer_id: UUID, owner_id: UUID) -> bool | None:
        """None: subscriptions are not known here."""
        ...

    async def bought(self, viewer_id: UUID, id: UUID) -> bool | None:
        """None: nothing is sold here."""
        ...


class Visibility:
    def __init__(self, bonds: Bonds) -> None:
        self._bonds = bonds

    async def may_watch(self, what: Watched, viewer: Caller | None) -> None:
        """Returns when he may. Raises NotForYou, FollowersOnly, SubscribersOnly, NotBought."""
        refusal = await self.refusal(what, viewer.user_id if viewer is not None else None)
        if refusal is not None:
            raise refusal

    async def refusal(self, what: Watched, viewer: UUID | None) -> Problem | None:
        """Why he may not; None: he may."""
        if viewer == what.owner_id or (what.published and what.visibility in OPEN):
            return None
        if not what.published or what.visibility == Level.PRIVATE:
            return NotForYou("It was deleted, or the address is wrong.")
        if what.visibility == Level.FOLLOWERS:
            if viewer is None:
                return FollowersOnly("Sign in, and follow its owner to watch.")
            if await self._bonds.follows(viewer, what.owner_id):
                return None
            return FollowersOnly("Follow its owner to watch.")
        if what.visibility == Level.SUBSCRIBERS:
            return await self._for_subscribers(what, viewer)
        return await self._for_buyers(what, viewer)

    async def _for_subscribers(self, what: Watched, viewer: UUID | None) -> Problem | None:
        known = None if viewer is None else await self._bonds.subscribes(viewer, what.owner_id)
        if known:
            return None
        if viewer is not None and known is None:
            return SubscribersOnly("Nobody can subscribe here yet: its owner alone may watch.")
        return SubscribersOnly("Subscribe to its owner to watch.")

    async def _for_buyers(self, what: Watched, viewer: UUID | None) -> Problem | None:
        known = None if viewer is None else await self._bonds.bought(viewer, what.id)
        if known:
            return None
        if viewer is not None and known is None:
            return NotBought("Nothing is sold here yet: its owner alone may watch.")
        return NotBought("Buy it to watch.")
