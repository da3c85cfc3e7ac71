"""One room's writing on this node: what comes while a commit is under way goes into the next one together.

A writer is made by the first change that waits and dies when none does. It hands changes on only after their commit,
in their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from server.community.chat.errors import NotStored
from server.community.chat.mode import Mode
from server.community.chat.models import channel_of, staff_channel_of
from server.community.chat.recall import Known
from server.community.chat.rules_store import Standing
from server.community.chat.turn import Operation, Parts, Stored, Turn, everybody
from server.community.chat.view import PUBLIC, STAFF, entry
from server.community.chat.writing import Write
from server.kit.problems import Problem
from storage.postgres.database import AWAY as DATABASE_AWAY

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 200
_MOST_WAITING = 2000
_PLAIN = Mode()

AWAY = (*DATABASE_AWAY, asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)
"""What the database's absence looks like."""

Outcome = Stored | Problem


class RoomWriter:
    def __init__(
        self,
        room_id: UUID,
        owner_id: UUID,
        parts: Parts,
        *,
        told: Callable[[Turn], None],
        idle: Callable[[UUID], None],
    ) -> None:
        """told: called once a turn is committed and its changes are handed on. idle: called when nothing waits."""
        self._room_id = room_id
        self._owner_id = owner_id
        self._parts = parts
        self._told = told
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
        turn, outcomes = await self._from_memory(batch) or await self._from_the_database(batch)
        await self._tell(turn)
        for operation, outcome in zip(batch, outcomes, strict=True):
            if operation.done.done():
                continue  # the caller has gone
            if isinstance(outcome, Problem):
                operation.done.set_exception(outcome)
            else:
                operation.done.set_result(outcome)

    async def _from_memory(self, batch: Sequence[Operation]) -> tuple[Turn, list[Outcome]] | None:
        """Plain messages, written by one statement if the room is as this process left it. None: nothing was done."""
        parts = self._parts
        known = parts.recall.of(self._room_id)
        if known is None or not known.alone or known.room.mode != _PLAIN:
            return None
        if not all(isinstance(op, Write) and op.reply_to is None for op in batch):
            return None
        authors = everybody(batch)
        standing = Standing(moderators=authors & known.moderators)
        async with parts.database.acquire() as connection:
            turn = Turn(parts, connection, self._room_id, self._owner_id, known.room, standing, {}, known.rules)
            outcomes = await _apply(batch, turn)
            if not turn.rows or not await turn.append(known.room, authors, known.rules):
                return None
        parts.recall.keep(self._room_id, replace(known, room=turn.room))
        return turn, outcomes

    async def _from_the_database(self, batch: Sequence[Operation]) -> tuple[Turn, list[Outcome]]:
        parts = self._parts
        before = parts.recall.of(self._room_id)
        authors = everybody(batch)
        async with parts.database.transaction() as connection:
            room = await parts.store.lock(connection, self._room_id, self._owner_id)
            nonces = [(op.actor.user_id, op.nonce) for op in batch if isinstance(op, Write) and op.nonce is not None]
            known = await parts.store.by_nonce(connection, self._room_id, nonces) if nonces else {}
            standing = await parts.rules.standing(connection, self._owner_id, authors)
            turn = Turn(parts, connection, self._room_id, self._owner_id, room, standing, known)
            outcomes = await _apply(batch, turn)
            if turn.room.mode == _PLAIN:
                await turn.words()  # for the turns after it
            await turn.finish()
        if turn.rules is not None:
            others = before.moderators - authors if before is not None else frozenset()
            alone = before is None or before.room.offset == room.offset
            moderators = others | turn.standing.moderators
            parts.recall.keep(self._room_id, Known(turn.room, moderators, turn.rules, alone))
        else:
            parts.recall.drop(self._room_id)
        return turn, outcomes

    async def _tell(self, turn: Turn) -> None:
        epoch = str(turn.room.epoch)
        for number, row in enumerate(turn.rows):
            if number:
                await asyncio.sleep(0)  # telling one of them to a full room is enough for a turn of the loop
            for channel, viewer in ((channel_of(self._room_id), PUBLIC), (staff_channel_of(self._room_id), STAFF)):
                try:
                    self._parts.fanout.deliver(channel, epoch, entry(row, viewer))
                except Exception:  # it is on disk: whoever compares with the store will find it
                    log.exception("a stored chat change could not be told")
        self._told(turn)


async def _apply(batch: Sequence[Operation], turn: Turn) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for operation in batch:
        try:
            outcomes.append(await operation.apply(turn))
        except Problem as problem:
            outcomes.append(problem)
    return outcomes


def _fail(batch: Sequence[Operation], problem: Problem) -> None:
    for operation in batch:
        if not operation.done.done():
            operation.done.set_exception(problem)
