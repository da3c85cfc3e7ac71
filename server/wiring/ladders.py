"""The live ladders, as the settings say and the cores carry."""

from __future__ import annotations

import os

from media.transcode.ladders import LadderOptions, Ladders
from media.transcode.rungs import parse_ladder
from server.settings import SettingError, Settings


def cores() -> int:
    """Those that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def ladders(settings: Settings) -> Ladders:
    """Raises SettingError."""
    try:
        rungs = parse_ladder(settings.live_ladder, cores())
    except ValueError as error:
        raise SettingError(f"LIVE_LADDER: {error}") from None
    return Ladders(LadderOptions(rungs=rungs, most=settings.ladder_children or max(1, cores() // 2)))
