"""All SQL of the log. Every function works in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from server.trust.audit.models import StaffLine
from storage.postgres import Connection

_AT_ONCE = 5000


async def insert(connection: Connection, line: StaffLine) -> None:
    await connection.execute(
        "insert into audit_log (id, at, user_id, actor_id, event, address, user_agent, request_id, details)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        line.id,
        line.at,
        line.user_id,
        line.actor_id,
        line.event,
        line.address,
        line.user_agent,
        line.request_id,
        msgspec.json.encode(line.details).decode(),
    )


async def page(
    connection: Connection,
    *,
    user_id: UUID | None,
    actor_id: UUID | None,
    event: str | None,
    before: UUID | None,
    limit: int,
) -> list[StaffLine]:
    """Newest first; before: the id of the last line of the page before."""
    wanted: list[tuple[str, object]] = [
        ("user_id = ", user_id),
        ("actor_id = ", actor_id),
        ("event = ", event),
        ("id < ", before),
    ]
    given = [(condition, value) for condition, value in wanted if value is not None]
    where = " and ".join(f"{condition}${number}" for number, (condition, _) in enumerate(given, 2)) or "true"
    rows = await connection.fetch(
        f"select * from audit_log where {where} order by id desc limit $1", limit, *(value for _, value in given)
    )
    return [_line(row) for row in rows]


async def erase(connection: Connection, user_id: UUID, stand_in: UUID) -> None:
    """Take what is personal out of an account's lines, and out of those that tell what it did to others. stand_in:
    the id that they have from now on, by which nobody is found."""
    await connection.execute("set local social_flow.audit = 'erasure'")
    await connection.execute(
        "update audit_log set address = '', user_agent = '', request_id = '', details = '{}',"
        " user_id = case user_id when $1 then $2 else user_id end,"
        " actor_id = case actor_id when $1 then $2 else actor_id end"
        " where user_id = $1 or actor_id = $1",
        user_id,
        stand_in,
    )
    await connection.execute("set local social_flow.audit = ''")


async def prune(connection: Connection, before: datetime) -> int:
    """Delete lines from before that moment, some thousand at a time; how many it was."""
    await connection.execute("set local social_flow.audit = 'retention'")
    done = await connection.execute(
        "delete from audit_log where id in (select id from audit_log where at < $1 order by at limit $2)",
        before,
        _AT_ONCE,
    )
    await connection.execute("set local social_flow.audit = ''")
    return int(done.rpartition(" ")[2])


def _line(row: asyncpg.Record) -> StaffLine:
    values: dict[str, Any] = dict(row)
    values["details"] = msgspec.json.decode(values["details"])
    return StaffLine(**values)
