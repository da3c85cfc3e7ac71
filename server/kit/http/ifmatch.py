"""If-Match (RFC 9110, section 13.1.1): an edit is made only to what the editor has seen.

A tag of ours is `"<version>.<digest of the answer>"`. The version counts edits; the digest changes with everything that
is shown, also with what nobody edits (how many watch). GET compares whole tags, so that nothing shown is ever stale; an
edit compares the version alone: a viewer who comes must not turn an edit away.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from aiohttp import hdrs, web

from server.kit.problems import BadRequest, PreconditionFailed, PreconditionRequired

_TAG = re.compile(r'[ \t]*(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"[ \t]*(?:,|$)')
_MOST_TAGS = 50


class IfMatch:
    """The condition of one request; without the header every version fits."""

    __slots__ = ("given", "versions")

    def __init__(self, given: bool = False, versions: frozenset[str] | None = None) -> None:
        """versions: those that may be edited; None: any that exists (`*`, or no condition)."""
        self.given = given
        self.versions = versions

    def check(self, version: object) -> None:
        """Compare with the row, locked in the transaction that changes it. version: an int, or a datetime.

        Raises PreconditionFailed.
        """
        if self.versions is not None and version_text(version) not in self.versions:
            raise PreconditionFailed("It was changed after you read it. Read it again, and repeat your change.")


ANY = IfMatch()


def read(request: web.BaseRequest, *, required: bool) -> IfMatch:
    """The condition of a request. Raises BadRequest for what is no If-Match, PreconditionRequired."""
    values = request.headers.getall(hdrs.IF_MATCH, ())
    if not values:
        if required:
            raise PreconditionRequired("Send the ETag of what you have read as If-Match.")
        return ANY
    text = ", ".join(values).strip()
    if text == "*":
        return IfMatch(given=True)
    versions: set[str] = set()
    at = 0
    for _ in range(_MOST_TAGS):
        found = _TAG.match(text, at)
        if found is None:
            break
        if found[1] is None:  # the comparison is strong: a weak tag fits nothing
            versions.add(found[2].partition(".")[0])
        at = found.end()
        if at == len(text):
            return IfMatch(True, frozenset(versions))
    raise BadRequest('If-Match takes * or entity tags such as "3.5d41402abc4b2a76" (RFC 9110, section 13.1.1).')


def version_text(version: object) -> str:
    return str(int(version.timestamp() * 1_000_000)) if isinstance(version, datetime) else str(version)


def entity_tag(data: bytes, version: object = None) -> str:
    """The strong tag of an answer."""
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    return f'"{digest}"' if version is None else f'"{version_text(version)}.{digest}"'


def none_match(request: web.BaseRequest, tag: str) -> bool:
    """Whether the client has this answer already (If-None-Match, section 13.1.2; the comparison is weak)."""
    given = request.headers.get(hdrs.IF_NONE_MATCH)
    if given is None:
        return False
    return given.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in given.split(","))
