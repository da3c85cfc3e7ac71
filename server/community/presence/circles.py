"""Who is online of those whom one follows: the channel `people:{my id}`, which its owner alone may hold. Nothing is
ever said in it; who subscribes with `presence` is told who of them is here, and who comes and goes.

Implements realtime's ChannelRules and Circles; whoever keeps the bonds is asked through a Protocol. Keeps nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any, Protocol
from uuid import UUID

from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Position
from realtime.rules import Action, Identity, Published, Refused, Slice

PREFIX = "people"
_SCOPE = "follows:read"
_NOWHERE = Position("0", 0)


class Bonds(Protocol):
    async def newest_followed(self, user_id: UUID, most: int, /) -> list[UUID]: ...

    async def pairs_among(
        self, follower_ids: Collection[UUID], followee_ids: Collection[UUID], /
    ) -> list[tuple[UUID, UUID]]:
        """Which of the first follow which of the second."""
        ...


class Named(Protocol):
    @property
    def username(self) -> str: ...


class People(Protocol):
    async def people(self, ids: Collection[UUID], /) -> Mapping[UUID, Named]: ...


class PeopleChannels:
    def __init__(self, bonds: Bonds, people: People, most: int) -> None:
        """most: so many of those whom somebody followed last are looked at."""
        self._bonds = bonds
        self._people = people
        self._most = most

    # rules

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "Sign in to see whom you follow.")
        scopes: Set[str] | None = getattr(who, "scopes", None)
        if scopes is not None and _SCOPE not in scopes:
            raise Refused(ErrorCode.FORBIDDEN, f"This API key has not the scope {_SCOPE}.")
        if channel != f"{PREFIX}:{who.user_id}":
            raise Refused(ErrorCode.FORBIDDEN, "This channel is somebody else's.")
        if action not in (Action.SUBSCRIBE, Action.PRESENCE):
            raise Refused(ErrorCode.FORBIDDEN, "Nothing is said in this channel.")

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        raise Refused(ErrorCode.FORBIDDEN, "Nothing is said in this channel.")

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        return Slice(_NOWHERE, [])

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        return dict.fromkeys(channels, _NOWHERE)

    async def state(self, channel: str) -> None:
        return None

    # circles

    async def circle(self, owner: str) -> list[str]:
        return [str(id) for id in await self._bonds.newest_followed(UUID(owner), self._most)]

    async def among(self, owners: Collection[str], people: Collection[str]) -> list[tuple[str, str]]:
        pairs = await self._bonds.pairs_among([UUID(id) for id in owners], [UUID(id) for id in people])
        return [(str(owner), str(id)) for owner, id in pairs]

    async def names(self, ids: Collection[str]) -> dict[str, str]:
        found = await self._people.people([UUID(id) for id in ids])
        return {str(id): person.username for id, person in found.items()}
