"""What broadcasts refuse, and why."""

from __future__ import annotations

from server.kit.http import Problem


class NoSuchBroadcast(Problem):
    status = 404
    code = "no_such_broadcast"
    title = "There is no such broadcast"


class NotYours(Problem):
    status = 403
    code = "not_yours"
    title = "This broadcast belongs to somebody else"


class AlreadyLive(Problem):
    status = 409
    code = "already_live"
    title = "You are live already"


class AlreadyEnded(Problem):
    status = 409
    code = "already_ended"
    title = "The broadcast has ended"


class StillLive(Problem):
    status = 409
    code = "still_live"
    title = "The broadcast is live"


class VisibilityNotYet(Problem):
    status = 422
    code = "visibility_not_supported"
    title = "That visibility is not offered yet"
