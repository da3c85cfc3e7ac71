"""What can go wrong with API keys."""

from __future__ import annotations

from server.kit.problems import Conflict, NotFound


class TooManyKeys(Conflict):
    code = "too_many_keys"
    title = "The account has as many API keys as it may"


class NoSuchKey(NotFound):
    code = "no_such_key"
    title = "There is no such API key"
