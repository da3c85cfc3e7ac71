"""The SQL of what was watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from storage.postgres import Connection

BUCKET_BYTES = 16
PRUNED_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Seen:
    """viewer: a digest. buckets: a bit for each that was shown."""

    viewer: bytes
    seconds: float
    buckets: int
    counted: bool


async def add(
    conn: Connection, seen: Mapping[tuple[UUID, bytes], Seen], widths: Mapping[UUID, float], window: float
) -> dict[UUID, int]:
    """Write down who has seen what; the views that are new. Of what anybody wrote in the window nothing counts again.
    Videos that are gone are left out."""
    keys = sorted(seen)
    videos = [id for id, _ in keys]
    viewers = [viewer for _, viewer in keys]
    await conn.execute(
        """insert into video_viewers (video_id, viewer, buckets, counted)
           select s.video_id, s.viewer, ''::bytea, false
           from unnest($1::uuid[], $2::bytea[]) as s (video_id, viewer)
           join (select id from videos where id = any($1::uuid[]) order by id for key share) v on v.id = s.video_id
           order by 1, 2 on conflict do nothing""",
        videos,
        viewers,
    )
    rows = await conn.fetch(
        """select w.video_id, w.viewer, w.buckets, w.counted, w.since < now() - make_interval(secs => $3) as old
           from video_viewers w join unnest($1::uuid[], $2::bytea[]) as s (video_id, viewer)
             on w.video_id = s.video_id and w.viewer = s.viewer
           order by w.video_id, w.viewer for update of w""",
        videos,
        viewers,
        window,
    )
    views: Counter[UUID] = Counter()
    shown: Counter[tuple[UUID, int]] = Counter()
    seconds: Counter[UUID] = Counter()
    changed: list[tuple[UUID, bytes, bytes, bool, bool]] = []
    for row in rows:
        id, viewer = row["video_id"], bytes(row["viewer"])
        one = seen[id, viewer]
        before = 0 if row["old"] else int.from_bytes(row["buckets"], "little")
        counted = row["counted"] and not row["old"]
        views[id] += one.counted and not counted
        fresh = one.buckets & ~before
        shown.update((id, bucket) for bucket in range(fresh.bit_length()) if fresh >> bucket & 1)
        seconds[id] += one.seconds  # type: ignore[assignment]
        after = (before | one.buckets).to_bytes(BUCKET_BYTES, "little")
        changed.append((id, viewer, after, counted or one.counted, row["old"]))
    await conn.executemany(
        """update video_viewers set buckets = $3, counted = $4, since = case when $5 then now() else since end
           where video_id = $1 and viewer = $2""",
        changed,
    )
    await _add_watched(conn, seconds, widths)
    await conn.executemany(
        """insert into video_retention (video_id, bucket, viewers) values ($1, $2, $3)
           on conflict (video_id, bucket) do update set viewers = video_retention.viewers + excluded.viewers""",
        [(id, bucket, count) for (id, bucket), count in sorted(shown.items())],
    )
    return {id: count for id, count in views.items() if count}


async def _add_watched(conn: Connection, seconds: Mapping[UUID, float], widths: Mapping[UUID, float]) -> None:
    for id in sorted(seconds):
        # a video that is as long as another now has buckets of its own
        await conn.execute(
            """delete from video_retention r using video_watch w
               where r.video_id = $1 and w.video_id = $1 and w.bucket_seconds <> $2::real""",
            id,
            widths[id],
        )
        await conn.execute(
            """insert into video_watch (video_id, bucket_seconds, seconds) values ($1, $2, $3)
               on conflict (video_id) do update
               set seconds = video_watch.seconds + excluded.seconds, bucket_seconds = excluded.bucket_seconds""",
            id,
            widths[id],
            seconds[id],
        )


async def prune(conn: Connection, window: float) -> None:
    await conn.execute(
        """delete from video_viewers where ctid in (
               select ctid from video_viewers where since < now() - make_interval(secs => $1) limit $2)""",
        window,
        PRUNED_AT_ONCE,
    )


async def retention(conn: Connection, id: UUID) -> tuple[float, float, list[Any]]:
    """(seconds watched, width of a bucket in s, rows of bucket and viewers in their order)."""
    watched = await conn.fetchrow("select seconds, bucket_seconds from video_watch where video_id = $1", id)
    if watched is None:
        return 0.0, 0.0, []
    rows = await conn.fetch("select bucket, viewers from video_retention where video_id = $1 order by bucket", id)
    return watched["seconds"], watched["bucket_seconds"], list(rows)
