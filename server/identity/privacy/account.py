"""What identity itself keeps of a person, for the archive: his account, and every row that refers to it.

The rows are found by their references to the account, so that a table that comes later is in the archive by existing.
Erasing them is the last step of leaving: they go with the account's row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec

from server.identity.profile import store as profiles
from server.identity.profile.avatars import PREFIX
from server.identity.profile.models import SIZES
from server.kit.personal import Item, rows
from storage.objects import ObjectStore
from storage.postgres import Connection, Database

_BATCH = 500
_SECRET = "(^|_)(hash|secret|seed|digest|sealed|token|password)($|_)"


class AccountData:
    """elsewhere: tables that other parts of the product put into the archive."""

    def __init__(self, database: Database, objects: ObjectStore, elsewhere: Collection[str] = ()) -> None:
        self._database = database
        self._objects = objects
        self._elsewhere = list(elsewhere)

    async def export(self, user_id: UUID, *, media: bool) -> AsyncIterator[Item]:
        async with self._database.acquire() as connection:
            tables = await _tables(connection, self._elsewhere)
            details = await profiles.details(connection, user_id)
        for table, reference, columns in tables:
            yield Item(f"account/{table}.json", rows(self._rows(table, reference, columns, user_id)))
        if details.avatar is not None:
            for size in SIZES:
                yield Item(
                    f"account/avatar-{size}.webp", self._object(f"{PREFIX}/{details.avatar}/{size}.webp"), packed=True
                )

    async def suspend(self, connection: Connection, user_id: UUID) -> None:
        """The account's row says it."""

    async def resume(self, connection: Connection, user_id: UUID) -> None:
        """The account's row says it."""

    async def erase(self, user_id: UUID) -> None:
        """Done with the account's row."""

    async def _rows(
        self, table: str, reference: str, columns: Sequence[str], user_id: UUID
    ) -> AsyncIterator[Sequence[Any]]:
        listed = ", ".join(f'"{column}"' for column in columns)
        after: str | None = None
        while True:
            # The place of a row in its table serves as the order: not every one of these has an id. Rows that are
            # written meanwhile may be left out; they are of after the question.
            async with self._database.acquire() as connection:
                found = await connection.fetch(
                    f"select ctid::text as place, to_jsonb(kept) as value from (select ctid, {listed} from"
                    f' "{table}" where "{reference}" = $1 and ($2::text is null or ctid > $2::text::tid)'
                    f" order by ctid limit {_BATCH}) kept",
                    user_id,
                    after,
                )
            if not found:
                return
            after = found[-1]["place"]
            batch = [msgspec.json.decode(row["value"]) for row in found]
            for value in batch:
                value.pop("ctid", None)
            yield batch

    async def _object(self, key: str) -> AsyncIterator[bytes]:
        yield await self._objects.get(key) or b""


async def _tables(connection: Connection, elsewhere: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Tables with rows of accounts: the column that says whose, and those that say something to a person: bytes are
    keys and digests, and a column named for a secret holds one."""
    found = await connection.fetch(
        """
        select t.relname as name, a.attname as reference,
            array(select c.attname::text from pg_attribute c
                where c.attrelid = t.oid and c.attnum > 0 and not c.attisdropped
                    and c.atttypid <> 'bytea'::regtype and c.attname !~ $2 order by c.attnum) as columns
        from pg_class t
        join pg_namespace n on n.oid = t.relnamespace and n.nspname = current_schema()
        join pg_constraint f on f.conrelid = t.oid
        join pg_attribute a on a.attrelid = t.oid and a.attnum = f.conkey[1]
        where t.relkind in ('r', 'p') and t.relname <> all($1::text[]) and cardinality(f.conkey) = 1
            and ((f.contype = 'f' and f.confrelid = 'users'::regclass)
                or (f.contype = 'p' and t.oid = 'users'::regclass))
        order by t.relname <> 'users', t.relname
        """,
        list(elsewhere),
        _SECRET,
    )
    return [(row["name"], row["reference"], list(row["columns"])) for row in found]
