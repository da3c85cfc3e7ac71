"""Who may see a clip: never more than may see what it is of. Asked by `Desk` when one is edited. Keeps nothing."""

from __future__ import annotations

from uuid import UUID

from server.streaming.clips import store
from server.streaming.clips.errors import WiderThanSource
from server.streaming.videos.models import Visibility
from storage.postgres import Connection

WIDTH = (
    Visibility.PRIVATE,
    Visibility.PAID,
    Visibility.SUBSCRIBERS,
    Visibility.FOLLOWERS,
    Visibility.UNLISTED,
    Visibility.PUBLIC,
)
"""From whom the fewest may see to whom the most may; as visibility_width has it in SQL."""


class Bounds:
    async def check(self, conn: Connection, id: UUID, visibility: Visibility) -> None:
        """Whether a video may be seen by so many. Raises WiderThanSource."""
        clip = await store.get(conn, id)
        if clip is not None:
            within(clip.widest, visibility, own=clip.maker_id == clip.source_owner_id)


def within(widest: Visibility, wanted: Visibility, *, own: bool) -> None:
    """own: the maker has the source too; whom another has as followers or subscribers are not the owner's. Raises
    WiderThanSource."""
    if WIDTH.index(wanted) > WIDTH.index(widest) or (
        not own and widest not in (Visibility.PUBLIC, Visibility.UNLISTED) and wanted is not Visibility.PRIVATE
    ):
        raise WiderThanSource(f"What it is of is {widest}: the clip may be {widest} at most.")
