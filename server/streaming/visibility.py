"""Who may watch a broadcast or a video, as its owner says."""

from __future__ import annotations

from enum import StrEnum


class Visibility(StrEnum):
    """Everybody (and it is in lists), whoever has the address, its owner alone, who follows him, who subscribes to him,
    who has bought it."""

    PUBLIC = "public"
    UNLISTED = "unlisted"
    PRIVATE = "private"
    FOLLOWERS = "followers"
    SUBSCRIBERS = "subscribers"
    PAID = "paid"


OPEN = (Visibility.PUBLIC, Visibility.UNLISTED)
"""Who has the address may watch."""

PUBLIC_GRANT = "p"
"""Stands in the path of its media, where nobody needs a grant of his own."""
