"""Who is behind an id, for lists and messages: read often, changed rarely.

People owns a memory of what was looked up. An entry is good for some seconds, so a name that another process changed
shows here that late; what this process changed is forgotten at once. The memory is bounded and dies with the process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from uuid import UUID

from server.identity import store
from server.identity.models import Person
from storage.postgres import Database

SECONDS = 2.0
MOST = 20_000


class People:
    def __init__(
        self,
        database: Database,
        *,
        seconds: float = SECONDS,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._known: OrderedDict[UUID, tuple[float, Person]] = OrderedDict()

    async def get(self, ids: Collection[UUID]) -> dict[UUID, Person]:
        """Those of these ids that are accounts. One query, or none."""
        moment = self._clock()
        found: dict[UUID, Person] = {}
        missing: set[UUID] = set()
        for id in ids:
            known = self._known.get(id)
            if known is not None and known[0] > moment:
                found[id] = known[1]
            else:
                missing.add(id)
        if missing:
            async with self._database.acquire() as connection:
                for person in await store.people(connection, missing):
                    found[person.id] = person
                    self._known[person.id] = (moment + self._seconds, person)
                    self._known.move_to_end(person.id)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return found

    def forget(self, id: UUID) -> None:
        """His name has changed, or he is gone."""
        self._known.pop(id, None)
