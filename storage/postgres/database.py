"""The pool of connections to PostgreSQL: opened by `start`, gone with `close`.

Values are asyncpg's own: timestamptz is an aware datetime, uuid a UUID, jsonb a str (stores encode and decode their
structs with msgspec).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg
from asyncpg.connection import LoggedQuery
from asyncpg.pool import PoolConnectionProxy

_log = logging.getLogger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
"""What `acquire` and `transaction` give."""

_CONNECT_SECONDS = 30.0
"""How long `start` waits for a server that is only just starting."""
_WAIT_SECONDS = 10.0
"""How long a caller waits for a free connection."""
_SETTINGS = {
    "application_name": "social-flow",
    "timezone": "UTC",
    "jit": "off",
    # In ms. A statement or a wait for a lock beyond this is a mistake that must not hold others up.
    "statement_timeout": "30000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
}


class DatabaseUnavailable(Exception):
    """No connection to PostgreSQL is to be had: it is away, refuses us, or all connections are in use."""


AWAY = (
    DatabaseUnavailable,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server has said good-bye, and the socket's end is on its way
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
)
"""What a statement raises when it is the server that is gone, not the statement that is wrong."""


class Database:
    def __init__(self, dsn: str, *, max_size: int, on_query: Callable[[LoggedQuery], None] | None = None) -> None:
        """on_query: called on the loop after each statement, in the context of who ran it. None costs nothing."""
        self._dsn = dsn
        self._max_size = max_size
        self._on_query = on_query
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._taken = 0

    async def start(self) -> None:
        """Connect. A server that is starting is waited for; one that refuses us raises DatabaseUnavailable at once."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        said = False
        while True:
            try:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=1,
                    max_size=self._max_size,
                    timeout=10,
                    # The server's own time-out comes first; this one is for a server that went silent.
                    command_timeout=40,
                    max_inactive_connection_lifetime=300,
                    server_settings=_SETTINGS,
                    reset=_as_it_is,
                    init=self._watch if self._on_query is not None else None,
                )
                return
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(f"no connection to PostgreSQL: {error}") from error
                if not said:
                    _log.warning("waiting for PostgreSQL: %s", error)
                    said = True
                await asyncio.sleep(0.25)
            except (asyncpg.PostgresError, ValueError) as error:
                raise DatabaseUnavailable(f"DATABASE_URL cannot be used: {error}") from error

    async def _watch(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        assert self._on_query is not None
        connection.add_query_logger(self._on_query)

    async def close(self) -> None:
        """Wait up to 5 s for what is under way, then cut it off."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), 5)
        except TimeoutError:
            _log.warning("connections to PostgreSQL were still in use at the end")
            pool.terminate()

    def describe(self) -> dict[str, object]:
        """connections: open now; idle: of these, free; limit: the most there may be."""
        pool = self._pool
        if pool is None:
            return {"connections": 0, "idle": 0, "limit": self._max_size}
        return {"connections": pool.get_size(), "idle": pool.get_idle_size(), "limit": self._max_size}

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which each statement is its own transaction; inside `unit`, that one's.

        Entering raises DatabaseUnavailable.
        """
        return _Acquired(self)

    async def _take(self) -> Connection:
        if self._pool is None:
            raise DatabaseUnavailable("the database is not started")
        self._taken += 1
        try:
            if self._taken <= self._max_size:  # one is free: no clock is needed, connecting has its own
                return await self._pool.acquire()
            async with asyncio.timeout(_WAIT_SECONDS):  # asyncpg's own time-out makes a task each time
                return await self._pool.acquire()
        except BaseException as error:
            self._taken -= 1
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(f"no free connection to PostgreSQL within {_WAIT_SECONDS:.0f} s") from None
            if isinstance(error, OSError | asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError):
                raise DatabaseUnavailable(f"no connection to PostgreSQL: {error}") from error
            raise

    async def _give_back(self, connection: Connection) -> None:
        self._taken -= 1
        if self._pool is not None:
            await self._pool.release(connection, timeout=5)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed when the block ends, rolled back when it raises.

        Inside `unit` of the same task it is a savepoint of that transaction, which commits when the unit ends.
        """
        if (unit := self._joined()) is not None:
            planned = len(unit.acts)
            try:
                async with unit.connection.transaction():
                    yield unit.connection
            except BaseException:
                del unit.acts[planned:]  # what was to be told of has not happened
                raise
            return
        async with self._committed(joins=False) as connection:
            yield connection

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[Connection]:
        """One transaction around all that this task does through `transaction` until the block ends.

        For the edge, which stores what it answers beside the effect. What must not happen before the commit (telling
        others) goes through `after_commit`. A unit inside a unit is a savepoint of the outer one. Tasks that are
        started inside (also by gather, and by wait_for before Python 3.12) do not join: they would use one connection
        at once, and may outlive the block.
        """
        inside = self.transaction() if self._joined() is not None else self._committed(joins=True)
        async with inside as connection:
            yield connection

    @asynccontextmanager
    async def _committed(self, *, joins: bool) -> AsyncIterator[Connection]:
        async with self.acquire() as connection:
            unit = Unit(self, connection, asyncio.current_task(), joins)
            token = _unit.set(unit)
            try:
                async with connection.transaction():
                    yield connection
            finally:
                _unit.reset(token)
        for act in unit.acts:
            try:
                act()
            except Exception:  # it is committed, and the others have to be told
                _log.exception("what was to follow a commit failed")

    def _joined(self) -> Unit | None:
        """The unit around this task. Tasks that it starts inherit the variable, but have a life of their own."""
        unit = _unit.get()
        if unit is None or not unit.joins or unit.database is not self or unit.task is not asyncio.current_task():
            return None
        return unit


async def _as_it_is(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """What is done to a connection that comes back to the pool: nothing. asyncpg would ask the server once more.

    So nobody may leave anything in a session: no LISTEN, no SET without LOCAL, no advisory lock beyond its transaction.
    A transaction that was left open is ended by asyncpg all the same.
    """


class _Acquired:
    """What `acquire` gives. On the path of every request: a class costs half of what a generator does."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        if (unit := self._database._joined()) is not None:
            return unit.connection
        self._connection = await self._database._take()
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._database._give_back(self._connection)


@dataclass(slots=True)
class Unit:
    """A transaction and what follows its commit. joins: whether `transaction` inside is a part of it. Dies with its
    block."""

    database: Database
    connection: Connection
    task: asyncio.Task[object] | None
    joins: bool
    acts: list[Callable[[], None]] = field(default_factory=list)


_unit: ContextVar[Unit | None] = ContextVar("unit", default=None)


def after_commit(act: Callable[[], None]) -> None:
    """Have `act` called once what this task has written is committed: at once outside `transaction` and `unit`.

    When they are rolled back it is not called. It must not wait; what it raises is logged.
    """
    unit = _unit.get()
    if unit is None or unit.task is not asyncio.current_task():
        act()
    else:
        unit.acts.append(act)
