"""What watching by WebRTC refuses, and why."""

from __future__ import annotations

from server.kit.http import Problem
from server.kit.problems import Conflict, NotFound


class NoSuchSession(NotFound):
    code = "no_such_session"
    title = "There is no such session"


class NotOnAir(Conflict):
    """The broadcast has not begun, or is over."""

    code = "not_on_air"
    title = "The broadcast is not on air"


class OnAirElsewhere(Problem):
    """Another server of the fleet has it: play by HLS, or ask again."""

    status = 503
    code = "on_air_elsewhere"
    title = "The broadcast is on air from another server"


class BFrames(Conflict):
    """WebRTC shows pictures in the order in which they come. Play by HLS, or turn B-frames off in the encoder."""

    code = "b_frames"
    title = "The picture has B-frames that others depend on"


class NotPlayable(Conflict):
    code = "codec_not_playable"
    title = "This picture cannot be played by WebRTC"


class TooManySessions(Problem):
    status = 429
    code = "too_many_sessions"
    title = "There are too many sessions from here"


class NoRoom(Problem):
    status = 503
    code = "no_room"
    title = "This server takes no more viewers by WebRTC"
