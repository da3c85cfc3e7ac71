"""What can go wrong with following, as problems."""

from __future__ import annotations

from server.kit.problems import Conflict, Forbidden, NotFound


class NoSuchPerson(NotFound):
    code = "no_such_person"
    title = "There is no such account"


class NotYourself(Conflict):
    code = "not_yourself"
    title = "Nobody can follow himself"


class TakesNoFollowers(Forbidden):
    """Who follows him already goes on."""

    code = "takes_no_followers"
    title = "This person takes no new followers"


class FollowsTooMany(Conflict):
    """`most` says how many an account of this tier may follow."""

    code = "follows_too_many"
    title = "This account follows as many people as it may"


class ListNotShown(Forbidden):
    code = "list_not_shown"
    title = "This person does not show you whom he knows"
