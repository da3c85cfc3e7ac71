"""Following over HTTP: /api/v1/follows/…"""

from __future__ import annotations

from uuid import UUID

from server.community.follows.errors import (
    FollowsTooMany,
    ListNotShown,
    NoSuchPerson,
    NotYourself,
    TakesNoFollowers,
)
from server.community.follows.lists import Lists
from server.community.follows.models import (
    Follow,
    FollowBody,
    Followed,
    FollowState,
    OnlineNow,
    PeopleQuery,
    Sight,
    UnfollowQuery,
)
from server.community.follows.service import Follows
from server.kit.http import Access, Call, Page, Routes
from server.kit.problems import BadCursor, Unauthorized, Unavailable


def routes(follows: Follows, lists: Lists, sight: Sight) -> Routes:
    api = Routes("follows", "Who follows whom.")

    @api.post(
        "/api/v1/follows/follow",
        access=Access.USER,
        errors=(NoSuchPerson, NotYourself, TakesNoFollowers, FollowsTooMany),
        summary="Follow somebody",
        example_body=FollowBody(user_id=UUID("0192f0c1-7e2a-7c3b-9d4e-5f6a7b8c9d0e")),
    )
    async def follow(call: Call, body: FollowBody) -> Follow:
        """Following somebody again changes nothing: `since` stays. People with a private profile take no new
        followers. How many one may follow depends on the account's tier."""
        return await follows.follow(call.user, body.user_id, sight)

    @api.delete("/api/v1/follows/unfollow", access=Access.USER, summary="Follow somebody no more")
    async def unfollow(call: Call, query: UnfollowQuery) -> None:
        """That you did not follow is no error."""
        await follows.unfollow(call.user, query.user_id)

    @api.get(
        "/api/v1/follows/followers",
        access=Access.ANYONE,
        errors=(Unauthorized, NoSuchPerson, ListNotShown, BadCursor),
        summary="Who follows somebody",
    )
    async def followers(call: Call, query: PeopleQuery) -> Page[Followed]:
        """Newest first, of `user_id` or of yourself. Of a private profile they are shown to its owner alone, of one for
        followers to those."""
        return await lists.page(call.caller, "followers", query)

    @api.get(
        "/api/v1/follows/following",
        access=Access.ANYONE,
        errors=(Unauthorized, NoSuchPerson, ListNotShown, BadCursor),
        summary="Whom somebody follows",
    )
    async def following(call: Call, query: PeopleQuery) -> Page[Followed]:
        """As for the followers."""
        return await lists.page(call.caller, "following", query)

    @api.get(
        "/api/v1/follows/online",
        access=Access.USER,
        errors=(Unavailable,),
        summary="Who is online of those whom you follow",
    )
    async def online(call: Call) -> OnlineNow:
        """Those who share it, at any server. The channel `people:{your id}` of the socket tells it as it changes."""
        return await lists.online(call.user)

    @api.delete("/api/v1/follows/followers/{user_id}", access=Access.USER, summary="Remove a follower of yours")
    async def remove_follower(call: Call, user_id: UUID) -> None:
        """He is not told, and may follow again unless your profile is private."""
        await follows.remove_follower(call.user, user_id)

    @api.get(
        "/api/v1/follows/{user_id}",
        access=Access.ANYONE,
        errors=(NoSuchPerson,),
        summary="You and somebody",
    )
    async def state(call: Call, user_id: UUID) -> FollowState:
        """How many follow this person, and whether you do."""
        await lists.need_person(user_id)
        return await follows.state(call.caller, user_id)

    return api
