"""All SQL about what a chat keeps of one person: for his archive, and for his leaving."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from server.community.chat.view import NOBODY
from storage.postgres.database import Connection, Database

_COLUMNS = {
    "reactions": "message_id, room_id, emoji, at",
    "bans": "owner_id, user_id, kind, until, reason, at",
    "moderators": "owner_id, user_id, at",
    "filters": "id, pattern, action, at",
    "emotes": "name, art, at",
}


class PersonalStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def said_by(self, author_id: UUID, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """His messages that were not deleted, oldest first."""
        async with self._database.acquire() as connection:
            return await connection.fetch(
                "select id, room_id, text, at, media_time, edited_at, reply_to from chat_messages where author_id = $1"
                " and deleted_at is null and ($2::uuid is null or id > $2) order by id limit $3",
                author_id,
                after,
                limit,
            )

    async def reactions_of(self, user_id: UUID, after: tuple[UUID, str] | None, limit: int) -> list[asyncpg.Record]:
        async with self._database.acquire() as connection:
            return await connection.fetch(
                f"""select {_COLUMNS["reactions"]} from chat_reactions where user_id = $1
                and ($2::uuid is null or (message_id, emoji) > ($2, $3)) order by message_id, emoji limit $4""",
                user_id,
                after[0] if after else None,
                after[1] if after else "",
                limit,
            )

    async def rules(self, user_id: UUID) -> dict[str, list[dict[str, Any]]]:
        """Bans against him, where he moderates, and what he has made for his own channel."""
        asked = {
            "banned": f"select {_COLUMNS['bans']} from chat_bans where user_id = $1",
            "moderates": f"select {_COLUMNS['moderators']} from chat_moderators where user_id = $1",
            "bans": f"select {_COLUMNS['bans']} from chat_bans where owner_id = $1",
            "moderators": f"select {_COLUMNS['moderators']} from chat_moderators where owner_id = $1",
            "filters": f"select {_COLUMNS['filters']} from chat_filters where owner_id = $1",
            "emotes": f"select {_COLUMNS['emotes']} from chat_emotes where owner_id = $1",
        }
        async with self._database.acquire() as connection:
            return {
                name: [dict(row) for row in await connection.fetch(query, user_id)] for name, query in asked.items()
            }

    # leaving, inside transactions

    async def room_of(self, connection: Connection, author_id: UUID) -> UUID | None:
        """A room that he has written in."""
        room: UUID | None = await connection.fetchval(
            "select room_id from chat_messages where author_id = $1 limit 1", author_id
        )
        return room

    async def erase_some(self, connection: Connection, room_id: UUID, author_id: UUID, at: datetime, limit: int) -> int:
        """Of the author's messages in a locked room: take the text away and say so in the log, like `erase` does; and
        take the author away, also where the text is gone already. How many."""
        done = await connection.execute(
            """with his as (
                select id, deleted_at, coalesce(text_at, log_offset) as place,
                    shadowed or held_until is not null as private
                from chat_messages where room_id = $1 and author_id = $2 order by log_offset limit $4
            ), open as (
                select id, place, private, row_number() over (order by id) as number from his where deleted_at is null
            ), logged as (
                insert into chat_log (room_id, log_offset, kind, message_id, at, by, subject, prior, audience)
                select $1, r.last_offset + o.number, 'delete', o.id, $3, $5::uuid,
                    case when o.private then $5::uuid end, o.place,
                    case when o.private then 'own' else 'all' end
                from open o, chat_rooms r where r.id = $1
            ), room as (
                update chat_rooms set last_offset = last_offset + (select count(*) from open),
                    pins = (select coalesce(array_agg(id order by number), '{}')
                        from unnest(pins) with ordinality as p (id, number) where id not in (select id from open))
                where id = $1
            ), liked as (
                delete from chat_reactions r using open o where r.message_id = o.id
            )
            update chat_messages m set text = '', author_id = $5::uuid, author_name = '', nonce = null,
                fingerprint = null, mentions = '{}', reactions = '{}', reply_to = null, badge = null,
                shadowed = m.shadowed or m.held_until is not null, held_until = null,
                deleted_at = coalesce(m.deleted_at, $3), deleted_by = coalesce(m.deleted_by, $5::uuid)
            from his where m.id = his.id""",
            room_id,
            author_id,
            at,
            limit,
            NOBODY,
        )
        return int(done.rpartition(" ")[2])

    async def room_reacted_in(self, connection: Connection, user_id: UUID) -> UUID | None:
        room: UUID | None = await connection.fetchval(
            "select room_id from chat_reactions where user_id = $1 limit 1", user_id
        )
        return room

    async def take_reactions(
        self, connection: Connection, room_id: UUID, user_id: UUID, at: datetime, limit: int
    ) -> None:
        """Of his reactions in a locked room: they go, and the log says what is left at each message."""
        await connection.execute(
            """with chosen as (
                select distinct message_id from chat_reactions where room_id = $1 and user_id = $2 limit $4
            ), gone as (
                delete from chat_reactions r using chosen s where r.message_id = s.message_id and r.user_id = $2
                returning r.message_id, r.emoji, r.hidden
            ), counted as (
                select m.id, m.shadowed or m.held_until is not null as private, m.author_id,
                    (select coalesce(jsonb_object_agg(key, value::int - mine.n), '{}') from jsonb_each_text(m.reactions)
                        cross join lateral (select count(*) as n from gone g
                            where g.message_id = m.id and g.emoji = key and not g.hidden) mine
                        where value::int > mine.n) as counts,
                    row_number() over (order by m.id) as number
                from chat_messages m
                where m.deleted_at is null and m.id in (select message_id from gone where not hidden)
            ), logged as (
                insert into chat_log (room_id, log_offset, kind, message_id, at, data, subject, audience)
                select $1, r.last_offset + c.number, 'reactions', c.id, $3, jsonb_build_object('counts', c.counts),
                    case when c.private then c.author_id end, case when c.private then 'own' else 'all' end
                from counted c, chat_rooms r where r.id = $1
            ), room as (
                update chat_rooms set last_offset = last_offset + (select count(*) from counted) where id = $1
            )
            update chat_messages m set reactions = c.counts from counted c where m.id = c.id""",
            room_id,
            user_id,
            at,
            limit,
        )

    async def forget_mentions(self, connection: Connection, user_id: UUID, limit: int) -> int:
        """That others have mentioned him. What they wrote stays theirs."""
        done = await connection.execute(
            """update chat_messages set mentions = array_remove(mentions, $1)
            where id in (select id from chat_messages where mentions @> array[$1]::uuid[] and mentions <> '{}'
                limit $2)""",
            user_id,
            limit,
        )
        return int(done.rpartition(" ")[2])

    async def forget_deeds(self, connection: Connection, user_id: UUID) -> None:
        """What he has done to others' messages and in others' channels, what was done to him, and his own channel's."""
        for query in (
            "update chat_messages set deleted_by = $2 where deleted_by = $1",
            "update chat_log set by = $2 where by = $1",
            "update chat_log set subject = $2, data = data - 'reason' where subject = $1",
            "update chat_bans set by = $2 where by = $1",
            "update chat_moderators set by = $2 where by = $1",
            "update chat_filters set by = $2 where by = $1",
            "update chat_emotes set by = $2 where by = $1",
            "update chat_rooms set owner_id = $2 where owner_id = $1",
        ):
            await connection.execute(query, user_id, NOBODY)
        for query in (
            "delete from chat_bans where user_id = $1 or owner_id = $1",
            "delete from chat_moderators where user_id = $1 or owner_id = $1",
            "delete from chat_filters where owner_id = $1",
            "delete from chat_emotes where owner_id = $1",
        ):
            await connection.execute(query, user_id)
