"""One room's writing on this node: what comes while a commit is under way goes into the next one together.

A writer is made by the first change that waits and dies when none does. It hands changes on only after their commit,
in their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from server.community.chat.errors import NoSuchMessage, NotStored, NotYours
from server.community.chat.models import Author, Change, ChatMessage, Deleted, Fanout, Said, channel_of
from server.community.chat.store import ChatStore
from server.kit.problems import Problem
from storage.postgres.database import AWAY as DATABASE_AWAY
from storage.postgres.database import Connection, Database

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 200
_MOST_WAITING = 2000

AWAY = (*DATABASE_AWAY, asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)
"""What the database's absence looks like."""


@dataclass(slots=True)
class Write:
    id: UUID
    author: Author
    text: str
    at: datetime
    media_time: datetime | None
    nonce: str | None
    done: asyncio.Future[Stored] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class Erase:
    message_id: UUID
    by: UUID
    at: datetime
    any_author: bool  # the broadcast's owner and administrators
    done: asyncio.Future[Stored] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Stored:
    """A change that is on disk. `message`: as it stands now."""

    epoch: int
    offset: int
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class _Fact:
    offset: int
    change: Change
    erased: ChatMessage | None = None


Operation = Write | Erase
Outcome = Stored | Problem


class RoomWriter:
    def __init__(
        self, room_id: UUID, database: Database, store: ChatStore, fanout: Fanout, idle: Callable[[UUID], None]
    ) -> None:
        self._room_id = room_id
        self._database = database
        self._store = store
        self._fanout = fanout
        self._idle = idle
        self._waiting: deque[Operation] = deque()
        self._task: asyncio.Task[None] | None = None

    async def write(self, operation: Operation) -> Stored:
        """Returns when it is on disk and told. Raises Problem. What the caller gives up waiting for is still done."""
        if len(self._waiting) >= _MOST_WAITING:
            raise NotStored("This chat is too busy right now; try again.")
        self._waiting.append(operation)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await operation.done

    async def close(self) -> None:
        """Returns when everything that waits is dealt with."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
                await self._store_all(batch)
        finally:
            self._task = None
            self._idle(self._room_id)

    async def _store_all(self, batch: Sequence[Operation]) -> None:
        try:
            await self._commit(batch)
        except Problem as problem:  # the room is gone
            _fail(batch, problem)
        except AWAY as error:
            log.warning("%d chat changes may not be stored: %r", len(batch), error)
            _fail(batch, NotStored("The message could not be stored. Try again with the same nonce."))
        except Exception:
            if len(batch) == 1:
                log.exception("a chat change could not be stored")
                _fail(batch, NotStored("The message could not be stored."))
                return
            for operation in batch:  # one that cannot be stored is nobody else's trouble
                await self._store_all([operation])
        except BaseException:
            _fail(batch, NotStored("The server is stopping. Try again with the same nonce."))
            raise

    async def _commit(self, batch: Sequence[Operation]) -> None:
        outcomes: list[Outcome]
        async with self._database.transaction() as connection:
            epoch, offset = await self._store.lock(connection, self._room_id)
            facts, outcomes = await self._apply(connection, batch, epoch, offset)
        channel = channel_of(self._room_id)
        for number, fact in enumerate(facts):
            if number:
                await asyncio.sleep(0)  # telling one of them to a full room is enough for a turn of the loop
            erased = (fact.erased.offset, encode(Said(fact.erased))) if fact.erased is not None else None
            try:
                self._fanout.deliver(channel, str(epoch), fact.offset, encode(fact.change), erased)
            except Exception:  # it is on disk: whoever compares with the store will find it
                log.exception("a stored chat change could not be told")
        for operation, outcome in zip(batch, outcomes, strict=True):
            if operation.done.done():
                continue  # the caller has gone
            if isinstance(outcome, Problem):
                operation.done.set_exception(outcome)
            else:
                operation.done.set_result(outcome)

    async def _apply(
        self, connection: Connection, batch: Sequence[Operation], epoch: int, offset: int
    ) -> tuple[list[_Fact], list[Outcome]]:
        facts: list[_Fact] = []
        outcomes: list[Outcome] = []
        nonces = [(op.author.id, op.nonce) for op in batch if isinstance(op, Write) and op.nonce is not None]
        known = await self._store.by_nonce(connection, self._room_id, nonces) if nonces else {}
        new: list[ChatMessage] = []
        new_nonces: list[str | None] = []
        for operation in batch:
            if isinstance(operation, Write):
                key = (operation.author.id, operation.nonce) if operation.nonce is not None else None
                message = known.get(key) if key is not None else None
                if message is None:
                    offset += 1
                    message = ChatMessage(
                        id=operation.id,
                        author=operation.author,
                        text=operation.text,
                        at=operation.at,
                        media_time=operation.media_time,
                        offset=offset,
                    )
                    new.append(message)
                    new_nonces.append(operation.nonce)
                    facts.append(_Fact(offset, Said(message)))
                    if key is not None:
                        known[key] = message
                outcomes.append(Stored(epoch, message.offset, message))
                continue
            if new:  # in the order in which they came
                await self._store.add(connection, self._room_id, new, new_nonces)
                new, new_nonces = [], []
            outcome, fact = await self._erase(connection, operation, epoch, offset)
            outcomes.append(outcome)
            if fact is not None:
                offset = fact.offset
                facts.append(fact)
        if new:
            await self._store.add(connection, self._room_id, new, new_nonces)
        return facts, outcomes

    async def _erase(
        self, connection: Connection, operation: Erase, epoch: int, offset: int
    ) -> tuple[Outcome, _Fact | None]:
        message = await self._store.message(connection, self._room_id, operation.message_id)
        if message is None:
            return NoSuchMessage("There is no such message in this chat."), None
        if not operation.any_author and message.author.id != operation.by:
            return NotYours("Only its author and the broadcast's owner may delete this message."), None
        if message.deleted is True:  # once is enough
            return Stored(epoch, offset, message), None
        offset += 1
        await self._store.erase(connection, self._room_id, message.id, operation.by, operation.at, offset)
        erased = msgspec.structs.replace(message, text="", deleted=True)
        return Stored(epoch, offset, erased), _Fact(offset, Deleted(id=message.id, by=operation.by), erased)


encode = msgspec.json.Encoder().encode


def _fail(batch: Sequence[Operation], problem: Problem) -> None:
    for operation in batch:
        if not operation.done.done():
            operation.done.set_exception(problem)
