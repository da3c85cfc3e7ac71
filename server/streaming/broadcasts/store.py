"""All SQL of broadcasts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from server.kit.ids import uuid7
from server.streaming.broadcasts.models import Broadcast, RecordingFacts, State, TrackView

# in the order of the fields of Broadcast
_SELECT = """
    select b.id, b.channel_id, c.user_id as owner_id, b.title, b.description, b.visibility, b.state, b.record,
           b.viewers, b.created_at, b.started_at, b.ended_at, b.tracks, b.recording, b.thumbnail, b.fence,
           b.version
    from broadcasts b join channels c on c.id = b.channel_id
"""
# a list shows neither
_SELECT_CARD = _SELECT.replace("b.description", "''").replace("b.tracks", "'[]'::jsonb")
_STATES = {state.value: state for state in State}
_tracks = msgspec.json.Decoder(list[TrackView]).decode
_recording = msgspec.json.Decoder(RecordingFacts).decode


def _broadcast(row: Any) -> Broadcast:
    """Lists are read often: a row is taken apart by position, and only what is JSON is decoded."""
    values = list(row)
    values[6] = _STATES[values[6]]
    values[12] = _tracks(values[12]) if values[12] != "[]" else []
    if values[13] is not None:
        values[13] = _recording(values[13])
    return Broadcast(*values)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def add(
    conn: Any, channel_id: UUID, *, title: str, description: str = "", visibility: str = "public", record: bool = True
) -> Broadcast:
    id = uuid7()
    await conn.execute(
        """insert into broadcasts (id, channel_id, title, description, visibility, record)
           values ($1, $2, $3, $4, $5, $6)""",
        id,
        channel_id,
        title,
        description,
        visibility,
        record,
    )
    found = await get(conn, id)
    assert found is not None
    return found


async def get(conn: Any, id: UUID) -> Broadcast | None:
    """None also while its owner is leaving."""
    row = await conn.fetchrow(_SELECT + " where b.id = $1 and not c.suspended", id)
    return _broadcast(row) if row else None


async def rights_of(conn: Any, ids: Collection[UUID]) -> list[Any]:
    """id, owner_id, visibility, state, recorded: of those that are there and whose owner is not leaving."""
    return list(
        await conn.fetch(
            """select b.id, c.user_id as owner_id, b.visibility, b.state, b.recording is not null as recorded
               from broadcasts b join channels c on c.id = b.channel_id
               where b.id = any($1::uuid[]) and not c.suspended""",
            list(ids),
        )
    )


async def for_followers(conn: Any, owner_id: UUID, limit: int) -> list[UUID]:
    """His broadcasts that followers alone may watch, the newest first."""
    rows = await conn.fetch(
        """select b.id from broadcasts b join channels c on c.id = b.channel_id
           where c.user_id = $1 and b.visibility = 'followers' order by b.id desc limit $2""",
        owner_id,
        limit,
    )
    return [row["id"] for row in rows]


async def lock(conn: Any, id: UUID) -> Broadcast | None:
    row = await conn.fetchrow(_SELECT + " where b.id = $1 for update of b", id)
    return _broadcast(row) if row else None


async def on_air(conn: Any, channel_id: UUID) -> Broadcast | None:
    row = await conn.fetchrow(_SELECT + " where b.channel_id = $1 and b.state in ('live', 'interrupted')", channel_id)
    return _broadcast(row) if row else None


async def prepared(conn: Any, channel_id: UUID) -> Broadcast | None:
    """The broadcast that the next push belongs to: the one prepared last."""
    row = await conn.fetchrow(
        _SELECT + " where b.channel_id = $1 and b.state = 'created' order by b.id desc limit 1", channel_id
    )
    return _broadcast(row) if row else None


async def live_page(conn: Any, limit: int, before: tuple[datetime, UUID] | None) -> list[Broadcast]:
    """Public broadcasts on air, newest first, older than the cursor."""
    where = " where b.state in ('live', 'interrupted') and b.visibility = 'public' and not c.suspended"
    order = " order by b.started_at desc, b.id desc limit $1"
    if before is None:
        rows = await conn.fetch(_SELECT_CARD + where + order, limit)
    else:
        rows = await conn.fetch(_SELECT_CARD + where + " and (b.started_at, b.id) < ($2, $3)" + order, limit, *before)
    return [_broadcast(row) for row in rows]


async def page_of_user(conn: Any, user_id: UUID, limit: int, before: UUID | None) -> list[Broadcast]:
    rows = await conn.fetch(
        _SELECT_CARD + " where c.user_id = $1 and ($3::uuid is null or b.id < $3) order by b.id desc limit $2",
        user_id,
        limit,
        before,
    )
    return [_broadcast(row) for row in rows]


async def edit(conn: Any, id: UUID, *, title: str, description: str, visibility: str) -> None:
    await conn.execute(
        "update broadcasts set title = $2, description = $3, visibility = $4, version = version + 1 where id = $1",
        id,
        title,
        description,
        visibility,
    )


async def delete(conn: Any, id: UUID) -> None:
    await conn.execute("delete from broadcasts where id = $1", id)


# the live side: every write carries the fence


async def take(conn: Any, id: UUID, node: str, lease: timedelta) -> tuple[int, str | None] | None:
    """Become the owner of the live side: the new fence and who wrote before, or None while another process holds it.

    A holder whose publisher has left (`interrupted`) gives way to the one that has the publisher now. Of an ended
    broadcast only what is left of its owner's work can be taken: the recording that was not closed.
    """
    row = await conn.fetchrow(
        """with before as (select id, owner_node from broadcasts where id = $1 for update)
           update broadcasts b set owner_node = $2, fence = fence + 1, lease_until = now() + $3
           from before where b.id = before.id
             and (b.state <> 'ended' or b.lease_until is not null)
             and (b.owner_node is null or b.owner_node = $2 or b.lease_until <= now() or b.state = 'interrupted')
           returning b.fence, before.owner_node""",
        id,
        node,
        lease,
    )
    return None if row is None else (int(row["fence"]), row["owner_node"])


async def renew(conn: Any, node: str, held: list[tuple[UUID, int, int]], lease: timedelta) -> set[UUID]:
    """Renew the leases of these (id, fence, viewers); what is not answered has a newer owner or was ended."""
    rows = await conn.fetch(
        """update broadcasts b set lease_until = now() + $3, viewers = held.viewers
           from unnest($1::uuid[], $2::bigint[], $5::integer[]) as held (id, fence, viewers)
           where b.id = held.id and b.fence = held.fence and b.owner_node = $4 and b.state <> 'ended'
           returning b.id""",
        [id for id, _, _ in held],
        [fence for _, fence, _ in held],
        lease,
        node,
        [viewers for _, _, viewers in held],
    )
    return {row["id"] for row in rows}


async def set_state(
    conn: Any, id: UUID, fence: int, state: State, tracks: list[TrackView], started_at: datetime | None
) -> bool:
    """What the live side says of itself; False when it is no longer its to say."""
    done = await conn.fetchval(
        """update broadcasts set state = $3, started_at = coalesce(started_at, $5),
                  tracks = case when $4 = '[]'::jsonb then tracks else $4 end
           where id = $1 and fence = $2 and state <> 'ended' returning true""",
        id,
        fence,
        state,
        _json(tracks),
        started_at,
    )
    return bool(done)


async def set_ended(
    conn: Any, id: UUID, fence: int, at: datetime, recording: RecordingFacts | None, *, by_owner: bool
) -> bool:
    """By the process that holds it, with the recording closed. The process's name stays: it is where the last files
    were written."""
    done = await conn.fetchval(
        """update broadcasts set state = 'ended', ended_at = greatest(coalesce(started_at, $3), $3), recording = $4,
                  lease_until = null, ended_by_owner = $5
           where id = $1 and fence = $2 and state <> 'ended' returning true""",
        id,
        fence,
        at,
        _json(recording) if recording else None,
        by_owner,
    )
    return bool(done)


async def last_of_channel(conn: Any, channel_id: UUID) -> tuple[str, datetime | None]:
    """(visibility of the broadcast made last, when the owner ended one last)."""
    row = await conn.fetchrow(
        """select (select visibility from broadcasts where channel_id = $1 order by id desc limit 1) as visibility,
                  (select max(ended_at) from broadcasts where channel_id = $1 and ended_by_owner) as ended_at""",
        channel_id,
    )
    return row["visibility"] or "public", row["ended_at"]


async def end_elsewhere(conn: Any, id: UUID, at: datetime) -> None:
    """Ended through a process that does not hold it. A lease that is there stays: it says that its holder, or who
    comes after that, has the recording to close."""
    await conn.execute(
        """update broadcasts set state = 'ended', ended_at = greatest(coalesce(started_at, $2), $2),
                  ended_by_owner = true
           where id = $1 and state <> 'ended'""",
        id,
        at,
    )


async def set_recording(conn: Any, id: UUID, fence: int, recording: RecordingFacts | None) -> None:
    """The recording of a broadcast that was ended elsewhere is closed; nothing is left to do for its owner."""
    await conn.execute(
        "update broadcasts set recording = $3, lease_until = null where id = $1 and fence = $2",
        id,
        fence,
        _json(recording) if recording else None,
    )


async def give_up(conn: Any, id: UUID, fence: int) -> None:
    await conn.execute(
        "update broadcasts set owner_node = null, lease_until = null where id = $1 and fence = $2", id, fence
    )


async def set_thumbnail(conn: Any, id: UUID) -> None:
    await conn.execute("update broadcasts set thumbnail = true where id = $1 and not thumbnail", id)


async def release(conn: Any, node: str) -> None:
    """A stop hands its broadcasts to whoever starts next."""
    await conn.execute("update broadcasts set lease_until = now() where owner_node = $1 and state <> 'ended'", node)


async def left_behind(conn: Any, node: str) -> list[tuple[Broadcast, datetime | None]]:
    """On air in the rows, or ended with the recording not closed, but held by nobody (or by the former life of this
    node); with the time of the lease's end."""
    rows = await conn.fetch(
        _SELECT.replace("b.fence", "b.fence, b.lease_until")
        + """ where (b.state in ('live', 'interrupted') or (b.state = 'ended' and b.lease_until is not null))
             and (b.owner_node is null or b.owner_node = $1 or b.lease_until <= now())""",
        node,
    )
    return [(_broadcast(tuple(row)[:-1]), row["lease_until"]) for row in rows]


async def written_elsewhere(conn: Any, ids: list[UUID], node: str) -> set[UUID]:
    """Those of `ids` that another process wrote last, or that were deleted."""
    rows = await conn.fetch(
        "select id from broadcasts where id = any($1) and (owner_node is null or owner_node = $2)", ids, node
    )
    return set(ids) - {row["id"] for row in rows}


async def expired_recordings(conn: Any, before: datetime, limit: int) -> list[UUID]:
    rows = await conn.fetch(
        "select id from broadcasts where recording is not null and ended_at < $1 order by ended_at limit $2 for update",
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def with_files(conn: Any, ids: Collection[UUID], before: datetime) -> set[UUID]:
    """Those of them that may have files: all but what ended before then without a recording."""
    rows = await conn.fetch(
        """select id from broadcasts where id = any($1::uuid[])
           and (recording is not null or state <> 'ended' or lease_until is not null or ended_at > $2)""",
        list(ids),
        before,
    )
    return {row["id"] for row in rows}


async def recorded_after(conn: Any, after: UUID | None, before: datetime, limit: int) -> list[tuple[UUID, int]]:
    """Ids and bytes of recordings that were closed before then, by id."""
    rows = await conn.fetch(
        """select id, (recording->>'bytes')::bigint as bytes from broadcasts
           where recording is not null and ended_at < $2 and ($1::uuid is null or id > $1) order by id limit $3""",
        after,
        before,
        limit,
    )
    return [(row["id"], row["bytes"]) for row in rows]


async def forget_recording(conn: Any, id: UUID) -> None:
    await conn.execute("update broadcasts set recording = null, thumbnail = false where id = $1", id)


async def ended_and_ours(conn: Any, id: UUID, fence: int) -> bool:
    """It was ended through another process, and nobody else has taken it since."""
    return bool(
        await conn.fetchval("select true from broadcasts where id = $1 and fence = $2 and state = 'ended'", id, fence)
    )


# what a person has, for his archive, and what becomes of it when he leaves


async def of_user(conn: Any, user_id: UUID, after: UUID | None, limit: int) -> list[Broadcast]:
    """All of his broadcasts in full, oldest first."""
    rows = await conn.fetch(
        _SELECT + " where c.user_id = $1 and ($3::uuid is null or b.id > $3) order by b.id limit $2",
        user_id,
        limit,
        after,
    )
    return [_broadcast(row) for row in rows]


async def on_air_of(conn: Any, user_id: UUID) -> list[UUID]:
    rows = await conn.fetch(
        "select b.id from broadcasts b join channels c on c.id = b.channel_id where c.user_id = $1"
        " and b.state <> 'ended'",
        user_id,
    )
    return [row["id"] for row in rows]


async def delete_some(conn: Any, user_id: UUID, limit: int) -> list[UUID]:
    """Delete some of his broadcasts; which."""
    rows = await conn.fetch(
        """delete from broadcasts where id in (
               select b.id from broadcasts b join channels c on c.id = b.channel_id where c.user_id = $1 limit $2)
           returning id""",
        user_id,
        limit,
    )
    return [row["id"] for row in rows]
