"""What targets refuse, and why."""

from __future__ import annotations

from server.kit.problems import Conflict, NotFound


class NoSuchTarget(NotFound):
    code = "no_such_target"
    title = "There is no such target"


class TooManyTargets(Conflict):
    code = "too_many_targets"
    title = "The account has as many targets as it may"


class TargetDisabled(Conflict):
    code = "target_disabled"
    title = "The target is turned off"


class NotOnAir(Conflict):
    code = "not_on_air"
    title = "You are not live"
