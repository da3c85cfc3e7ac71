"""A username for somebody who was not asked for one."""

from __future__ import annotations

import re
import secrets as random
import unicodedata
from collections.abc import Iterator

from server.identity.errors import UsernameTaken
from server.identity.names import check_username
from server.integrations.signin.provider import Stranger
from server.kit.problems import Invalid

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 30
_TRIES = 12


def usernames(stranger: Stranger) -> Iterator[str]:
    """Names to try in turn: the one there, the person's, then with digits that grow in number.

    The local part of an e-mail address is left alone: names are public, addresses are not.
    """
    first = next((name for given in (stranger.username, stranger.name) if (name := _folded(given))), "user")
    for attempt in range(_TRIES):
        digits = (
            "" if attempt == 0 and first != "user" else str(random.randbelow(9 * 10 ** (attempt // 2 + 2))).zfill(3)
        )
        name = first[: _LONGEST - len(digits)] + digits
        try:
            yield check_username(name)
        except (Invalid, UsernameTaken):
            continue


def _folded(text: str) -> str:
    """What is left of a name in plain letters; empty when that is no name."""
    plain = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode()
    name = _OTHER.sub("_", plain).strip("._-")[:_LONGEST].rstrip(".-")
    return name if len(name) >= 3 else ""
