"""All SQL of captions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from storage.postgres import Connection


class Captions(msgspec.Struct, frozen=True):
    """The row. body: WebVTT as we write it."""

    language: str
    label: str
    body: str
    cues: int
    version: int


_SELECT = "select language, label, body, cues, version from video_captions where video_id = $1"


def _captions(row: Any) -> Captions:
    return Captions(*row)


async def put(conn: Connection, id: UUID, language: str, *, label: str, body: str, cues: int) -> None:
    await conn.execute(
        """insert into video_captions (video_id, language, label, body, cues) values ($1, $2, $3, $4, $5)
           on conflict (video_id, language) do update set label = excluded.label, body = excluded.body,
               cues = excluded.cues, version = video_captions.version + 1, updated_at = now()""",
        id,
        language,
        label,
        body,
        cues,
    )


async def delete(conn: Connection, id: UUID, language: str) -> bool:
    done = await conn.execute("delete from video_captions where video_id = $1 and language = $2", id, language)
    return bool(done == "DELETE 1")


async def languages(conn: Connection, id: UUID) -> list[str]:
    rows = await conn.fetch("select language from video_captions where video_id = $1", id)
    return [row["language"] for row in rows]


async def get(conn: Connection, id: UUID, language: str) -> Captions | None:
    row = await conn.fetchrow(_SELECT + " and language = $2", id, language)
    return _captions(row) if row else None


async def all_of(conn: Connection, id: UUID) -> list[Captions]:
    return [_captions(row) for row in await conn.fetch(_SELECT + " order by language", id)]


async def listed(conn: Connection, id: UUID) -> list[tuple[str, str, int]]:
    """Language, label and number of cues."""
    rows = await conn.fetch(
        "select language, label, cues from video_captions where video_id = $1 order by language", id
    )
    return [(row["language"], row["label"], row["cues"]) for row in rows]


async def versions(conn: Connection, id: UUID) -> list[tuple[str, str, int]]:
    rows = await conn.fetch(
        "select language, label, version from video_captions where video_id = $1 order by language", id
    )
    return [(row["language"], row["label"], row["version"]) for row in rows]
