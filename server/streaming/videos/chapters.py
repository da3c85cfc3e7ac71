"""Chapters of a description's time lines, and what chapters must be. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from server.streaming.videos.errors import BadChapters
from server.streaming.videos.models import Chapter

# "1:02:03 Title", "02:03 - Title", "(2:03) Title"
_LINE = re.compile(r"[(\[]?(?:(\d{1,2}):)?(\d{1,2}):([0-5]\d)[)\]]?[ \t]*(?:[-\u2013\u2014:|][ \t]*)?(\S.{0,139})")
FEWEST = 2


def of_description(description: str, duration: float) -> list[Chapter]:
    """Lines that begin with a time: from 0:00 on, rising, at least two; else it is a text that names moments."""
    chapters: list[Chapter] = []
    for line in description.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            continue
        hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
        start = float(hours * 3600 + minutes * 60 + seconds)
        if chapters and start <= chapters[-1].start:
            return []
        if duration and start >= duration:
            break
        chapters.append(Chapter(start, found[4].strip()))
    return chapters if len(chapters) >= FEWEST and chapters[0].start == 0 else []


def check(chapters: Sequence[Chapter], duration: float) -> None:
    """Raises BadChapters. duration: 0 while it is not known."""
    if chapters and chapters[0].start != 0:
        raise BadChapters("The first chapter has to begin at 0.")
    for earlier, later in itertools.pairwise(chapters):
        if later.start <= earlier.start:
            raise BadChapters(f"“{later.title}” has to begin after “{earlier.title}”.")
    if chapters and duration and chapters[-1].start >= duration:
        raise BadChapters(f"“{chapters[-1].title}” begins after the end: the video lasts {duration:.3f} s.")
