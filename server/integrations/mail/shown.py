"""How values look in a mail. What strangers chose (a browser's name, a key's name) must not become a link there."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "a Python program"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_PLAIN = re.compile(r"[A-Za-z0-9 ()_-]{1,60}")
_UNKNOWN = "an unknown program"


def device(user_agent: object) -> str:
    """`Firefox on Linux` from a User-Agent, or from a text that says so already."""
    text = str(user_agent or "")
    program = next((name for mark, name in _PROGRAMS if mark in text), None)
    system = next((name for mark, name in _SYSTEMS if mark in text), None)
    if program is not None:
        return f"{program} on {system}" if system else program
    if _PLAIN.fullmatch(text):
        return text
    return f"{_UNKNOWN} on {system}" if system else _UNKNOWN


def moment(value: object) -> str:
    """`20 November 2026, 16:33 UTC` from an aware datetime or its ISO 8601 text; another text as it is."""
    at = _time(value)
    return str(value) if at is None else f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def day(value: object) -> str:
    """`20 November 2026`."""
    at = _time(value)
    return str(value) if at is None else f"{at.day} {at:%B %Y}"


def quoted(value: object, longest: int = 60) -> str:
    """A text that somebody typed, between quotation marks, that no mail program takes for a link."""
    text = "".join(char if char.isprintable() else " " for char in str(value))[:longest]
    return "“" + re.sub(r"(?<=\S)([.:/@])(?=\S)", "\\1\u2060\u200a", text) + "”"


def number(count: object, one: str, many: str) -> str:
    """`1 hour`, `24 hours`."""
    return f"{count} {one if count == 1 else many}"


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
