"""Who is not to be named to others as being here. Implements realtime.rules.Discretion.

Owns what it has read of people's privacy: for as long as nothing says that it has changed, and half a minute at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Protocol
from uuid import UUID

log = logging.getLogger(__name__)

SECONDS = 30.0
MOST = 50_000
_BATCH = 500


class Choice(Protocol):
    @property
    def show_online(self) -> bool: ...


class Privacy(Protocol):
    async def privacy_of(self, ids: Collection[UUID], /) -> Mapping[UUID, Choice]:
        """All ids are in it."""
        ...


class Discretion:
    def __init__(self, privacy: Privacy, clock: Callable[[], float] = time.monotonic) -> None:
        self._privacy = privacy
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # until when, whether hidden

    async def hidden(self, ids: Collection[str]) -> frozenset[str]:
        now = self._clock()
        hidden: set[str] = set()
        missing: list[str] = []
        for at, id in enumerate(ids):
            if at % _BATCH == _BATCH - 1:  # thousands may be asked about: others have their turn
                await asyncio.sleep(0)
            known = self._known.get(id)
            if known is None or known[0] <= now:
                missing.append(id)
            elif known[1]:
                hidden.add(id)
        for first in range(0, len(missing), _BATCH):
            some = missing[first : first + _BATCH]
            try:
                found = await self._privacy.privacy_of([UUID(id) for id in some])
            except Exception as error:  # what was known of somebody still holds; of whom nothing is known is not named
                log.warning("it cannot be asked who wants to be named: %s", error)
                hidden.update(id for id in some if id not in self._known or self._known[id][1])
                continue
            for id in some:
                hides = not found[UUID(id)].show_online
                self._known[id] = (now + SECONDS, hides)
                self._known.move_to_end(id)
                if hides:
                    hidden.add(id)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return frozenset(hidden)

    def forget(self, ids: Collection[UUID]) -> None:
        """Something about these accounts has changed, here or at another process."""
        for id in ids:
            self._known.pop(str(id), None)
