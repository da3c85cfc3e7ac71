"""All SQL of a chat's messages and of its log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from server.community.chat.errors import NoSuchRoom
from server.community.chat.mode import Mode
from server.community.chat.models import Author, ChatMessage
from server.community.chat.view import Kept, LogRow
from storage.postgres.database import Connection, Database

NO_ROOM = (1, 0)  # epoch and last offset of a room that nobody has written in

_VISIBLE = "not m.shadowed and m.held_until is null"


Hidden = dict[UUID, dict[UUID, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class RoomRow:
    epoch: int = NO_ROOM[0]
    offset: int = NO_ROOM[1]
    mode: Mode = field(default_factory=Mode)
    pins: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    epoch: int
    head: int
    rows: list[LogRow]


@dataclass(frozen=True, slots=True)
class New:
    """A message that is being written."""

    kept: Kept
    nonce: str | None
    fingerprint: int


def _adding(source: str = "") -> str:
    """`source`: what must have a row for it."""
    return f"""insert into chat_messages (id, room_id, log_offset, author_id, author_name, text, at, media_time, nonce,
        reply_to, mentions, badge, shadowed, held_until, fingerprint)
    select new.id, $1, log_offset, author_id, author_name, text, at, media_time, nonce, reply_to,
        case when mentions = '' then '{{}}' else string_to_array(mentions, ',')::uuid[] end, badge, shadowed,
        held_until, fingerprint
    from {source}unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
        $8::timestamptz[], $9::text[], $10::uuid[], $11::text[], $12::text[], $13::boolean[],
        $14::timestamptz[], $15::bigint[])
        as new (id, log_offset, author_id, author_name, text, at, media_time, nonce, reply_to, mentions, badge,
            shadowed, held_until, fingerprint)"""


_LOGGED = ("bigint", "text", "uuid", "timestamptz", "uuid", "uuid", "jsonb", "bigint", "text")


def _logging(first: int, source: str = "") -> str:
    """`first`: the number of its first parameter but the room."""
    columns = ", ".join(f"${first + at}::{type}[]" for at, type in enumerate(_LOGGED))
    return f"""insert into chat_log (room_id, log_offset, kind, message_id, at, by, subject, data, prior, audience)
        select $1, log_offset, kind, message_id, at, by, subject, data, prior, audience
        from {source}unnest({columns})
            as new (log_offset, kind, message_id, at, by, subject, data, prior, audience)"""


def _recording(first: int) -> str:
    last = first + len(_LOGGED)
    return f"""logged as ({_logging(first)})
    update chat_rooms set last_offset = ${last}, mode = ${last + 1}, pins = ${last + 2} where id = $1"""


_ADD = _adding()
_RECORD = f"with {_recording(2)}"
_ADD_AND_RECORD = f"with added as ({_ADD}), {_recording(16)}"
# The row of the room is looked at again after another's commit was waited for, and
# every change of what else is asked for here takes a place in its log: it is as the statement's snapshot has it.
_APPEND = f"""with room as (
        update chat_rooms set last_offset = $25 where id = $1 and epoch = $26 and last_offset = $27 and not forgotten
            and not exists (select from chat_bans where owner_id = $28 and user_id = any($31::uuid[]))
            and array(select user_id from chat_moderators
                where owner_id = $28 and user_id = any($31::uuid[]) order by user_id) = $29::uuid[]
            and array(select id || ' ' || action from chat_filters where owner_id = $28 order by id) = $30::text[]
            and not exists (select from chat_messages m
                join unnest($4::uuid[], $9::text[]) as said (author_id, nonce) using (author_id, nonce)
                where m.room_id = $1)
        returning id as written
    ), added as ({_adding("room, ")}), logged as ({_logging(16, "room, ")})
    select written from room"""


class ChatStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # writing, inside one transaction

    async def lock(self, connection: Connection, room_id: UUID, owner_id: UUID | None = None) -> RoomRow:
        """Hold the room until the commit; made when there is none. Raises NoSuchRoom for one whose broadcast was
        deleted, also when that happened after the writer had asked for it.
        """
        row = await connection.fetchrow(
            """insert into chat_rooms (id, owner_id) values ($1, $2)
            on conflict (id) do update set owner_id = coalesce(chat_rooms.owner_id, excluded.owner_id)
            returning epoch, last_offset, mode, pins, forgotten""",
            room_id,
            owner_id,
        )
        assert row is not None
        if row["forgotten"]:
            raise NoSuchRoom("There is no such broadcast any more.")
        return _room(row)

    async def by_nonce(
        self, connection: Connection, room_id: UUID, nonces: Collection[tuple[UUID, str]]
    ) -> dict[tuple[UUID, str], Kept]:
        """Messages that are there already, by author and nonce."""
        rows = await connection.fetch(
            """select m.* from chat_messages m
            join unnest($2::uuid[], $3::text[]) as asked (author_id, nonce) using (author_id, nonce)
            where m.room_id = $1""",
            room_id,
            [author for author, _ in nonces],
            [nonce for _, nonce in nonces],
        )
        return {(row["author_id"], row["nonce"]): kept(row) for row in rows}

    async def add(self, connection: Connection, room_id: UUID, new: Sequence[New]) -> None:
        """The messages; `record` writes their places in the log."""
        await connection.execute(_ADD, room_id, *_columns_of_new(new))

    async def record(
        self, connection: Connection, room_id: UUID, room: RoomRow, rows: Sequence[LogRow], new: Sequence[New] = ()
    ) -> None:
        """The changes of one transaction, the messages of it that are not there yet, and what the room is after
        them."""
        changes = (*_columns_of_log(rows), room.offset, _json(room.mode), list(room.pins))
        if new:  # one question to the database, not two: this is what most turns are
            await connection.execute(_ADD_AND_RECORD, room_id, *_columns_of_new(new), *changes)
        else:
            await connection.execute(_RECORD, room_id, *changes)

    async def append(
        self,
        connection: Connection,
        room_id: UUID,
        owner_id: UUID,
        before: RoomRow,
        authors: Collection[UUID],
        moderators: Collection[UUID],
        filters: Sequence[str],
        rows: Sequence[LogRow],
        new: Sequence[New],
    ) -> bool:
        """Messages and nothing else, in a transaction of their own, if all is as their writer believes: the room as
        `before`, none of the authors banned, these of them `moderators`, the word filters those (`Rules.filters`), no
        nonce known. False when it is not: then nothing was written."""
        written = await connection.fetchval(
            _APPEND,
            room_id,
            *_columns_of_new(new),
            *_columns_of_log(rows),
            rows[-1].offset,
            before.epoch,
            before.offset,
            owner_id,
            sorted(moderators),
            list(filters),
            list(authors),
        )
        return written is not None

    async def message(self, connection: Connection, room_id: UUID, message_id: UUID) -> Kept | None:
        row = await connection.fetchrow(
            "select * from chat_messages where id = $1 and room_id = $2", message_id, room_id
        )
        return kept(row) if row is not None else None

    async def erase(self, connection: Connection, message_id: UUID, by: UUID, at: datetime) -> None:
        """Take the text away for good, and what was done with it."""
        await connection.execute(
            """with gone as (delete from chat_reactions where message_id = $1)
            update chat_messages set text = '', deleted_at = $3, deleted_by = $2, fingerprint = null, mentions = '{}',
                reactions = '{}', reply_to = null, held_until = null, shadowed = shadowed or held_until is not null
            where id = $1""",
            message_id,
            by,
            at,
        )

    async def rewrite(
        self,
        connection: Connection,
        message_id: UUID,
        text: str,
        mentions: Collection[UUID],
        fingerprint: int,
        at: datetime,
        place: int,
        shadowed: bool,
    ) -> None:
        await connection.execute(
            """update chat_messages set text = $2, mentions = $3, fingerprint = $4, edited_at = $5, text_at = $6,
                shadowed = $7 where id = $1""",
            message_id,
            text,
            list(mentions),
            fingerprint,
            at,
            place,
            shadowed,
        )

    async def release(self, connection: Connection, message_id: UUID, place: int) -> None:
        """What was held back is shown from this place on."""
        await connection.execute(
            "update chat_messages set held_until = null, text_at = $2, released_at = $2 where id = $1",
            message_id,
            place,
        )

    async def last_said(
        self, connection: Connection, room_id: UUID, author_ids: Collection[UUID]
    ) -> dict[UUID, datetime]:
        """When each of them wrote last here, also what was deleted."""
        rows = await connection.fetch(
            """select author_id, last.at from unnest($2::uuid[]) as asked (author_id), lateral (
                select at from chat_messages m where m.room_id = $1 and m.author_id = asked.author_id
                order by at desc limit 1) last""",
            room_id,
            list(author_ids),
        )
        return {row["author_id"]: row["at"] for row in rows}

    async def said_before(
        self, connection: Connection, room_id: UUID, fingerprint: int, since: datetime, author_id: UUID, but: UUID
    ) -> bool:
        """Whether the same stands there already, as far as the author can see. but: a message that does not count."""
        found: bool = await connection.fetchval(
            f"""select exists (select 1 from chat_messages m where m.room_id = $1 and m.fingerprint = $2 and m.at >= $3
                and m.id <> $5 and (({_VISIBLE}) or m.author_id = $4))""",
            room_id,
            fingerprint,
            since,
            author_id,
            but,
        )
        return found

    async def latest_of(self, connection: Connection, room_id: UUID, author_id: UUID, most: int) -> list[Kept]:
        """His latest messages that were not deleted, newest first."""
        rows = await connection.fetch(
            """select * from chat_messages where room_id = $1 and author_id = $2 and deleted_at is null
            order by at desc limit $3""",
            room_id,
            author_id,
            most,
        )
        return [kept(row) for row in rows]

    # reactions

    async def react(
        self,
        connection: Connection,
        room_id: UUID,
        message_id: UUID,
        user_id: UUID,
        emoji: str,
        hidden: bool,
        at: datetime,
    ) -> bool:
        """Whether it is new."""
        done = await connection.execute(
            """insert into chat_reactions (message_id, user_id, emoji, room_id, hidden, at)
            values ($1, $2, $3, $4, $5, $6) on conflict do nothing""",
            message_id,
            user_id,
            emoji,
            room_id,
            hidden,
            at,
        )
        return done.endswith("1")

    async def unreact(self, connection: Connection, message_id: UUID, user_id: UUID, emoji: str) -> bool | None:
        """Whether the one taken away was hidden; None when there was none."""
        hidden: bool | None = await connection.fetchval(
            "delete from chat_reactions where message_id = $1 and user_id = $2 and emoji = $3 returning hidden",
            message_id,
            user_id,
            emoji,
        )
        return hidden

    async def set_counts(self, connection: Connection, message_id: UUID, counts: Mapping[str, int]) -> None:
        await connection.execute("update chat_messages set reactions = $2 where id = $1", message_id, _json(counts))

    async def reactions_of(self, message_ids: Collection[UUID], user_id: UUID) -> dict[UUID, list[str]]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select message_id, array_agg(emoji order by at) as emoji from chat_reactions
                where message_id = any($1::uuid[]) and user_id = $2 group by message_id""",
                list(message_ids),
                user_id,
            )
        return {row["message_id"]: row["emoji"] for row in rows}

    async def hidden_reactions(self, room_id: UUID, user_id: UUID) -> dict[UUID, dict[str, int]]:
        """Those that only he sees."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select message_id, emoji from chat_reactions where room_id = $1 and user_id = $2 and hidden",
                room_id,
                user_id,
            )
        found: dict[UUID, dict[str, int]] = {}
        for row in rows:
            found.setdefault(row["message_id"], {})[row["emoji"]] = 1
        return found

    async def hidden_on(self, message_ids: Collection[UUID], connection: Connection | None = None) -> Hidden:
        """Reactions to these messages that only those see who gave them: by message, then by person."""
        if connection is None:
            async with self._database.acquire() as own:
                return await self.hidden_on(message_ids, own)
        rows = await connection.fetch(
            "select message_id, user_id, emoji from chat_reactions where message_id = any($1::uuid[]) and hidden",
            list(message_ids),
        )
        found: Hidden = {}
        for row in rows:
            found.setdefault(row["message_id"], {}).setdefault(row["user_id"], {})[row["emoji"]] = 1
        return found

    # reading

    async def room(self, room_id: UUID) -> RoomRow:
        """As it is; a room that nobody has done anything in is as new."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow("select * from chat_rooms where id = $1", room_id)
        return _room(row) if row is not None else RoomRow()

    async def history(self, room_id: UUID, since: int | None, limit: int) -> History:
        """Changes after `since`, or the last ones, from one snapshot."""
        order = "asc" if since is not None else "desc"
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"""select r.epoch, r.last_offset, l.*, m.* from chat_rooms r
                left join lateral (
                    select kind, log_offset as place, message_id, by, at as done_at, subject, data, prior, audience
                    from chat_log where room_id = r.id and log_offset > $2 order by log_offset {order} limit $3
                ) l on true
                left join chat_messages m on m.id = l.message_id
                where r.id = $1 order by l.place""",
                room_id,
                since or 0,
                limit,
            )
        if not rows:
            return History(*NO_ROOM, [])
        found = [_log_row(row) for row in rows if row["kind"] is not None]
        return History(rows[0]["epoch"], rows[0]["last_offset"], found)

    async def heads(self, room_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
        """Without the rooms that were forgotten."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select id, epoch, last_offset, forgotten from chat_rooms where id = any($1::uuid[])", list(room_ids)
            )
        found = {row["id"]: (row["epoch"], row["last_offset"]) for row in rows}
        forgotten = {row["id"] for row in rows if row["forgotten"]}
        return {room_id: found.get(room_id, NO_ROOM) for room_id in room_ids if room_id not in forgotten}

    async def messages(self, room_id: UUID, ids: Sequence[UUID]) -> list[Kept]:
        """In the order of the ids; without what was deleted."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select m.* from unnest($2::uuid[]) with ordinality as asked (id, number)
                join chat_messages m using (id) where m.room_id = $1 and m.deleted_at is null order by number""",
                room_id,
                list(ids),
            )
        return [kept(row) for row in rows]

    async def latest(self, room_id: UUID, most: int) -> list[Kept]:
        """The latest messages that were not deleted, oldest first, hidden ones with them."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select * from chat_messages where room_id = $1 and deleted_at is null
                order by log_offset desc limit $2""",
                room_id,
                most,
            )
        return [kept(row) for row in reversed(rows)]

    async def private_to(self, room_id: UUID) -> frozenset[UUID]:
        """Of whom there is something here that others do not see."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select author_id as id from chat_messages
                where room_id = $1 and (shadowed or held_until is not null)
                union select user_id from chat_reactions where room_id = $1 and hidden""",
                room_id,
            )
        return frozenset(row["id"] for row in rows)

    async def held(self, limit: int) -> list[tuple[UUID, UUID, datetime]]:
        """Messages that are held back, with their rooms and until when: the next ones first."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """select room_id, id, held_until from chat_messages where held_until is not null
                order by held_until, log_offset limit $1""",
                limit,
            )
        return [(row["room_id"], row["id"], row["held_until"]) for row in rows]

    async def replay(
        self,
        room_id: UUID,
        start: datetime | None,
        end: datetime | None,
        after: tuple[datetime, int] | None,
        limit: int,
        user_id: UUID | None = None,
        staff: bool = False,
    ) -> list[Kept]:
        """Messages that were not deleted and that he may see, in the order in which a replay shows them."""
        where = f"room_id = $1 and deleted_at is null and ($3 or ({_VISIBLE}) or m.author_id = $4)"
        values: list[Any] = [room_id, limit, staff, user_id]
        for condition, value in (("shown_at >= ${}", start), ("shown_at < ${}", end)):
            if value is not None:
                values.append(value)
                where += " and " + condition.format(len(values))
        if after is not None:
            values.extend(after)
            where += f" and (shown_at, log_offset) > (${len(values) - 1}, ${len(values)})"
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select * from chat_messages m where {where} order by shown_at, log_offset limit $2", *values
            )
        return [kept(row) for row in rows]

    async def forget_room(self, room_id: UUID) -> None:
        """Nothing of it stays but that it was: what is written from now on is refused."""
        async with self._database.transaction() as connection:
            await connection.execute(
                """insert into chat_rooms (id, forgotten) values ($1, true)
                on conflict (id) do update set forgotten = true, owner_id = null, mode = '{}', pins = '{}'""",
                room_id,
            )
            await connection.execute("delete from chat_log where room_id = $1", room_id)
            await connection.execute("delete from chat_messages where room_id = $1", room_id)


_json_bytes = msgspec.json.Encoder().encode


def _json(value: Any) -> str:
    return _json_bytes(value).decode()


def _columns_of_new(new: Sequence[New]) -> tuple[list[Any], ...]:
    """As _ADD takes them."""
    messages = [one.kept.message for one in new]
    return (
        [message.id for message in messages],
        [message.offset for message in messages],
        [message.author.id for message in messages],
        [message.author.username for message in messages],
        [message.text for message in messages],
        [message.at for message in messages],
        [message.media_time for message in messages],
        [one.nonce for one in new],
        [message.reply_to or None for message in messages],
        [",".join(str(id) for id in message.mentions or ()) for message in messages],
        [message.badge or None for message in messages],
        [one.kept.shadowed for one in new],
        [one.kept.held_until for one in new],
        [one.fingerprint for one in new],
    )


def _columns_of_log(rows: Sequence[LogRow]) -> tuple[list[Any], ...]:
    """As _LOGGED types them."""
    return (
        [row.offset for row in rows],
        [row.kind for row in rows],
        [row.kept.message.id if row.kept is not None else None for row in rows],
        [row.at for row in rows],
        [row.by for row in rows],
        [row.subject for row in rows],
        [_json(row.data) if row.data else None for row in rows],
        [row.prior for row in rows],
        [row.audience for row in rows],
    )


def _room(row: asyncpg.Record) -> RoomRow:
    return RoomRow(row["epoch"], row["last_offset"], msgspec.json.decode(row["mode"], type=Mode), tuple(row["pins"]))


def _log_row(row: asyncpg.Record) -> LogRow:
    return LogRow(
        offset=row["place"],
        kind=row["kind"],
        at=row["done_at"],
        by=row["by"],
        kept=kept(row) if row["message_id"] is not None else None,
        subject=row["subject"],
        data=msgspec.json.decode(row["data"]) if row["data"] is not None else {},
        prior=row["prior"],
        audience=row["audience"],
    )


def kept(row: asyncpg.Record | Mapping[str, Any]) -> Kept:
    """A row of chat_messages."""
    fields: dict[str, Any] = {"deleted": True} if row["deleted_at"] is not None else {}
    for name in ("edited_at", "reply_to", "badge"):
        if row[name] is not None:
            fields[name] = row[name]
    if row["mentions"]:
        fields["mentions"] = list(row["mentions"])
    if row["reactions"] != "{}":
        fields["reactions"] = msgspec.json.decode(row["reactions"])
    message = ChatMessage(
        id=row["id"],
        author=Author(row["author_id"], row["author_name"]),
        text=row["text"],
        at=row["at"],
        media_time=row["media_time"],
        offset=row["log_offset"],
        **fields,
    )
    return Kept(message, row["text_at"] or row["log_offset"], row["released_at"], row["shadowed"], row["held_until"])
