"""All SQL of what holds in every chat of one owner: bans, moderators, word filters, emotes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from server.community.chat.bodies import Kind
from server.community.chat.words import Action
from storage.postgres.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Ban:
    user_id: UUID
    kind: Kind
    until: datetime | None
    reason: str
    by: UUID
    at: datetime

    def holds(self, at: datetime) -> bool:
        return self.until is None or self.until > at


@dataclass(slots=True)
class Standing:
    """Of some people, as a transaction knows them: it changes with what that does."""

    bans: dict[UUID, Ban] = field(default_factory=dict)
    moderators: set[UUID] = field(default_factory=set)

    def ban(self, user_id: UUID, at: datetime) -> Ban | None:
        """What holds against him at that time."""
        ban = self.bans.get(user_id)
        return ban if ban is not None and ban.holds(at) else None


@dataclass(frozen=True, slots=True)
class Filter:
    id: UUID
    pattern: str
    action: Action
    at: datetime


class RulesStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]) -> Standing:
        rows = await connection.fetch(
            """select b.user_id, b.kind, b.until, b.reason, b.by, b.at from chat_bans b
                where b.owner_id = $1 and b.user_id = any($2::uuid[])
            union all
            select m.user_id, null, null, null, null, null from chat_moderators m
                where m.owner_id = $1 and m.user_id = any($2::uuid[])""",
            owner_id,
            list(user_ids),
        )
        found = Standing()
        for row in rows:
            if row["kind"] is None:
                found.moderators.add(row["user_id"])
            else:
                found.bans[row["user_id"]] = Ban(*row)
        return found

    # bans

    async def ban(self, connection: Connection, owner_id: UUID, ban: Ban) -> None:
        await connection.execute(
            """insert into chat_bans (owner_id, user_id, kind, until, reason, by, at)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (owner_id, user_id) do update set kind = excluded.kind, until = excluded.until,
                reason = excluded.reason, by = excluded.by, at = excluded.at""",
            owner_id,
            ban.user_id,
            ban.kind,
            ban.until,
            ban.reason,
            ban.by,
            ban.at,
        )

    async def unban(self, connection: Connection, owner_id: UUID, user_id: UUID) -> None:
        await connection.execute("delete from chat_bans where owner_id = $1 and user_id = $2", owner_id, user_id)

    async def drop_ended(self, connection: Connection, owner_id: UUID, at: datetime) -> int:
        """Forget time-outs that are over. How many bans are left."""
        await connection.execute("delete from chat_bans where owner_id = $1 and until <= $2", owner_id, at)
        count: int = await connection.fetchval("select count(*) from chat_bans where owner_id = $1", owner_id)
        return count

    async def bans(self, owner_id: UUID, at: datetime, before: tuple[datetime, UUID] | None, limit: int) -> list[Ban]:
        """Those that hold, newest first."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select user_id, kind, until, reason, by, at from chat_bans
                where owner_id = $1 and (until is null or until > $2)
                    and ($3::timestamptz is null or (at, user_id) < ($3, $4))
                order by at desc, user_id desc limit $5""",
                owner_id,
                at,
                before[0] if before else None,
                before[1] if before else None,
                limit,
            )
        return [Ban(*row) for row in rows]

    # moderators

    async def appoint(self, connection: Connection, owner_id: UUID, user_id: UUID, by: UUID, at: datetime) -> None:
        await connection.execute(
            "insert into chat_moderators (owner_id, user_id, by, at) values ($1, $2, $3, $4) on conflict do nothing",
            owner_id,
            user_id,
            by,
            at,
        )

    async def dismiss(self, connection: Connection, owner_id: UUID, user_id: UUID) -> None:
        await connection.execute("delete from chat_moderators where owner_id = $1 and user_id = $2", owner_id, user_id)

    async def moderator_count(self, connection: Connection, owner_id: UUID) -> int:
        # two rooms of one owner are written to at once: without this both would see one place left
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended('chat ' || ($1::uuid)::text, 0))", owner_id
        )
        count: int = await connection.fetchval("select count(*) from chat_moderators where owner_id = $1", owner_id)
        return count

    async def moderators(self, owner_id: UUID) -> list[tuple[UUID, datetime]]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select user_id, at from chat_moderators where owner_id = $1 order by at, user_id", owner_id
            )
        return [(row["user_id"], row["at"]) for row in rows]

    # word filters

    async def filters(self, connection: Connection, owner_id: UUID) -> list[Filter]:
        rows = await connection.fetch(
            "select id, pattern, action, at from chat_filters where owner_id = $1 order by pattern", owner_id
        )
        return [Filter(*row) for row in rows]

    async def add_filter(self, connection: Connection, owner_id: UUID, filter: Filter, by: UUID) -> Filter:
        row = await connection.fetchrow(
            """insert into chat_filters (id, owner_id, pattern, action, by, at) values ($1, $2, $3, $4, $5, $6)
            on conflict (owner_id, pattern) do update set action = excluded.action, by = excluded.by
            returning id, pattern, action, at""",
            filter.id,
            owner_id,
            filter.pattern,
            filter.action,
            by,
            filter.at,
        )
        assert row is not None
        return Filter(*row)

    async def remove_filter(self, connection: Connection, owner_id: UUID, id: UUID) -> bool:
        done = await connection.execute("delete from chat_filters where owner_id = $1 and id = $2", owner_id, id)
        return done.endswith("1")

    # emotes

    async def emotes(self, connection: Connection, owner_id: UUID) -> dict[str, str]:
        rows = await connection.fetch("select name, art from chat_emotes where owner_id = $1 order by name", owner_id)
        return {row["name"]: row["art"] for row in rows}

    async def set_emote(
        self, connection: Connection, owner_id: UUID, name: str, art: str, by: UUID, at: datetime
    ) -> None:
        await connection.execute(
            """insert into chat_emotes (owner_id, name, art, by, at) values ($1, $2, $3, $4, $5)
            on conflict (owner_id, name) do update set art = excluded.art, by = excluded.by, at = excluded.at""",
            owner_id,
            name,
            art,
            by,
            at,
        )

    async def remove_emote(self, connection: Connection, owner_id: UUID, name: str) -> bool:
        done = await connection.execute("delete from chat_emotes where owner_id = $1 and name = $2", owner_id, name)
        return done.endswith("1")
