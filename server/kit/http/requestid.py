"""X-Request-ID: the client's when it is harmless, else one of ours."""

from __future__ import annotations

import itertools
import os
import re

from aiohttp import web
from multidict import istr

HEADER = istr("X-Request-ID")
_ACCEPTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}")


class RequestIds:
    """Gives ids that are unique over processes: a random start and a count."""

    def __init__(self) -> None:
        self._prefix = os.urandom(6).hex()
        self._count = itertools.count(1)

    def of(self, request: web.BaseRequest) -> str:
        given = request.headers.get(HEADER)
        if given is not None and _ACCEPTED.fullmatch(given):
            return given
        return self.new()

    def new(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"
