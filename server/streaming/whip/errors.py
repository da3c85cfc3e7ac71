"""What going live by WebRTC refuses, and why. The gate's reasons have the codes that RTMP's log lines have."""

from __future__ import annotations

from media.ingest.gate import Refused
from server.kit.http import Problem
from server.kit.problems import Conflict, Forbidden, NotFound, Unauthorized, Unavailable


class NoSuchSession(NotFound):
    code = "no_such_session"
    title = "There is no such session"


class UnknownKey(Unauthorized):
    code = "unknown_key"
    title = "The stream key is not one"


class MayNot(Forbidden):
    code = "not_allowed"
    title = "This account may not go live"


class InUse(Conflict):
    code = "in_use"
    title = "Another encoder is live with this key"


class Ending(Conflict):
    code = "ending"
    title = "The broadcast is just being ended"


class Ended(Conflict):
    code = "ended"
    title = "The broadcast was ended"


class Elsewhere(Conflict):
    code = "elsewhere"
    title = "The broadcast is live on another server"


class StoreAway(Unavailable):
    code = "store_away"
    title = "The store cannot be reached"


class Restarting(Unavailable):
    code = "restarting"
    title = "The server is restarting"


class NoRoom(Unavailable):
    code = "no_room"
    title = "This server takes no more publishers by WebRTC"


class TooManySessions(Problem):
    status = 429
    code = "too_many_sessions"
    title = "There are too many sessions from here"


REFUSALS = (UnknownKey, MayNot, InUse, Ending, Ended, Elsewhere, StoreAway, Restarting)
_PASSING = {"ending": "2", "elsewhere": "5", "store_away": "5", "restarting": "5"}
"""What is over by itself: how long it takes, s."""


def problem_of(refused: Refused) -> Problem:
    kind = next((kind for kind in REFUSALS if kind.code == refused.code), Conflict)
    problem = kind(refused.description)
    if (seconds := _PASSING.get(refused.code)) is not None:
        problem.headers["Retry-After"] = seconds
    return problem
