"""Who of the people that somebody follows is online: has a connection to some node, and shares it.

Every node tells presence whom it has, and the others whose standing has changed; a node asks the feature about those
alone: whose circle they are in, of the owners that look on here. So what somebody costs who follows thousands is one
question when he begins to look, then what changes. What was not told (a node that crashed, a bus that lost something)
is found by asking presence again about those who are shown, some in each round.

Owns what this node has told, and who is to be looked at in the next round; the crowds own what is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from realtime import envelopes
from realtime.envelopes import Whereabouts
from realtime.presence import Attending, Presence
from realtime.rules import Discretion
from realtime.session import Session

log = logging.getLogger(__name__)

ROOM = "online"
_STEP = 500  # sessions that are looked at in one turn of the loop
_TOLD = 1000  # ids in one envelope
_CHANGED = 2000  # people whose standing is asked about in one round
_STALE = 20  # circles that are read anew in one round
_AGAIN = 1000  # people who are asked about again in one round


class Circles(Protocol):
    """Whom people follow. Users by their ids as text."""

    async def circle(self, owner: str) -> Collection[str]:
        """Whom he follows, as many as are shown."""
        ...

    async def among(self, owners: Collection[str], people: Collection[str]) -> Collection[tuple[str, str]]:
        """Which of the owners follow which of these people, as pairs."""
        ...

    async def names(self, ids: Collection[str]) -> Mapping[str, str]:
        """Usernames; who has no account is left out."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """Of one circle: who is online and not shown, with his name; who is not online; who is, and is shown; who
    is not of the circle any more."""

    came: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    still: set[str] = field(default_factory=set)
    out: set[str] = field(default_factory=set)


class Online:
    def __init__(
        self,
        sessions: Callable[[], Iterable[Session]],
        presence: Presence,
        discretion: Discretion,
        publish: Callable[[bytes], None],
        node: str,
    ) -> None:
        """`sessions`: those of this node; `publish`: to all nodes."""
        self._sessions = sessions
        self._presence = presence
        self._discretion = discretion
        self._publish = publish
        self._node = node
        self._here: frozenset[str] = frozenset()
        self._changed: set[str] = set()
        self._again = 0
        self.stale: set[str] = set()  # owners whose circles are to be read anew

    def take(self, told: Whereabouts) -> None:
        """What another node tells."""
        if told.channel:
            self.stale.add(told.channel)
        self._changed.update(told.ids)

    def circle_changed(self, owner: str) -> None:
        """He follows somebody else now."""
        self.stale.add(owner)
        self._publish(envelopes.encode(Whereabouts(node=self._node, channel=owner, ids=[])))

    async def of(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these are online. Raises what presence raises."""
        return await self._presence.among(ROOM, ids) if ids else frozenset()

    async def tell(self) -> None:
        """Presence whom this node has, the others who has come and gone. Raises what presence and discretion raise."""
        found: set[str] = set()
        for at, session in enumerate(list(self._sessions())):
            if at % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            if session.identity is not None:
                found.add(session.member[0])
        here = frozenset(found - set(await self._discretion.hidden(found)))
        before = self._here
        if here or before:
            await self._presence.attend({ROOM: Attending(here, before - here)})
        self._here = here
        changed = sorted(before ^ self._here)
        self._changed.update(changed)
        for first in range(0, len(changed), _TOLD):
            some = changed[first : first + _TOLD]
            self._publish(envelopes.encode(Whereabouts(node=self._node, channel="", ids=some)))

    async def read(self, circles: Circles, owner: str, shown: Collection[str]) -> Changes:
        """His whole circle, when so many of it are shown. Raises what presence and the feature raise."""
        circle = set(await circles.circle(owner))
        online = await self.of(circle)
        known = set(shown)
        came = await circles.names(online - known) if online - known else {}
        return Changes(dict(came), (known & circle) - online, set(known & online), known - circle)

    async def changes(self, circles: Circles, shown: Mapping[str, Collection[str]]) -> dict[str, Changes]:
        """For the owners who look on, with whom they are shown: what is so now of those who were asked about. Raises
        what presence and the feature raise."""
        changed = {self._changed.pop() for _ in range(min(len(self._changed), _CHANGED))}
        if not shown:
            return {}
        pairs = set(await circles.among(list(shown), changed)) if changed else set()
        owners = list(shown)
        for _ in owners:
            if len(pairs) >= _AGAIN:
                break
            self._again = (self._again + 1) % len(owners)
            owner = owners[self._again]
            pairs.update((owner, id) for id in shown[owner])
        online = await self.of({id for _, id in pairs})
        news = {id for owner, id in pairs if id in online and id not in shown[owner]}
        names = await circles.names(news) if news else {}
        found: dict[str, Changes] = {}
        for owner, id in pairs:
            changes = found.setdefault(owner, Changes())
            if id not in online:
                changes.gone.add(id)
            elif id in names:
                changes.came[id] = names[id]
            else:
                changes.still.add(id)
        return found

    def due(self, owners: Collection[str]) -> list[str]:
        """Of those who look on: whose circles are read anew in this round. The others' are read when they look."""
        self.stale &= set(owners)
        some = list(self.stale)[:_STALE]
        self.stale.difference_update(some)
        return some
