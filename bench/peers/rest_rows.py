"""The table that the small REST peers read and write: a list as long as the server's, and messages.

Rows are made from what the server itself answered, so that a peer's answer has the same fields and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

SCHEMA = """
drop schema if exists bench cascade;
create schema bench;
create table bench.owners (id uuid primary key, username text not null);
create table bench.cards (
    id uuid primary key, owner_id uuid not null references bench.owners, title text not null, visibility text not null,
    state text not null, created_at timestamptz not null, started_at timestamptz not null, viewers int not null,
    thumbnail text not null
);
create index on bench.cards (started_at desc, id desc);
create table bench.messages (
    id uuid primary key, room_id uuid not null, place bigserial, author_id uuid not null, text text not null,
    at timestamptz not null default now()
);
create index on bench.messages (room_id, place);
"""

LIST = """
    select c.id, c.title, c.visibility, c.state, c.created_at, c.started_at, c.viewers, c.thumbnail,
           o.id as owner_id, o.username
    from bench.cards c join bench.owners o on o.id = c.owner_id
    where c.state in ('live', 'interrupted') and c.visibility = 'public'
    order by c.started_at desc, c.id desc limit $1
"""

WRITE = """
    insert into bench.messages (id, room_id, author_id, text) values ($1, $2, $3, $4) returning place, at
"""


async def fill(dsn: str, cards: Sequence[dict[str, Any]]) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(SCHEMA)
        for card in cards:
            owner = UUID(card["owner"]["id"])
            await conn.execute("insert into bench.owners values ($1, $2)", owner, card["owner"]["username"])
            await conn.execute(
                "insert into bench.cards values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                UUID(card["id"]),
                owner,
                card["title"],
                card["visibility"],
                card["state"],
                datetime.fromisoformat(card["created_at"]),
                datetime.fromisoformat(card["started_at"]),
                card["viewers"],
                card["thumbnail"] or "",
            )
    finally:
        await conn.close()
