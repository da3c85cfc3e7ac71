"""Following, as clients see it and as the feature asks others about people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from msgspec import Meta, Struct

from server.kit.auth import Caller
from server.kit.http import PageQuery


class FollowBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[UUID, Meta(description="whom to follow")]


class UnfollowQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[UUID, Meta(description="whom to follow no more")]


class Follow(Struct, frozen=True, kw_only=True):
    user_id: UUID
    since: datetime


class FollowState(Struct, frozen=True, kw_only=True):
    """How many follow this person and whom he follows, since when you follow him and he follows you; null: not."""

    user_id: UUID
    followers: int
    following: int
    since: datetime | None
    follows_you_since: datetime | None


class Followed(Struct, frozen=True, kw_only=True):
    """One person of a list, and since when the one follows the other."""

    id: UUID
    username: str
    display_name: str
    since: datetime


class PeopleQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[UUID, Meta(description="whose list; without it your own")] | None = None


class Person(Struct, frozen=True, kw_only=True):
    id: UUID
    username: str
    display_name: str


class OnlineNow(Struct, frozen=True, kw_only=True):
    """count: how many are online; items: some of them by name, by the order of the alphabet."""

    count: int
    items: list[Person]


class Counts(Struct, frozen=True):
    followers: int
    following: int


class Named(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def username(self) -> str: ...
    @property
    def display_name(self) -> str: ...


class People(Protocol):
    async def people(self, ids: Collection[UUID]) -> Mapping[UUID, Named]:
        """Those of these ids who have an account."""
        ...


class WhoIsHere(Protocol):
    async def online(self, ids: Collection[str], /) -> Collection[str]:
        """Which of these users (their ids as text) are online and share it. Raises when it cannot be told."""
        ...


class Sight(Protocol):
    """What people show of themselves."""

    async def shows(self, user_id: UUID, caller: Caller | None) -> bool:
        """Whether this caller may see more of somebody than his name and picture."""
        ...

    async def takes_followers(self, user_id: UUID) -> bool: ...
