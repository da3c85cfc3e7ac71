"""What clips and trims refuse, and why."""

from __future__ import annotations

from server.kit.http import Problem
from server.kit.problems import TooManyRequests


class NoSuchClip(Problem):
    status = 404
    code = "no_such_clip"
    title = "There is no such clip"


class NotYourClip(Problem):
    status = 403
    code = "not_yours"
    title = "This clip belongs to somebody else"


class ClipsNotAllowed(Problem):
    status = 403
    code = "clips_not_allowed"
    title = "You may not make clips of this"


class BadStretch(Problem):
    status = 422
    code = "bad_stretch"
    title = "There is no such stretch to cut"


class NothingToClip(Problem):
    status = 409
    code = "nothing_to_clip"
    title = "There is nothing here that could be cut"


class WiderThanSource(Problem):
    status = 409
    code = "wider_than_source"
    title = "A clip may not be seen by more people than what it is of"


class TooManyClips(TooManyRequests):
    code = "too_many_clips"
    title = "You have made as many clips as you may for now"
