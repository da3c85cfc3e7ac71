"""All SQL of uploads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from server.streaming.uploads.models import Kind, State, Upload
from storage.postgres import Connection

_UPLOAD = """id, owner_id, video_id, kind, state, place, length, received, head, metadata, pieces, joined,
             idempotency_key, sent_bytes, expires_at"""


def _upload(row: Any) -> Upload:
    given = dict(row)
    given["kind"], given["state"] = Kind(given["kind"]), State(given["state"])
    return Upload(**given)


async def lock_owner(conn: Connection, owner_id: UUID) -> None:
    """Until the end of the transaction nobody else begins an upload for the account."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended('uploads ' || $1::text, 0))", str(owner_id))


async def add(conn: Connection, upload: Upload) -> None:
    await conn.execute(
        """insert into uploads (id, owner_id, video_id, kind, state, place, length, received, metadata, pieces,
                                idempotency_key, sent_bytes, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)""",
        upload.id,
        upload.owner_id,
        upload.video_id,
        upload.kind,
        upload.state,
        upload.place,
        upload.length,
        upload.received,
        upload.metadata,
        upload.pieces,
        upload.idempotency_key,
        upload.sent_bytes,
        upload.expires_at,
    )


async def get(conn: Connection, id: UUID) -> Upload | None:
    row = await conn.fetchrow(f"select {_UPLOAD} from uploads where id = $1", id)
    return _upload(row) if row else None


async def lock(conn: Connection, id: UUID) -> Upload | None:
    row = await conn.fetchrow(f"select {_UPLOAD} from uploads where id = $1 for update", id)
    return _upload(row) if row else None


async def lock_all(conn: Connection, owner_id: UUID, ids: Collection[UUID]) -> dict[UUID, Upload]:
    rows = await conn.fetch(
        f"select {_UPLOAD} from uploads where owner_id = $1 and id = any($2) order by id for update", owner_id, ids
    )
    return {row["id"]: _upload(row) for row in rows}


async def by_key(conn: Connection, owner_id: UUID, key: str) -> Upload | None:
    row = await conn.fetchrow(
        f"select {_UPLOAD} from uploads where owner_id = $1 and idempotency_key = $2", owner_id, key
    )
    return _upload(row) if row else None


async def held(conn: Connection, owner_id: UUID) -> tuple[int, int]:
    """Uploads of the account that are not complete, and the bytes of those that no video counts yet."""
    row = await conn.fetchrow(
        """select count(*) filter (where state = 'open') as open,
                  coalesce(sum(greatest(coalesce(length, 0), received)) filter (where video_id is null), 0)::bigint
                      as bytes
           from uploads where owner_id = $1 and state in ('open', 'full')""",
        owner_id,
    )
    assert row is not None
    return row["open"], row["bytes"]


async def claim(conn: Connection, id: UUID, writer: UUID, node: str, lease: timedelta) -> bool:
    """Whether the connection may bring bytes of it now; it is locked in this transaction already. Nobody waits until
    that is on the disk: a claim that a power cut takes has nobody left to use it, and `record` asks for it."""
    await conn.execute("set local synchronous_commit = off")
    return bool(
        await conn.fetchval(
            """update uploads set writer = $2, node = $3, writer_until = now() + $4
               where id = $1 and (writer is null or writer_until < now()) returning true""",
            id,
            writer,
            node,
            lease,
        )
    )


async def record(
    conn: Connection, id: UUID, writer: UUID, received: int, head: bytes, lease: timedelta | None, expires_at: datetime
) -> bool:
    """What survives anything by now. lease: None, the writer is done with it. False: it is not the writer's any
    more."""
    return bool(
        await conn.fetchval(
            """update uploads set received = $3, head = $4, writer_until = now() + $5::interval, expires_at = $6,
                      writer = case when $5::interval is null then null else writer end
               where id = $1 and writer = $2 and state = 'open'
                 and (kind in ('partial', 'form') or video_id is not null)
               returning true""",
            id,
            writer,
            received,
            head,
            lease,
            expires_at,
        )
    )


async def rewind(conn: Connection, id: UUID, received: int, head: bytes) -> None:
    """The store has lost what came after."""
    await conn.execute("update uploads set received = $2, head = $3 where id = $1", id, received, head)


async def release(conn: Connection, id: UUID, writer: UUID) -> None:
    await conn.execute(
        "update uploads set writer = null, writer_until = null where id = $1 and writer = $2", id, writer
    )


async def release_all(conn: Connection, node: str) -> None:
    """Those of an earlier life of this process."""
    await conn.execute(
        "update uploads set writer = null, writer_until = null where node = $1 and writer is not null", node
    )


async def set_length(conn: Connection, id: UUID, length: int) -> None:
    await conn.execute("update uploads set length = $2 where id = $1 and length is null", id, length)


async def set_state(conn: Connection, id: UUID, state: State) -> None:
    await conn.execute("update uploads set state = $2 where id = $1", id, state)


async def set_video(conn: Connection, id: UUID, video_id: UUID, length: int) -> None:
    """A form is whole."""
    await conn.execute(
        "update uploads set video_id = $2, length = $3, state = 'full' where id = $1", id, video_id, length
    )


async def join(conn: Connection, ids: Collection[UUID]) -> None:
    await conn.execute("update uploads set joined = true where id = any($1)", ids)


async def done(conn: Connection, id: UUID, expires_at: datetime) -> bool:
    """Whether it was this call that ended it."""
    return bool(
        await conn.fetchval(
            "update uploads set state = 'done', expires_at = $2 where id = $1 and state = 'full' returning true",
            id,
            expires_at,
        )
    )


async def delete(conn: Connection, ids: Collection[UUID]) -> None:
    await conn.execute("delete from uploads where id = any($1)", ids)


async def of_user(conn: Connection, owner_id: UUID) -> list[Upload]:
    rows = await conn.fetch(f"select {_UPLOAD} from uploads where owner_id = $1 order by id", owner_id)
    return [_upload(row) for row in rows]


async def unwanted(conn: Connection, limit: int) -> list[UUID]:
    """Whose time is over, whose video was deleted, and forms whose connection has ended with the process."""
    rows = await conn.fetch(
        """select id from uploads
           where (writer_until is null or writer_until < now())
             and (expires_at < now()
                  or (kind in ('whole', 'final') and video_id is null and state <> 'expired')
                  or (kind = 'form' and state = 'open' and created_at < now() - interval '1 minute'))
             and not (joined and exists (select 1 from uploads f where f.state = 'full' and uploads.id = any(f.pieces)))
             and not (state = 'full' and video_id is not null)
           order by expires_at limit $1""",
        limit,
    )
    return [row["id"] for row in rows]


async def waiting(conn: Connection, since: timedelta, limit: int) -> list[UUID]:
    """Complete for so long, and still no object was made of it."""
    rows = await conn.fetch(
        """select id from uploads where state = 'full' and kind <> 'partial' and video_id is not null
             and expires_at < now() + $1 order by id limit $2""",
        since,
        limit,
    )
    return [row["id"] for row in rows]


async def known(conn: Connection, ids: Sequence[UUID]) -> set[UUID]:
    rows = await conn.fetch("select id from uploads where id = any($1)", ids)
    return {row["id"] for row in rows}


async def expire(conn: Connection, id: UUID, expires_at: datetime) -> None:
    """Its time is over; until then it says so."""
    await conn.execute(
        """update uploads set state = 'expired', expires_at = $2, writer = null, writer_until = null,
                  idempotency_key = null where id = $1""",
        id,
        expires_at,
    )


async def expire_all(conn: Connection, owner_id: UUID) -> None:
    """The sweep removes them."""
    await conn.execute(
        """update uploads set expires_at = now(), writer = null, writer_until = null
           where owner_id = $1 and state = 'open'""",
        owner_id,
    )
