"""Captions and chapters of a video of which a part is kept: they go where what they belong to has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from media.vod import subtitles
from server.streaming.videos import captions_store, chapters, work_store
from server.streaming.videos.models import Chapter, Kept, Video
from storage.postgres import Connection


async def move(conn: Connection, video: Video, keep: Sequence[Kept]) -> None:
    """In the rows. Chapters of the description are kept by hand from then on, as its text does not change. video: as it
    was before; keep: in the order of time."""
    for captions in await captions_store.all_of(conn, video.id):
        cues = await asyncio.to_thread(_moved_cues, captions.body, keep)
        if cues:
            await captions_store.put(
                conn,
                video.id,
                captions.language,
                label=captions.label,
                body=await asyncio.to_thread(subtitles.write, cues),
                cues=len(cues),
            )
        else:
            await captions_store.delete(conn, video.id, captions.language)
    before = video.chapters
    if before is None:
        before = chapters.of_description(video.description, video.duration)
    if before:
        await work_store.set_chapters(conn, video.id, _moved_chapters(before, keep, video.duration))


def _moved_cues(body: str, keep: Sequence[Kept]) -> list[subtitles.Cue]:
    cues = [
        subtitles.Cue(start, end, cue.text, cue.settings)
        for cue in subtitles.read(body)
        for start, end in _moved(cue.start, cue.end, keep)[:1]
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _moved_chapters(before: Sequence[Chapter], keep: Sequence[Kept], duration: float) -> list[Chapter]:
    """Those of which something is left. What is shown first belongs to a chapter too."""
    ends = [*(chapter.start for chapter in before[1:]), duration]
    left = [
        Chapter(round(start, 3), chapter.title)
        for chapter, until in zip(before, ends, strict=True)
        for start, _ in _moved(chapter.start, until, keep)[:1]
    ]
    return [Chapter(0.0, left[0].title), *left[1:]] if left else []


def _moved(start: float, end: float, keep: Sequence[Kept]) -> list[tuple[float, float]]:
    """Where what was shown from start to end is shown now."""
    spans, before = [], 0.0
    for first, last in keep:
        begin, until = max(start, first), min(end, last)
        if until > begin:
            spans.append((round(before + begin - first, 3), round(before + until - first, 3)))
        before += last - first
    return spans
