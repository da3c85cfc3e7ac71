"""What watching refuses, and why."""

from __future__ import annotations

from server.kit.problems import Forbidden, NotFound


class NotForYou(NotFound):
    """Whoever may not even know that it exists is told that it does not."""

    code = "no_such_media"
    title = "There is no such video or broadcast"


class FollowersOnly(Forbidden):
    code = "followers_only"
    title = "Only followers may watch this"


class SubscribersOnly(Forbidden):
    code = "subscribers_only"
    title = "Only subscribers may watch this"


class NotBought(Forbidden):
    code = "not_bought"
    title = "This has to be bought to be watched"


MAY_NOT = (FollowersOnly, SubscribersOnly, NotBought)
"""For the routes of what has such rights."""
