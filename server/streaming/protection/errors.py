"""What protection refuses, and why."""

from __future__ import annotations

from server.kit.problems import Conflict


class CannotProtect(Conflict):
    code = "cannot_protect"
    title = "This video cannot be encrypted like that"


class NotProtected(Conflict):
    code = "not_protected"
    title = "The video is not encrypted"
