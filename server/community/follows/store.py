"""All SQL of following. A person has a row from the first time that he follows, is followed, or leaves."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from storage.postgres import Connection

Position = tuple[datetime, UUID]
Direction = Literal["followers", "following"]

# direction: whose list it is, who stands in it
_SIDES = {"followers": ("followee_id", "follower_id"), "following": ("follower_id", "followee_id")}


async def hold(connection: Connection, ids: Collection[UUID]) -> dict[UUID, bool]:
    """The rows of these people, made where there are none, locked in one order until the transaction ends; whether
    each is away. One who has no account is left out."""
    await connection.execute(
        "insert into follow_people (user_id) select id from unnest($1::uuid[]) id order by id on conflict do nothing",
        sorted(ids),
    )
    rows = await connection.fetch(
        "select user_id, away from follow_people where user_id = any($1::uuid[]) order by user_id for update",
        list(ids),
    )
    return {row["user_id"]: row["away"] for row in rows}


async def since(connection: Connection, follower_id: UUID, followee_id: UUID) -> datetime | None:
    """None also while one of them is away."""
    found: datetime | None = await connection.fetchval(
        """select f.since from follows f
        join follow_people a on a.user_id = f.follower_id join follow_people b on b.user_id = f.followee_id
        where f.follower_id = $1 and f.followee_id = $2 and not a.away and not b.away""",
        follower_id,
        followee_id,
    )
    return found


async def since_many(connection: Connection, follower_ids: Collection[UUID], followee_id: UUID) -> dict[UUID, datetime]:
    rows = await connection.fetch(
        "select follower_id, since from follows where followee_id = $1 and follower_id = any($2::uuid[])",
        followee_id,
        list(follower_ids),
    )
    return {row["follower_id"]: row["since"] for row in rows}


async def following(connection: Connection, user_id: UUID) -> int:
    """Also those who are away: they may come back."""
    return int(await connection.fetchval("select count(*) from follows where follower_id = $1", user_id))


async def add(connection: Connection, follower_id: UUID, followee_id: UUID, at: datetime) -> None:
    """Both rows are held, and it is not there yet."""
    await connection.execute(
        "insert into follows (follower_id, followee_id, since) values ($1, $2, $3)", follower_id, followee_id, at
    )
    await connection.execute("update follow_people set followers = followers + 1 where user_id = $1", followee_id)


async def remove(connection: Connection, follower_id: UUID, followee_id: UUID, *, counted: bool) -> bool:
    """Both rows are held. counted: whether the follower is in the other's count. False: it was not there."""
    done = await connection.execute(
        "delete from follows where follower_id = $1 and followee_id = $2", follower_id, followee_id
    )
    if done != "DELETE 1":
        return False
    if counted:
        await connection.execute("update follow_people set followers = followers - 1 where user_id = $1", followee_id)
    return True


async def counts(connection: Connection, user_id: UUID) -> tuple[int, int]:
    """How many follow him, and how many he follows."""
    row = await connection.fetchrow(
        """select coalesce((select followers from follow_people where user_id = $1), 0) as followers,
        (select count(*) from follows f join follow_people p on p.user_id = f.followee_id
            where f.follower_id = $1 and not p.away) as following""",
        user_id,
    )
    assert row is not None
    return row["followers"], row["following"]


async def away(connection: Connection, user_id: UUID) -> bool:
    return bool(await connection.fetchval("select away from follow_people where user_id = $1", user_id))


async def page(
    connection: Connection, user_id: UUID, direction: Direction, after: Position | None, limit: int
) -> list[tuple[UUID, datetime]]:
    """Newest first, without those who are away."""
    whose, who = _SIDES[direction]
    rows = await connection.fetch(
        f"""select f.{who} as id, f.since from follows f join follow_people p on p.user_id = f.{who}
        where f.{whose} = $1 and not p.away and ($2::timestamptz is null or (f.since, f.{who}) < ($2, $3))
        order by f.since desc, f.{who} desc limit $4""",
        user_id,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [(row["id"], row["since"]) for row in rows]


async def pairs_among(
    connection: Connection, follower_ids: Collection[UUID], followee_ids: Collection[UUID]
) -> list[tuple[UUID, UUID]]:
    rows = await connection.fetch(
        """select f.follower_id, f.followee_id from unnest($2::uuid[]) wanted (id)
        join follows f on f.followee_id = wanted.id and f.follower_id = any($1::uuid[])
        join follow_people p on p.user_id = f.followee_id where not p.away""",
        list(follower_ids),
        list(followee_ids),
    )
    return [(row["follower_id"], row["followee_id"]) for row in rows]


# leaving and the archive


async def set_away(connection: Connection, user_id: UUID, away: bool) -> None:
    """He is leaving, or stays after all: the counts of those whom he follows say so."""
    followed = await connection.fetch("select followee_id from follows where follower_id = $1", user_id)
    held = await hold(connection, [user_id, *(row["followee_id"] for row in followed)])
    if held.get(user_id, away) is away:
        return
    await connection.execute("update follow_people set away = $2 where user_id = $1", user_id, away)
    await connection.execute(
        """update follow_people set followers = followers + $2
        where user_id in (select followee_id from follows where follower_id = $1)""",
        user_id,
        -1 if away else 1,
    )


async def some_of(connection: Connection, user_id: UUID, limit: int) -> list[tuple[UUID, UUID]]:
    """Follower and followee of what this person follows, or is followed by."""
    rows = await connection.fetch(
        """(select follower_id, followee_id from follows where follower_id = $1 limit $2)
        union all (select follower_id, followee_id from follows where followee_id = $1 limit $2)""",
        user_id,
        limit,
    )
    return [(row["follower_id"], row["followee_id"]) for row in rows]


async def forget(connection: Connection, user_id: UUID) -> None:
    await connection.execute("delete from follow_people where user_id = $1", user_id)


async def all_of(
    connection: Connection, user_id: UUID, direction: Direction, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    whose, who = _SIDES[direction]
    rows: list[asyncpg.Record] = await connection.fetch(
        f"""select {who} as user_id, since from follows where {whose} = $1 and ($2::uuid is null or {who} > $2)
        order by {who} limit $3""",
        user_id,
        after,
        limit,
    )
    return [dict(row) for row in rows]
