"""What the chat asks of bonds between people, answered by the feature that keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from server.community.chat.mode import Bond
from server.community.follows.service import Follows
from storage.postgres import Connection


class FollowAudience:
    """Implements server.community.chat.models.Audience. Nobody can subscribe here yet, so modes for subscribers are
    refused."""

    def __init__(self, follows: Follows) -> None:
        self._follows = follows

    def knows(self, bond: Bond) -> bool:
        return bond == "followers"

    async def followers(
        self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]
    ) -> Mapping[UUID, datetime]:
        return await self._follows.followers_among(connection, owner_id, user_ids)

    async def subscribers(self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]) -> Collection[UUID]:
        return ()
