"""All SQL of the chat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from server.community.chat.errors import NoSuchRoom
from server.community.chat.models import Author, Change, ChatMessage, Deleted, LogEntry, Said
from storage.postgres.database import Connection, Database

NOBODY = UUID(int=0)  # the author of what people have said who are not here any more
NO_ROOM = (1, 0)  # epoch and last offset of a room that nobody has written in


@dataclass(frozen=True, slots=True)
class History:
    epoch: int
    head: int
    entries: list[LogEntry]
    erased: dict[int, ChatMessage]  # by the place of a deletion: the message that it deleted, as it stands now


class ChatStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # writing, inside one transaction

    async def lock(self, connection: Connection, room_id: UUID) -> tuple[int, int]:
        """Hold the room until the commit; made when there is none. Its epoch and last offset. Raises NoSuchRoom for one
        whose broadcast was deleted, also when that happened after the writer had asked for it.
        """
        row = await connection.fetchrow(
            """insert into chat_rooms (id) values ($1)
            on conflict (id) do update set id = excluded.id returning epoch, last_offset, forgotten""",
            room_id,
        )
        assert row is not None
        if row["forgotten"]:
            raise NoSuchRoom("There is no such broadcast any more.")
        return row["epoch"], row["last_offset"]

    async def by_nonce(
        self, connection: Connection, room_id: UUID, nonces: Collection[tuple[UUID, str]]
    ) -> dict[tuple[UUID, str], ChatMessage]:
        """Messages that are there already, by author and nonce."""
        rows = await connection.fetch(
            """select m.* from chat_messages m
            join unnest($2::uuid[], $3::text[]) as asked (author_id, nonce) using (author_id, nonce)
            where m.room_id = $1""",
            room_id,
            [author for author, _ in nonces],
            [nonce for _, nonce in nonces],
        )
        return {(row["author_id"], row["nonce"]): _message(row) for row in rows}

    async def add(
        self, connection: Connection, room_id: UUID, messages: Sequence[ChatMessage], nonces: Sequence[str | None]
    ) -> None:
        """The messages, their places in the log, and the room's new last place."""
        await connection.execute(
            """with written as (
                insert into chat_messages (id, room_id, log_offset, author_id, author_name, text, at, media_time, nonce)
                select id, $1, log_offset, author_id, author_name, text, at, media_time, nonce
                from unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
                    $8::timestamptz[], $9::text[])
                    as new (id, log_offset, author_id, author_name, text, at, media_time, nonce)
            ), logged as (
                insert into chat_log (room_id, log_offset, kind, message_id, at)
                select $1, log_offset, 'message', id, at
                from unnest($2::uuid[], $3::bigint[], $7::timestamptz[]) as new (id, log_offset, at)
            )
            update chat_rooms set last_offset = $10 where id = $1""",
            room_id,
            [message.id for message in messages],
            [message.offset for message in messages],
            [message.author.id for message in messages],
            [message.author.username for message in messages],
            [message.text for message in messages],
            [message.at for message in messages],
            [message.media_time for message in messages],
            list(nonces),
            messages[-1].offset,
        )

    async def message(self, connection: Connection, room_id: UUID, message_id: UUID) -> ChatMessage | None:
        row = await connection.fetchrow(
            "select * from chat_messages where id = $1 and room_id = $2", message_id, room_id
        )
        return _message(row) if row is not None else None

    async def erase(
        self, connection: Connection, room_id: UUID, message_id: UUID, by: UUID, at: datetime, offset: int
    ) -> None:
        """Take the text away for good and say so in the log."""
        await connection.execute(
            """with erased as (
                update chat_messages set text = '', deleted_at = $4, deleted_by = $3 where id = $2
            ), logged as (
                insert into chat_log (room_id, log_offset, kind, message_id, at, by)
                values ($1, $5, 'delete', $2, $4, $3)
            )
            update chat_rooms set last_offset = $5 where id = $1""",
            room_id,
            message_id,
            by,
            at,
            offset,
        )

    # reading

    async def history(self, room_id: UUID, since: int | None, limit: int) -> History:
        """Changes after `since`, or the last ones, from one snapshot."""
        order = "asc" if since is not None else "desc"
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"""select r.epoch, r.last_offset, l.kind, l.place, l.by, m.* from chat_rooms r
                left join lateral (
                    select kind, log_offset as place, message_id, by from chat_log
                    where room_id = r.id and log_offset > $2 order by log_offset {order} limit $3
                ) l on true
                left join chat_messages m on m.id = l.message_id
                where r.id = $1 order by l.place""",
                room_id,
                since or 0,
                limit,
            )
        if not rows:
            return History(*NO_ROOM, [], {})
        entries: list[LogEntry] = []
        erased: dict[int, ChatMessage] = {}
        for row in rows:
            if row["kind"] is None:
                continue
            change: Change
            if row["kind"] == "message":
                change = Said(_message(row))
            else:
                change = Deleted(id=row["id"], by=row["by"])
                erased[row["place"]] = _message(row)
            entries.append(LogEntry(row["place"], change))
        return History(rows[0]["epoch"], rows[0]["last_offset"], entries, erased)

    async def heads(self, room_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
        """Without the rooms that were forgotten."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select id, epoch, last_offset, forgotten from chat_rooms where id = any($1::uuid[])", list(room_ids)
            )
        found = {row["id"]: (row["epoch"], row["last_offset"]) for row in rows}
        forgotten = {row["id"] for row in rows if row["forgotten"]}
        return {room_id: found.get(room_id, NO_ROOM) for room_id in room_ids if room_id not in forgotten}

    async def replay(
        self,
        room_id: UUID,
        start: datetime | None,
        end: datetime | None,
        after: tuple[datetime, int] | None,
        limit: int,
    ) -> list[ChatMessage]:
        """Messages that were not deleted, in the order in which a replay shows them."""
        where = "room_id = $1 and deleted_at is null"
        values: list[Any] = [room_id, limit]
        for condition, value in (("shown_at >= ${}", start), ("shown_at < ${}", end)):
            if value is not None:
                values.append(value)
                where += " and " + condition.format(len(values))
        if after is not None:
            values.extend(after)
            where += f" and (shown_at, log_offset) > (${len(values) - 1}, ${len(values)})"
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select * from chat_messages where {where} order by shown_at, log_offset limit $2", *values
            )
        return [_message(row) for row in rows]

    # what a person has said, for his archive, and what becomes of it when he leaves

    async def said_by(self, author_id: UUID, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """His messages that were not deleted, oldest first."""
        async with self._database.acquire() as connection:
            return await connection.fetch(
                "select id, room_id, text, at, media_time from chat_messages where author_id = $1"
                " and deleted_at is null and ($2::uuid is null or id > $2) order by id limit $3",
                author_id,
                after,
                limit,
            )

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
                select id, deleted_at from chat_messages where room_id = $1 and author_id = $2
                order by log_offset limit $4
            ), open as (
                select id, row_number() over (order by id) as number from his where deleted_at is null
            ), logged as (
                insert into chat_log (room_id, log_offset, kind, message_id, at, by)
                select $1, r.last_offset + o.number, 'delete', o.id, $3, $5 from open o, chat_rooms r where r.id = $1
            ), room as (
                update chat_rooms set last_offset = last_offset + (select count(*) from open) where id = $1
            )
            update chat_messages m set text = '', author_id = $5, author_name = '', nonce = null,
                deleted_at = coalesce(m.deleted_at, $3), deleted_by = coalesce(m.deleted_by, $5)
            from his where m.id = his.id""",
            room_id,
            author_id,
            at,
            limit,
            NOBODY,
        )
        return int(done.rpartition(" ")[2])

    async def forget_deeds(self, connection: Connection, user_id: UUID) -> None:
        """That he has deleted messages, his own or others'."""
        await connection.execute("update chat_messages set deleted_by = $2 where deleted_by = $1", user_id, NOBODY)
        await connection.execute("update chat_log set by = $2 where by = $1", user_id, NOBODY)

    async def forget_room(self, room_id: UUID) -> None:
        """Nothing of it stays but that it was: what is written from now on is refused."""
        async with self._database.transaction() as connection:
            await connection.execute(
                """insert into chat_rooms (id, forgotten) values ($1, true)
                on conflict (id) do update set forgotten = true""",
                room_id,
            )
            await connection.execute("delete from chat_log where room_id = $1", room_id)
            await connection.execute("delete from chat_messages where room_id = $1", room_id)


def _message(row: asyncpg.Record) -> ChatMessage:
    fields: dict[str, Any] = {"deleted": True} if row["deleted_at"] is not None else {}
    return ChatMessage(
        id=row["id"],
        author=Author(row["author_id"], row["author_name"]),
        text=row["text"],
        at=row["at"],
        media_time=row["media_time"],
        offset=row["log_offset"],
        **fields,
    )
