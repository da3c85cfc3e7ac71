"""All SQL of videos but that of the work on them (`work_store`) and of captions (`captions_store`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from server.kit.ids import uuid7
from server.streaming.protection.models import Protection, Scheme
from server.streaming.videos.models import (
    Chapter,
    Failure,
    Pictures,
    Rendition,
    Video,
    VideoState,
    Visibility,
    Watchable,
    folder_of,
)
from storage.postgres import Connection

# in the order of the fields of Video, but for the error's two
_COLUMNS = """v.id, v.owner_id, v.title, v.description, v.visibility, v.state, v.progress, v.error_code, v.error,
    v.publish_at, v.published_at, v.source_bytes, v.stored_bytes, v.duration, v.renditions, v.pictures, v.thumbnail,
    v.chapters, v.run, v.likes, v.views, v.suspended, v.version, v.packaged, v.created_at,
    v.protection, v.broadcast_id, v.replaces, v.mark, v.stretches is not null as kept"""
_SELECT = f"select {_COLUMNS} from videos v"
# a list shows neither
_CARD = "select " + _COLUMNS.replace("v.description", "''").replace("v.chapters", "null::jsonb")
SEEN = "v.published_at is not null and v.visibility = 'public' and not v.suspended"
"""What the partial indexes hold."""
CANDIDATES = 1000
"""Of so many, the newest that match, a search shows the best: ranking all would read them all."""

_renditions = msgspec.json.Decoder(list[Rendition]).decode
_pictures = msgspec.json.Decoder(Pictures).decode
_chapters = msgspec.json.Decoder(list[Chapter]).decode


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _video(row: Any) -> Video:
    return Video(
        id=row["id"],
        owner_id=row["owner_id"],
        title=row["title"],
        description=row[3],
        visibility=Visibility(row["visibility"]),
        state=VideoState(row["state"]),
        progress=row["progress"],
        error=Failure(row["error_code"], row["error"]) if row["error_code"] is not None else None,
        publish_at=row["publish_at"],
        published_at=row["published_at"],
        source_bytes=row["source_bytes"],
        stored_bytes=row["stored_bytes"],
        duration=row["duration"],
        renditions=_renditions(row["renditions"]) if row["renditions"] != "[]" else [],
        pictures=_pictures(row["pictures"]) if row["pictures"] != "{}" else Pictures(),
        thumbnail=row["thumbnail"],
        chapters=_chapters(row[17]) if row[17] is not None else None,
        run=row["run"],
        likes=row["likes"],
        views=row["views"],
        suspended=row["suspended"],
        version=row["version"],
        packaged=row["packaged"],
        created_at=row["created_at"],
        protection=Scheme(row["protection"]),
        broadcast_id=row["broadcast_id"],
        replaces=row["replaces"],
        mark=row["mark"],
        kept=row["kept"],
    )


async def add(
    conn: Connection,
    owner_id: UUID,
    *,
    title: str,
    description: str,
    visibility: Visibility,
    publish_at: datetime | None,
    longest: float,
) -> UUID:
    id = uuid7()
    await conn.execute(
        """insert into videos (id, owner_id, title, description, visibility, publish_at, longest)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        id,
        owner_id,
        title,
        description,
        visibility,
        publish_at,
        longest,
    )
    return id


async def get(conn: Connection, id: UUID) -> Video | None:
    row = await conn.fetchrow(_SELECT + " where v.id = $1", id)
    return _video(row) if row else None


async def lock(conn: Connection, id: UUID) -> Video | None:
    row = await conn.fetchrow(_SELECT + " where v.id = $1 for update", id)
    return _video(row) if row else None


async def among(conn: Connection, ids: Collection[UUID]) -> list[Video]:
    """Those of them that are there, as lists show them."""
    rows = await conn.fetch(_CARD + " from videos v where v.id = any($1::uuid[])", list(ids))
    return [_video(row) for row in rows]


async def watchables(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Watchable]:
    """Those of them that are there, and whose owners are not leaving."""
    rows = await conn.fetch(
        """select id, owner_id, visibility, state, published_at is not null as published, duration,
               protection, key_id, sealed_key
           from videos where id = any($1::uuid[]) and not suspended""",
        list(ids),
    )
    return {
        row["id"]: Watchable(
            id=row["id"],
            owner_id=row["owner_id"],
            visibility=Visibility(row["visibility"]),
            state=VideoState(row["state"]),
            published=row["published"],
            duration=row["duration"],
            folder=folder_of(row["id"]),
            protection=Protection(Scheme(row["protection"]), row["key_id"], row["sealed_key"])
            if row["key_id"] is not None
            else None,
        )
        for row in rows
    }


async def facts(conn: Connection, id: UUID) -> bytes | None:
    """What the probe found, as JSON."""
    found: str | None = await conn.fetchval("select facts from videos where id = $1", id)
    return found.encode() if found is not None else None


async def held(conn: Connection, owner_id: UUID) -> tuple[int, int]:
    """Bytes and number of the account's videos. Those that failed count while they are there; of a file that is to
    replace another the bytes count, as both are there."""
    row = await conn.fetchrow(
        """select coalesce(sum(source_bytes), 0)::bigint as bytes, count(*) filter (where replaces is null) as videos
           from videos where owner_id = $1""",
        owner_id,
    )
    assert row is not None
    return row["bytes"], row["videos"]


# lists


async def of_owner(conn: Connection, owner_id: UUID, limit: int, before: UUID | None) -> list[Video]:
    rows = await conn.fetch(
        _CARD + " from videos v where v.owner_id = $1 and v.replaces is null and ($3::uuid is null or v.id < $3)"
        " order by v.id desc limit $2",
        owner_id,
        limit,
        before,
    )
    return [_video(row) for row in rows]


FEED = _CARD + f" from videos v where {SEEN}"
NEWEST = " order by v.published_at desc, v.id desc limit $1"


async def feed(conn: Connection, limit: int, before: tuple[datetime, UUID] | None) -> list[Video]:
    """What everybody may see, the newest first."""
    if before is None:
        rows = await conn.fetch(FEED + NEWEST, limit)
    else:
        rows = await conn.fetch(FEED + " and (v.published_at, v.id) < ($2, $3)" + NEWEST, limit, *before)
    return [_video(row) for row in rows]


SEARCH = f"""
    with found as materialized (
        select v.id, v.search from videos v where {SEEN} and v.search @@ to_tsquery('simple', $1)
        order by v.published_at desc, v.id desc limit {CANDIDATES}
    ), ranked as (
        select id, ts_rank(search, to_tsquery('simple', $1)) as rank from found
    ), best as (
        select id, rank from ranked where $3::float4 is null or (rank, id) < ($3, $4)
        order by rank desc, id desc limit $2
    )
    {_CARD}, b.rank from best b join videos v on v.id = b.id order by b.rank desc, b.id desc
"""


async def search(
    conn: Connection, words: str, limit: int, before: tuple[float, UUID] | None
) -> list[tuple[float, Video]]:
    """words: a tsquery. The best first, with how good each is."""
    rows = await conn.fetch(SEARCH, words, limit, *(before or (None, None)))
    return [(row["rank"], _video(row)) for row in rows]


async def progress_of(conn: Connection, ids: Collection[UUID]) -> dict[UUID, dict[str, object]]:
    """What is told while one waits for it."""
    rows = await conn.fetch(
        """select id, state, progress, error_code, error, renditions from videos where id = any($1::uuid[])""",
        list(ids),
    )
    return {
        row["id"]: {
            "state": row["state"],
            "progress": round(row["progress"], 4),
            "error": {"code": row["error_code"], "message": row["error"]} if row["error_code"] is not None else None,
            "renditions": [rendition.name for rendition in _renditions(row["renditions"])],
        }
        for row in rows
    }


# people


async def edit(
    conn: Connection,
    id: UUID,
    *,
    title: str,
    description: str,
    visibility: Visibility,
    publish_at: datetime | None,
    published_at: datetime | None,
    thumbnail: str | None,
    chapters: list[Chapter] | None,
) -> None:
    await conn.execute(
        """update videos set title = $2, description = $3, visibility = $4, publish_at = $5, published_at = $6,
               thumbnail = $7, chapters = $8, version = version + 1
           where id = $1""",
        id,
        title,
        description,
        visibility,
        publish_at,
        published_at,
        thumbnail,
        as_json(chapters) if chapters is not None else None,
    )


async def set_pictures(conn: Connection, id: UUID, pictures: Pictures, thumbnail: str | None) -> None:
    await conn.execute(
        "update videos set pictures = $2, thumbnail = $3 where id = $1", id, as_json(pictures), thumbnail
    )


async def protect(conn: Connection, id: UUID, protection: Protection | None) -> None:
    await conn.execute(
        "update videos set protection = $2, key_id = $3, sealed_key = $4, version = version + 1 where id = $1",
        id,
        protection.scheme if protection is not None else Scheme.NONE,
        protection.key_id if protection is not None else None,
        protection.sealed_key if protection is not None else None,
    )


async def edited(conn: Connection, id: UUID) -> None:
    """Something beside the row that its owner edits has changed."""
    await conn.execute("update videos set version = version + 1 where id = $1", id)


async def of_broadcast(conn: Connection, id: UUID) -> UUID | None:
    """The video that is its recording."""
    found: UUID | None = await conn.fetchval("select id from videos where broadcast_id = $1", id)
    return found


async def set_broadcast(conn: Connection, id: UUID, broadcast_id: UUID) -> None:
    await conn.execute("update videos set broadcast_id = $2 where id = $1", id, broadcast_id)


async def replacement_of(conn: Connection, id: UUID) -> Video | None:
    """The draft whose file is to take the place of this one's."""
    row = await conn.fetchrow(_SELECT + " where v.replaces = $1", id)
    return _video(row) if row else None


async def set_replaces(conn: Connection, id: UUID, target: UUID, mark: str) -> None:
    await conn.execute("update videos set replaces = $2, mark = $3 where id = $1", id, target, mark)


async def take_file(conn: Connection, draft: Video, video: Video) -> int:
    """What was made of the draft's file is the video's from now on, and the draft is no more; the number of the run
    that writes its playlists. Both rows are locked by the caller. A picture of the old file cannot stay chosen, nor
    chapters behind the new end."""
    own = video.pictures.own
    pictures = msgspec.structs.replace(draft.pictures, own=own)
    chapters = video.chapters
    if chapters is not None:
        chapters = [chapter for chapter in chapters if chapter.start < draft.duration]
    await conn.execute("delete from video_chunks where video_id = $1", video.id)
    await conn.execute("update video_chunks set video_id = $2 where video_id = $1", draft.id, video.id)
    run = await conn.fetchval(
        """update videos v set facts = d.facts, plan = d.plan, stretches = d.stretches, duration = d.duration,
               renditions = d.renditions, mark = d.mark, source_bytes = d.source_bytes,
               stored_bytes = d.stored_bytes, packaged = d.packaged, state = 'ready', progress = 1, error_code = null,
               error = null, run = v.run + 1, version = v.version + 1, pictures = $3, thumbnail = $4, chapters = $5
           from videos d where v.id = $1 and d.id = $2 returning v.run""",
        video.id,
        draft.id,
        as_json(pictures),
        own if own and video.thumbnail == own else None,
        as_json(chapters) if chapters is not None else None,
    )
    await conn.execute("delete from videos where id = $1", draft.id)
    return int(run)


async def delete(conn: Connection, id: UUID) -> list[UUID]:
    """With the draft that is to replace it; which rows that were."""
    rows = await conn.fetch("delete from videos where id = $1 or replaces = $1 returning id", id)
    return [row["id"] for row in rows]


async def like(conn: Connection, id: UUID, user_id: UUID) -> int | None:
    """How many like it then. The row is locked first, so that the count follows the likes, one at a time. None: there
    is no such video."""
    if await conn.fetchval("select 1 from videos where id = $1 for update", id) is None:
        return None
    await conn.execute(
        """with added as (
               insert into video_likes (video_id, user_id) values ($1, $2) on conflict do nothing returning 1
           ) update videos set likes = likes + 1 where id = $1 and exists (select from added)""",
        id,
        user_id,
    )
    return await likes(conn, id)


async def unlike(conn: Connection, id: UUID, user_id: UUID) -> int | None:
    if await conn.fetchval("select 1 from videos where id = $1 for update", id) is None:
        return None
    await conn.execute(
        """with gone as (
               delete from video_likes where video_id = $1 and user_id = $2 returning 1
           ) update videos set likes = likes - 1 where id = $1 and exists (select from gone)""",
        id,
        user_id,
    )
    return await likes(conn, id)


async def likes(conn: Connection, id: UUID) -> int:
    return int(await conn.fetchval("select likes from videos where id = $1", id))


async def liked(conn: Connection, id: UUID, user_id: UUID) -> bool:
    return bool(
        await conn.fetchval("select exists (select from video_likes where video_id = $1 and user_id = $2)", id, user_id)
    )


async def add_views(conn: Connection, views: Mapping[UUID, int]) -> None:
    """Counted by who knows what was watched. Videos that are gone are left out."""
    await conn.executemany("update videos set views = views + $2 where id = $1", sorted(views.items()))


async def views(conn: Connection, id: UUID) -> int:
    return int(await conn.fetchval("select views from videos where id = $1", id) or 0)


# time


async def due(conn: Connection, at: datetime, limit: int) -> list[UUID]:
    """Playable ones whose time has come; locked, those that somebody else has in hand left out."""
    rows = await conn.fetch(
        """select id from videos where published_at is null and publish_at <= $1 and state in ('playable', 'ready')
           order by publish_at limit $2 for update skip locked""",
        at,
        limit,
    )
    return [row["id"] for row in rows]


async def publish(conn: Connection, ids: Collection[UUID]) -> None:
    """As of the time that was set, or of now."""
    await conn.execute(
        """update videos set published_at = coalesce(publish_at, now()) where id = any($1::uuid[])
           and published_at is null""",
        list(ids),
    )


# what happened


async def add_event(conn: Connection, id: UUID, kind: str, detail: str) -> None:
    await conn.execute(
        "insert into video_events (id, video_id, kind, detail) values ($1, $2, $3, $4)", uuid7(), id, kind, detail
    )


async def events(conn: Connection, id: UUID, limit: int) -> list[Any]:
    """The newest first: at, kind, detail."""
    return list(
        await conn.fetch(
            "select at, kind, detail from video_events where video_id = $1 order by id desc limit $2", id, limit
        )
    )


# a person who leaves


async def set_suspended(conn: Connection, owner_id: UUID, suspended: bool) -> None:
    await conn.execute("update videos set suspended = $2 where owner_id = $1", owner_id, suspended)


async def all_of_owner(conn: Connection, owner_id: UUID, after: UUID | None, limit: int) -> list[Video]:
    rows = await conn.fetch(
        _SELECT + " where v.owner_id = $1 and ($2::uuid is null or v.id > $2) order by v.id limit $3",
        owner_id,
        after,
        limit,
    )
    return [_video(row) for row in rows]


async def known(conn: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Those that are there."""
    return {row["id"] for row in await conn.fetch("select id from videos where id = any($1::uuid[])", list(ids))}


async def all_after(conn: Connection, after: UUID | None, limit: int) -> list[Video]:
    rows = await conn.fetch(
        _CARD + " from videos v where ($1::uuid is null or v.id > $1) order by v.id limit $2", after, limit
    )
    return [_video(row) for row in rows]


async def changed_at(conn: Connection, id: UUID) -> datetime | None:
    """When something happened to it last."""
    found: datetime | None = await conn.fetchval("select max(at) from video_events where video_id = $1", id)
    return found


async def delete_some(conn: Connection, owner_id: UUID, limit: int) -> list[UUID]:
    rows = await conn.fetch(
        """with gone as (select id from videos where owner_id = $1 order by id limit $2)
           delete from videos where id in (select id from gone) or replaces in (select id from gone) returning id""",
        owner_id,
        limit,
    )
    return [row["id"] for row in rows]


async def likes_of(conn: Connection, user_id: UUID, after: UUID | None, limit: int) -> list[Any]:
    return list(
        await conn.fetch(
            """select video_id, created_at from video_likes where user_id = $1 and ($2::uuid is null or video_id > $2)
               order by video_id limit $3""",
            user_id,
            after,
            limit,
        )
    )
