"""Keys that have been checked, and when they were used.

Checked owns what it remembers, bounded: the key that was used longest ago goes first. Each second all of them are read
again in one query, so that a key that was deleted or has another scope, and an account that was disabled or has other
roles, counts everywhere within two seconds, at no cost to requests. While the database is away nobody can change them,
and checked keys stay good, as checked tokens do. When a key was last used is written at most once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from server.identity.access.roles import permissions_of
from server.identity.apikeys import store
from server.identity.apikeys.store import Held
from server.kit.auth import Caller
from storage.postgres import Database

_log = logging.getLogger(__name__)

REMEMBERED = 10_000
_ROUND_SECONDS = 1.0
_WRITTEN_EVERY = 60.0
_UNUSED_SECONDS = 120.0


@dataclass(slots=True)
class _Known:
    caller: Caller
    expires: float  # seconds since 1970
    used: float  # the same
    written: float = 0.0


class Checked:
    def __init__(self, database: Database, *, remembered: int = REMEMBERED) -> None:
        self._database = database
        self._limit = remembered
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._watch: asyncio.Task[None] | None = None
        self._failed = False

    async def start(self) -> None:
        self._watch = asyncio.create_task(self.run(), name="api keys")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            try:
                await self.renew()
                await self.write(every=_WRITTEN_EVERY)
                self._failed = False
            except Exception as error:
                if not self._failed:
                    _log.warning("API keys cannot be read again: %s: %s", type(error).__name__, error)
                self._failed = True

    async def close(self) -> None:
        """What was used since it was last written is written now, if the database answers."""
        if self._watch is None:
            return
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        self._watch = None
        try:
            await asyncio.wait_for(self.write(every=0.0), 5)
        except Exception as error:
            _log.warning("the last uses of API keys could not be written: %s", error or type(error).__name__)

    def describe(self) -> dict[str, object]:
        return {"remembered": len(self._known)}

    def find(self, digest: bytes) -> Caller | None:
        """The caller, while the key is known and good."""
        known = self._known.get(digest)
        if known is None:
            return None
        moment = time.time()
        if known.expires <= moment:
            del self._known[digest]
            return None
        known.used = moment
        self._known.move_to_end(digest)
        return known.caller

    def remember(self, digest: bytes, held: Held) -> Caller:
        known = _Known(caller_of(held), _expires(held), time.time())
        self._known[digest] = known
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return known.caller

    def forget(self, ids: set[UUID]) -> None:
        """These keys are no more."""
        for digest in [digest for digest, known in self._known.items() if known.caller.session_id in ids]:
            del self._known[digest]

    async def renew(self) -> None:
        """Read all that is remembered again; drop what is not good any more, or has not been used for a while."""
        before = time.time() - _UNUSED_SECONDS
        asked = {digest: known for digest, known in self._known.items() if known.used >= before}
        idle = [digest for digest, known in self._known.items() if known.used < before]
        if idle:
            await self.write(every=0.0)
            for digest in idle:
                self._known.pop(digest, None)
        if not asked:
            return
        async with self._database.acquire() as connection:
            there = await store.by_ids(connection, {known.caller.session_id for known in asked.values()})
        for digest, known in asked.items():
            held = there.get(known.caller.session_id)
            if held is None or not is_good(held):
                self._known.pop(digest, None)
            else:
                known.caller, known.expires = caller_of(held), _expires(held)

    async def write(self, *, every: float) -> None:
        """Write when keys were used, of those of which it was not written for `every` seconds."""
        moment = time.time()
        due = [
            known for known in self._known.values() if known.used > known.written and moment - known.written >= every
        ]
        if not due:
            return
        moments = {known.caller.session_id: datetime.fromtimestamp(known.used, UTC) for known in due}
        async with self._database.transaction() as connection:
            await store.used(connection, moments)
        for known in due:
            known.written = moment


def is_good(held: Held) -> bool:
    return not held.disabled and _expires(held) > time.time()


def caller_of(held: Held) -> Caller:
    return Caller(
        held.user_id,
        held.username,
        held.roles,
        held.id,
        permissions=permissions_of(held.roles),
        scopes=held.scopes,
        tier=held.tier,
    )


def _expires(held: Held) -> float:
    return float("inf") if held.expires_at is None else held.expires_at.timestamp()
