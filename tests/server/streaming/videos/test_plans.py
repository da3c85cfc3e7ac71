"""What is asked often is found by its index, however many videos there are."""

from __future__ import annotations

import uuid

from server.kit.clock import now
from server.streaming.videos import store
from server.streaming.videos.words import as_tsquery
from storage.postgres import Database

MANY = 20_000
"""Enough that a plan that reads all of them is not the cheapest; a million has the same ones."""
EACH = """
    insert into videos (id, owner_id, title, visibility, state, published_at)
    select gen_random_uuid(), $1, 'film ' || n % 50000, case when n % 3 = 0 then 'private' else 'public' end, 'ready',
           now() - make_interval(secs => n)
    from generate_series(1, $2::int) n
"""


async def test_feed_and_search_read_what_they_show(database: Database) -> None:
    owner = uuid.uuid4()
    async with database.acquire() as conn:
        await conn.execute(
            "insert into users (id, username, display_name, email, email_key, password_hash, created_at)"
            " values ($1, 'ada', 'ada', 'ada@example.org', 'ada@example.org', '', now())",
            owner,
        )
        await conn.execute(EACH, owner, MANY)
        await conn.execute("vacuum analyze videos")
        statements = [
            (store.FEED + store.NEWEST, [21]),
            (store.FEED + " and (v.published_at, v.id) < ($2, $3)" + store.NEWEST, [21, now(), uuid.uuid4()]),
        ]
        for sql, values in statements:
            plan = await _plan(conn, sql, values)
            assert "videos_feed" in plan, plan
            assert "Seq Scan" not in plan
            assert "Sort" not in plan  # the index has the order
        plan = await _plan(conn, store.SEARCH, [as_tsquery("film 777"), 21, None, None])
        assert "videos_search" in plan, plan
        assert "Seq Scan" not in plan


async def _plan(conn: object, sql: str, values: list[object]) -> str:
    rows = await conn.fetch("explain " + sql, *values)  # type: ignore[attr-defined]
    return "\n".join(row[0] for row in rows)
