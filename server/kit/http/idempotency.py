"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a request that is sent again is not done again.

The key, what was asked and what was answered are one row, written in the transaction of the effect: after a crash there
are both or neither. A twin waits for the transaction of the first, in this process without a connection, over the fleet
at the row. What failed is not remembered, so it may be tried again with the same key. Rows expire.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from server.kit.http.unit import in_unit
from server.kit.problems import BadIdempotencyKey, IdempotencyInProgress, IdempotencyKeyReused, Problem
from server.kit.secrets import Secrets
from storage.postgres import Connection, Database

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
PRUNE_JOB = "kit.idempotency_prune"
PRUNE_CRON = "*/10 * * * *"
_KEY = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,128})"|([\x21\x23-\x5b\x5d-\x7e]{1,128})')
_PRUNED_AT_ONCE = 1000


class Answer(msgspec.Struct, array_like=True):
    """What is sent, and kept for a twin. body: None for no content."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes | None


Work = Callable[[Connection], Awaitable[Answer]]


class Idempotency:
    """Owns which keys this process works at just now."""

    def __init__(self, database: Database, secrets: Secrets, *, hours: float, wait: float) -> None:
        """hours: how long an answer is kept. wait: s that a twin waits for the first."""
        self._database = database
        self._secrets = secrets
        self._kept = timedelta(hours=hours)
        self._wait = wait
        self._at_work: dict[tuple[UUID, str], asyncio.Event] = {}

    def fingerprint(self, *parts: bytes) -> bytes:
        """The same for the same request; of bodies that hold secrets it tells nothing."""
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secrets.key("idempotency fingerprint"), text, "sha256")

    async def run(self, user_id: UUID, key: str, fingerprint: bytes, work: Work) -> tuple[Answer, bool]:
        """The answer, and whether it is that of an earlier request. `work` is called once, inside the unit.

        Raises IdempotencyKeyReused, IdempotencyInProgress, and what `work` raises.
        """
        place, deadline = (user_id, key), monotonic() + self._wait
        while (other := self._at_work.get(place)) is not None:
            try:
                async with asyncio.timeout(max(deadline - monotonic(), 0)):
                    await other.wait()
            except TimeoutError:
                raise _in_progress() from None
        done = self._at_work[place] = asyncio.Event()
        try:
            return await self._once(place, fingerprint, work, max(deadline - monotonic(), 0.001))
        finally:
            del self._at_work[place]
            done.set()

    async def _once(self, place: tuple[UUID, str], fingerprint: bytes, work: Work, wait: float) -> tuple[Answer, bool]:
        async def first_or_twin(connection: Connection) -> tuple[Answer, bool]:
            try:
                claimed = await _claim(connection, place, fingerprint, self._kept, wait)
            except asyncpg.LockNotAvailableError:
                raise _in_progress() from None
            if not claimed:
                return await self._earlier(connection, place, fingerprint), True
            try:
                answer = await work(connection)
            except Problem:
                with suppress(asyncpg.InFailedSQLTransactionError):  # then nothing stays anyway
                    await _forget(connection, place)
                raise
            sealed = self._secrets.seal("idempotent answer", msgspec.msgpack.encode(answer), _bound(place, fingerprint))
            await _keep(connection, place, answer.status, sealed)
            return answer, False

        return await in_unit(self._database, first_or_twin)

    async def _earlier(self, connection: Connection, place: tuple[UUID, str], fingerprint: bytes) -> Answer:
        row = await connection.fetchrow(
            "select fingerprint, answer from idempotency_keys where user_id = $1 and key = $2", *place
        )
        if row is None or row["answer"] is None:
            raise _in_progress()
        if not hmac.compare_digest(row["fingerprint"], fingerprint):
            raise IdempotencyKeyReused("Another request was made with this key. Take a new key for a new request.")
        plain = self._secrets.open("idempotent answer", row["answer"], _bound(place, fingerprint))
        return msgspec.msgpack.decode(plain, type=Answer)


def read_key(request: web.BaseRequest) -> str | None:
    """The key of a request, without its quotes. Raises BadIdempotencyKey."""
    values = request.headers.getall(HEADER, ())
    if not values:
        return None
    found = _KEY.fullmatch(values[0].strip()) if len(values) == 1 else None
    if found is None:
        raise BadIdempotencyKey('Send one key of 1 to 128 visible ASCII characters, as "8e03978e-40d5-43dd-bc93".')
    return found[1] or found[2]


async def prune(database: Database) -> int:
    """Remove what has expired, some at a time. Gives how many."""
    removed = 0
    while True:
        async with database.acquire() as connection:
            rows = await connection.fetch(
                """delete from idempotency_keys where (user_id, key) in (
                       select user_id, key from idempotency_keys where expires_at <= now()
                       limit $1 for update skip locked)
                   returning 1""",
                _PRUNED_AT_ONCE,
            )
        removed += len(rows)
        if len(rows) < _PRUNED_AT_ONCE:
            return removed


async def _claim(
    connection: Connection, place: tuple[UUID, str], fingerprint: bytes, kept: timedelta, wait: float
) -> bool:
    """Whether the key is ours to use. Waits for a transaction that is using it; an expired one is taken over."""
    await connection.execute("select set_config('lock_timeout', $1, true)", str(max(int(wait * 1000), 1)))
    claimed = await connection.fetchval(
        """insert into idempotency_keys (user_id, key, fingerprint, expires_at) values ($1, $2, $3, now() + $4)
           on conflict (user_id, key) do update
               set fingerprint = excluded.fingerprint, status = null, answer = null, expires_at = excluded.expires_at
               where idempotency_keys.expires_at <= now()
           returning true""",
        *place,
        fingerprint,
        kept,
    )
    await connection.execute("set local lock_timeout to default")
    return claimed is not None


async def _keep(connection: Connection, place: tuple[UUID, str], status: int, answer: bytes) -> None:
    await connection.execute(
        "update idempotency_keys set status = $3, answer = $4 where user_id = $1 and key = $2", *place, status, answer
    )


async def _forget(connection: Connection, place: tuple[UUID, str]) -> None:
    await connection.execute("delete from idempotency_keys where user_id = $1 and key = $2", *place)


def _bound(place: tuple[UUID, str], fingerprint: bytes) -> bytes:
    return place[0].bytes + fingerprint + place[1].encode()


def _in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress("A request with this key is still at work; repeat it in a moment.")
