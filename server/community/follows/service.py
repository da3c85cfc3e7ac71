"""Decides who may follow whom, and tells other features. Owns nothing between calls.

Anybody may follow anybody, but for who keeps his profile private: he takes no new followers; those whom he had stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

import asyncpg

from server.community.follows import store
from server.community.follows.errors import FollowsTooMany, NoSuchPerson, NotYourself, TakesNoFollowers
from server.community.follows.models import Counts, Follow, FollowState, Sight
from server.kit.auth import Caller
from server.kit.clock import now
from storage.postgres import Connection, Database, after_commit

Changed = Callable[[UUID, UUID, bool], None]
"""Told after the commit: follower, followee, whether he follows from now on."""


class Follows:
    """The facade of following."""

    def __init__(self, database: Database, most: Mapping[str, int]) -> None:
        """most: how many people an account may follow, by tier."""
        self._database = database
        self._most = most
        self._changed: list[Changed] = []

    def on_changed(self, listener: Changed) -> None:
        """It must not raise, and not wait."""
        self._changed.append(listener)

    # what other features ask

    async def follows(self, follower_id: UUID, followee_id: UUID) -> datetime | None:
        """Since when; None: not."""
        async with self._database.acquire() as connection:
            return await store.since(connection, follower_id, followee_id)

    async def followers_among(
        self, connection: Connection, followee_id: UUID, ids: Collection[UUID]
    ) -> Mapping[UUID, datetime]:
        """Of these, who follows him, and since when; asked in the caller's transaction."""
        return await store.since_many(connection, ids, followee_id)

    async def counts(self, user_id: UUID) -> Counts:
        async with self._database.acquire() as connection:
            return Counts(*await store.counts(connection, user_id))

    async def newest_followed(self, user_id: UUID, most: int) -> list[UUID]:
        """Whom he follows, those first whom he followed last."""
        async with self._database.acquire() as connection:
            return [id for id, _ in await store.page(connection, user_id, "following", None, most)]

    async def pairs_among(
        self, follower_ids: Collection[UUID], followee_ids: Collection[UUID]
    ) -> list[tuple[UUID, UUID]]:
        """Which of the first follow which of the second."""
        async with self._database.acquire() as connection:
            return await store.pairs_among(connection, follower_ids, followee_ids)

    # what people do

    async def follow(self, caller: Caller, followee_id: UUID, sight: Sight) -> Follow:
        """Answers the same when he follows already. Raises NoSuchPerson, NotYourself, TakesNoFollowers,
        FollowsTooMany."""
        if followee_id == caller.user_id:
            raise NotYourself("You cannot follow yourself.")
        known = await self.follows(caller.user_id, followee_id)
        if known is not None:
            return Follow(user_id=followee_id, since=known)
        open_ = await sight.takes_followers(followee_id)
        try:
            async with self._database.transaction() as connection:
                return await self._follow(connection, caller, followee_id, open_)
        except asyncpg.ForeignKeyViolationError:
            raise NoSuchPerson("Nobody has this id.") from None

    async def unfollow(self, caller: Caller, followee_id: UUID) -> None:
        """Nothing happens when he does not follow."""
        async with self._database.transaction() as connection:
            if await self._end(connection, caller.user_id, followee_id):
                self._tell(caller.user_id, followee_id, follows=False)

    async def remove_follower(self, caller: Caller, follower_id: UUID) -> None:
        """He may follow again: that is for a block to stop."""
        async with self._database.transaction() as connection:
            if await self._end(connection, follower_id, caller.user_id):
                self._tell(follower_id, caller.user_id, follows=False)

    async def state(self, caller: Caller | None, user_id: UUID) -> FollowState:
        async with self._database.acquire() as connection:
            counts = Counts(*await store.counts(connection, user_id))
            mine = theirs = None
            if caller is not None:
                mine = await store.since(connection, caller.user_id, user_id)
                theirs = await store.since(connection, user_id, caller.user_id)
        return FollowState(
            user_id=user_id,
            followers=counts.followers,
            following=counts.following,
            since=mine,
            follows_you_since=theirs,
        )

    async def _follow(self, connection: Connection, caller: Caller, followee_id: UUID, open_: bool) -> Follow:
        held = await store.hold(connection, [caller.user_id, followee_id])
        if held.get(followee_id, True) or held.get(caller.user_id, True):
            raise NoSuchPerson("Nobody has this id.")
        known = await store.since(connection, caller.user_id, followee_id)
        if known is not None:  # in the same moment
            return Follow(user_id=followee_id, since=known)
        if not open_:
            raise TakesNoFollowers("This person keeps his profile private and takes no new followers.")
        most = self._most.get(caller.tier, 0)
        if await store.following(connection, caller.user_id) >= most:
            raise FollowsTooMany(f"You follow {most} people already: unfollow somebody first.", most=most)
        at = now()
        await store.add(connection, caller.user_id, followee_id, at)
        self._tell(caller.user_id, followee_id, follows=True)
        return Follow(user_id=followee_id, since=at)

    async def _end(self, connection: Connection, follower_id: UUID, followee_id: UUID) -> bool:
        if not await store.since_many(connection, [follower_id], followee_id):
            return False
        held = await store.hold(connection, [follower_id, followee_id])
        return await store.remove(connection, follower_id, followee_id, counted=not held.get(follower_id, True))

    def _tell(self, follower_id: UUID, followee_id: UUID, *, follows: bool) -> None:
        for listener in self._changed:
            after_commit(partial(listener, follower_id, followee_id, follows))
