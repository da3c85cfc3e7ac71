"""Captions of videos: taken as SubRip or WebVTT, kept as WebVTT in rows, brought to the store by the assembly job."""

from __future__ import annotations

import asyncio
import re
from uuid import UUID

from media.vod.subtitles import BadSubtitles, read, write
from server.kit.auth import Caller
from server.kit.http.ifmatch import IfMatch
from server.streaming.videos import captions_store, store
from server.streaming.videos.captions_store import Captions as Row
from server.streaming.videos.errors import BadCaptions, BadLanguage, NoSuchCaptions, TooManyCaptions
from server.streaming.videos.jobs import enqueue_assembly
from server.streaming.videos.models import CaptionsBody, CaptionsText, Video
from server.streaming.videos.opening import owned
from storage.jobs import Jobs
from storage.postgres import Connection, Database

# BCP 47 as far as players know it: language, script, region, and parts of them
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?(?:-[A-Za-z0-9]{5,8})?")


class Captions:
    """most: languages of one video."""

    def __init__(self, database: Database, jobs: Jobs, *, most: int) -> None:
        self._database = database
        self._jobs = jobs
        self._most = most

    async def put(self, id: UUID, language: str, caller: Caller, body: CaptionsBody, seen: IfMatch) -> CaptionsText:
        """Instead of those of the same language. Raises BadCaptions, BadLanguage, TooManyCaptions."""
        language = _language(language)
        try:
            cues = await asyncio.to_thread(read, body.text)
        except BadSubtitles as error:
            raise BadCaptions(str(error)) from None
        text = await asyncio.to_thread(write, cues)
        async with self._database.transaction() as conn:
            video = owned(await store.lock(conn, id), caller)
            seen.check(video.version)
            there = await captions_store.languages(conn, id)
            if language not in there and len(there) >= self._most:
                raise TooManyCaptions(f"A video may have captions in {self._most} languages: delete some first.")
            label = body.label.strip() or language
            await captions_store.put(conn, id, language, label=label, body=text, cues=len(cues))
            await self._changed(conn, video)
        return CaptionsText(language=language, label=label, cues=len(cues), text=text)

    async def get(self, id: UUID, language: str, caller: Caller) -> CaptionsText:
        """For who edits them; players fetch the file. Raises NoSuchCaptions."""
        language = _language(language)
        async with self._database.acquire() as conn:
            owned(await store.get(conn, id), caller)
            found = await captions_store.get(conn, id, language)
        row = _need(found)
        return CaptionsText(language=row.language, label=row.label, cues=row.cues, text=row.body)

    async def delete(self, id: UUID, language: str, caller: Caller, seen: IfMatch) -> None:
        """Raises NoSuchCaptions."""
        language = _language(language)
        async with self._database.transaction() as conn:
            video = owned(await store.lock(conn, id), caller)
            seen.check(video.version)
            if not await captions_store.delete(conn, id, language):
                raise _none()
            await self._changed(conn, video)

    async def _changed(self, conn: Connection, video: Video) -> None:
        await store.edited(conn, video.id)
        await enqueue_assembly(self._jobs, conn, video.id, video.run)


def _language(text: str) -> str:
    """As BCP 47 recommends to write it: zh-Hant-TW."""
    if _LANGUAGE.fullmatch(text) is None:
        raise BadLanguage("Write the language as en, pt-BR or zh-Hant-TW (BCP 47).")
    first, *rest = text.split("-")
    cased = [part.title() if len(part) == 4 else part.upper() if len(part) <= 3 else part.lower() for part in rest]
    return "-".join([first.lower(), *cased])


def _need(row: Row | None) -> Row:
    if row is None:
        raise _none()
    return row


def _none() -> NoSuchCaptions:
    return NoSuchCaptions("`captions` of the video lists those that there are.")
