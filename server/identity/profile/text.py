"""What people write about themselves, as it is kept: text without tricks, and addresses that lead to the web."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from server.kit.problems import Invalid

# they turn the direction of what follows, also outside the text
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKS = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
_MANY_BREAKS = re.compile(r"\n{3,}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_REFUSED = re.compile(r"[\s\x00-\x20\x7f\\<>\"`{}|^]")


def line(text: str) -> str:
    """One line: line breaks and tabs become spaces, other control characters and direction overrides go."""
    return " ".join(_printable(_BREAKS.sub("\n", text), keep="").split())


def paragraphs(text: str) -> str:
    """Several lines; no more than one empty one between two."""
    return _MANY_BREAKS.sub("\n\n", _printable(_BREAKS.sub("\n", text), keep="\n")).strip()


def address(text: str, path: str) -> str:
    """A link as it is kept, or "" for none. Raises Invalid at `path`.

    http and https alone, so that no page that shows it can be made to run something; no user name in it, which serves
    to look like another site; a host with letters of other scripts is kept in the form that browsers ask for.
    """
    text = unicodedata.normalize("NFC", text.strip())
    if not text:
        return ""
    if _REFUSED.search(text):
        raise Invalid.at(path, "an address has no spaces, quotation marks or backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Invalid.at(path, "this is not an address") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise Invalid.at(path, "an address begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise Invalid.at(path, "an address has no user name in it")
    netloc = _host(host, path) + (f":{port}" if port is not None else "")
    kept = parts._replace(scheme=parts.scheme.lower(), netloc=netloc).geturl()
    if len(kept) > 500:
        raise Invalid.at(path, "an address has 500 characters at most")
    return kept


def _host(host: str, path: str) -> str:
    try:
        plain = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        plain = ""
    labels = plain.removesuffix(".").split(".")
    if len(labels) < 2 or len(plain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Invalid.at(path, "the address names no site")
    return plain.lower()


def _printable(text: str, *, keep: str) -> str:
    kept = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if character in keep or (category not in ("Cc", "Cs", "Co", "Zl", "Zp") and character not in _DIRECTIONS):
            kept.append(character)
        elif character in "\n\t":
            kept.append(" ")
    return "".join(kept)
