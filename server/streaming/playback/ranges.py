"""Parts of a file and conditions, as HTTP asks for them (RFC 9110, sections 13 and 14). Pure."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII)


class NotSatisfiable(Exception):
    """No byte of the file is in the range."""


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of what is asked for. None: the whole, also for what is malformed or several ranges at once, which
    we may ignore (section 14.2). Raises NotSatisfiable."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        if length == 0:
            raise NotSatisfiable
        return size - length, size
    start = int(first)
    if last and int(last) < start:
        return None  # malformed
    if start >= size:
        raise NotSatisfiable
    return start, min(int(last) + 1, size) if last else size


def named(header: str | None, etag: str, *, weak: bool) -> bool:
    """Whether a header of ETags names it. weak: compare as If-None-Match does, else as If-Match and If-Range."""
    if not header:
        return False
    if header.strip() == "*":
        return True
    tags = (tag.strip() for tag in header.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
