"""Who is in a channel, by name, for those who asked for it.

A crowd is kept for a channel while somebody looks at it, at this node or another (which says so on the bus); a channel
that nobody looks at costs nothing. Once a round every node tells presence who of its own is there and reads who is
there at all; what has changed goes out as one message. Somebody is told to have left when he was missing for a few
rounds, so a page that is loaded again, a node that takes long to answer and a Redis that begins empty are no leaves.

Owns the crowds and nothing that waits: the hub runs the rounds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.channel import Channel
from realtime.fanout import Holders, Outbox
from realtime.online import Changes, Circles, Online
from realtime.presence import Attendance, Attending, Presence
from realtime.protocol.codec import Codec
from realtime.protocol.messages import Members, MembersClosed, User
from realtime.rules import Discretion
from realtime.session import Session

log = logging.getLogger(__name__)

_STEP = 500  # sessions or people that are looked at in one turn of the loop
_READ_SECONDS = 3.0  # the first look at a crowd waits no longer for presence


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdOptions:
    most: int = 200  # with more people in a channel they are counted and sampled, not named
    sample: int = 20
    leave_seconds: float = 6.0  # who is missing so long has left, s
    doubt_seconds: float = 20.0  # after presence did not answer nobody leaves for so long, s
    wanted_seconds: float = 10.0  # a crowd that another node asked for is kept so long, s


class Crowd:
    """`people`: by id, as those who look know them; empty while sampled."""

    def __init__(self, outbox: Callable[[Holders], Outbox]) -> None:
        self.people: dict[str, str] = {}
        self.sample: dict[str, str] = {}
        self.count = 0
        self.sampled = False
        self.wanted_until = 0.0
        self.missing: dict[str, float] = {}  # since when
        self.told: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())  # people, others; to presence
        self._watchers: dict[Codec, dict[Session, None]] = {}
        self._outbox = outbox(self._watchers)

    def watch(self, session: Session) -> None:
        self._watchers.setdefault(session.codec, {})[session] = None
        self._outbox.join(session)

    def unwatch(self, session: Session) -> bool:
        group = self._watchers.get(session.codec)
        if group is None or session not in group:
            return False
        del group[session]
        if not group:
            del self._watchers[session.codec]
        self._outbox.leave(session)
        return True

    def watched(self) -> bool:
        return bool(self._watchers)

    def watches(self, session: Session) -> bool:
        return session in self._watchers.get(session.codec, ())

    def snapshot(self, channel: str) -> Members:
        people = self.sample if self.sampled else self.people
        return Members(channel=channel, count=self.count, people=_users(people.items()), sampled=self.sampled)

    def say(self, message: Members) -> None:
        self._outbox.put(lambda codec: codec.frame_for_all(message))


class Crowds:
    def __init__(
        self,
        channels: Mapping[str, Channel],
        presence: Presence,
        discretion: Discretion,
        outbox: Callable[[str], Callable[[Holders], Outbox]],
        want: Callable[[str], None],
        options: CrowdOptions,
        online: Online,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`channels`: the open ones, which change meanwhile. `outbox`: makes the one of a channel. `want`: tells the
        other nodes that a crowd is looked at."""
        self._channels = channels
        self._presence = presence
        self._discretion = discretion
        self._outbox = outbox
        self._want = want
        self._options = options
        self._clock = clock
        self._online = online
        self._circles: dict[str, Circles] = {}
        self._crowds: dict[str, Crowd] = {}
        self._doubt_until = 0.0
        self._alone = False  # presence does not answer
        self._alone_online = False
        self._online_doubt = 0.0

    def describe(self) -> dict[str, Any]:
        return {"crowds": len(self._crowds), "named": sum(len(crowd.people) for crowd in self._crowds.values())}

    def add_circles(self, prefix: str, circles: Circles) -> None:
        """In `prefix:{user id}` those are shown whom he follows and who are online, not who holds the channel."""
        self._circles[prefix] = circles

    def stale(self) -> None:
        """Something that other nodes told may have been lost."""
        self._online.stale.update(name.partition(":")[2] for name in self._crowds if self._circle(name) is not None)

    # who looks

    async def open(self, channel: Channel) -> None:
        """Before the first `watch`: know who is there."""
        crowd = self._crowds.get(channel.name)
        if crowd is None or not (crowd.watched() or crowd.wanted_until > self._clock()):
            self._of(channel.name)
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    circle = self._circle(channel.name)
                    if circle is not None:
                        await self._read(channel.name, circle)
                    else:
                        self._want(channel.name)
                        await self._look([channel])
            except Exception as error:
                log.warning("who is in %s is told later: %r", channel.name, error)
                self.stale()

    def watch(self, channel: Channel, session: Session) -> None:
        """The session holds the channel; it is told who is there, and every change from now on."""
        crowd = self._of(channel.name)
        crowd.watch(session)
        session.send(crowd.snapshot(channel.name))

    def unwatch(self, channel: str, session: Session) -> None:
        crowd = self._crowds.get(channel)
        if crowd is not None:
            crowd.unwatch(session)

    def watches(self, channel: str, session: Session) -> bool:
        crowd = self._crowds.get(channel)
        return crowd is not None and crowd.watches(session)

    def close(self, channel: str, session: Session, code: str, message: str) -> None:
        """A right was lost."""
        crowd = self._crowds.get(channel)
        if crowd is not None and crowd.unwatch(session):
            session.send(MembersClosed(channel=channel, code=code, message=message))

    def wanted(self, channel: str) -> None:
        """Another node looks at it."""
        if channel in self._channels:
            self._of(channel).wanted_until = self._clock() + self._options.wanted_seconds

    # the rounds

    async def round(self) -> None:
        looked_at: list[Channel] = []
        circles: dict[str, dict[str, Crowd]] = {}
        now = self._clock()
        for name, crowd in list(self._crowds.items()):
            channel = self._channels.get(name)
            if crowd.watched() and channel is not None:
                if self._circle(name) is None:
                    self._want(name)
            elif channel is None or crowd.wanted_until <= now:
                await self._withdraw(name)
                continue
            prefix, _, owner = name.partition(":")
            if prefix in self._circles:
                circles.setdefault(prefix, {})[owner] = crowd
            elif channel.ready:
                looked_at.append(channel)
        if looked_at:
            await self._look(looked_at)
        if self._circles:
            await self._look_round(circles)

    async def _look(self, channels: Collection[Channel]) -> None:
        here: dict[str, tuple[dict[str, str], set[str]]] = {}
        for channel in channels:
            here[channel.name] = await _present(channel)
            await asyncio.sleep(0)
        hidden = await self._hidden({id for people, _ in here.values() for id in people})
        rooms: dict[str, Attending] = {}
        for name, (people, others) in here.items():
            told, told_others = self._of(name).told
            for id in hidden & people.keys():  # counts, and has no name
                del people[id]
                others.add(f"user {id}")
            keys, unnamed = frozenset(people.values()), frozenset(others)
            options = self._options
            rooms[f"people {name}"] = Attending(keys, told - keys, options.most, options.sample)
            rooms[f"others {name}"] = Attending(unnamed, told_others - unnamed)
            await asyncio.sleep(0)
        answers = await self._ask(rooms)
        for name, (people, _) in here.items():
            crowd = self._crowds.get(name)
            if crowd is None or (answers is None and crowd.sampled):
                continue
            keys, unnamed = rooms[f"people {name}"].here, rooms[f"others {name}"].here
            if answers is not None:
                crowd.told = (keys, unnamed)
                there, count = answers[f"people {name}"], answers[f"others {name}"].count
            else:  # as far as this node knows: nobody leaves, who comes here is seen
                there = Attendance(max(len(keys), len(crowd.people)), keys)
                count = len(unnamed)
            self._tell(name, crowd, people, there, count, hidden)
            await asyncio.sleep(0)

    def _tell(
        self, name: str, crowd: Crowd, here: dict[str, str], there: Attendance, unnamed: int, hidden: Collection[str]
    ) -> None:
        """`here`: `id username` by id."""
        now = self._clock()
        found = _names(there.keys)
        if there.count > self._options.most:
            count = there.count + unnamed
            begins, changed = not crowd.sampled, count != crowd.count
            crowd.sampled, crowd.sample, crowd.people, crowd.missing = True, found, {}, {}
            crowd.count = count
            if begins:
                crowd.say(crowd.snapshot(name))
            elif changed:
                crowd.say(Members(channel=name, count=count, sampled=True))
            return
        found |= _names(here.values())
        if crowd.sampled:
            crowd.sampled, crowd.sample, crowd.people = False, {}, found
            crowd.count = len(found) + unnamed
            crowd.say(crowd.snapshot(name))
            return
        joined = {id: username for id, username in found.items() if crowd.people.get(id) != username}
        doubt = self._alone or now < self._doubt_until
        left = []
        for id in crowd.people.keys() - found.keys():
            since = crowd.missing.setdefault(id, now)
            if id in hidden or (not doubt and now - since >= self._options.leave_seconds):
                left.append(id)
            elif doubt:
                crowd.missing[id] = now
        for id in found.keys() & crowd.missing.keys():
            del crowd.missing[id]
        for id in left:
            del crowd.people[id]
            crowd.missing.pop(id, None)
        crowd.people |= joined
        count = len(crowd.people) + unnamed
        if joined or left or count != crowd.count:
            crowd.count = count
            crowd.say(Members(channel=name, count=count, joined=_users(joined.items()), left=left))

    # circles

    def _circle(self, name: str) -> Circles | None:
        return self._circles.get(name.partition(":")[0])

    async def _look_round(self, watched: Mapping[str, Mapping[str, Crowd]]) -> None:
        try:
            await self._online.tell()
            for prefix, circles in self._circles.items():
                crowds = watched.get(prefix, {})
                for owner in self._online.due(crowds):
                    await self._read(f"{prefix}:{owner}", circles)
                shown = {owner: crowd.people for owner, crowd in crowds.items()}
                for owner, changes in (await self._online.changes(circles, shown)).items():
                    self._show(f"{prefix}:{owner}", crowds[owner], changes)
            self._alone_online = False
        except Exception as error:
            if not self._alone_online:
                log.warning("it cannot be told who is online: %s", error)
            self._alone_online = True
            self._online_doubt = self._clock() + self._options.doubt_seconds
            self.stale()

    async def _read(self, name: str, circles: Circles) -> None:
        crowd = self._of(name)
        self._show(name, crowd, await self._online.read(circles, name.partition(":")[2], crowd.people))

    def _show(self, name: str, crowd: Crowd, changes: Changes) -> None:
        now = self._clock()
        left = [id for id in changes.out if id in crowd.people]
        for id in changes.gone:
            if id in crowd.people:
                since = crowd.missing.setdefault(id, now)
                if now - since >= self._options.leave_seconds and now >= self._online_doubt:
                    left.append(id)
        for id in crowd.missing.keys() & (changes.still | changes.came.keys()):
            del crowd.missing[id]
        for id in left:
            del crowd.people[id]
            crowd.missing.pop(id, None)
        joined = {id: username for id, username in changes.came.items() if crowd.people.get(id) != username}
        crowd.people |= joined
        crowd.count = len(crowd.people)
        if joined or left:
            crowd.say(Members(channel=name, count=crowd.count, joined=_users(joined.items()), left=left))

    async def _ask(self, rooms: Mapping[str, Attending]) -> dict[str, Attendance] | None:
        try:
            answers = await self._presence.attend(rooms)
        except Exception as error:
            if not self._alone:
                log.warning("who is at other nodes cannot be told: %s", error)
            self._alone = True
            return None
        if self._alone:
            self._alone = False
            self._doubt_until = self._clock() + self._options.doubt_seconds
        return answers

    async def _hidden(self, ids: Collection[str]) -> Collection[str]:
        try:
            return frozenset(await self._discretion.hidden(ids)) if ids else frozenset()
        except Exception as error:  # who cannot be asked about is not named
            log.warning("it cannot be asked who wants to be named: %s", error)
            return frozenset(ids)

    async def _withdraw(self, name: str) -> None:
        """Nobody looks any more: forget it, here and in presence."""
        crowd = self._crowds.pop(name)
        people, others = crowd.told
        if people or others:
            await self._ask(
                {f"people {name}": Attending(frozenset(), people), f"others {name}": Attending(frozenset(), others)}
            )

    def _of(self, name: str) -> Crowd:
        crowd = self._crowds.get(name)
        if crowd is None:
            crowd = self._crowds[name] = Crowd(self._outbox(name))
            crowd.wanted_until = self._clock() + self._options.wanted_seconds
        return crowd


class Everybody:
    """A Discretion without secrets."""

    async def hidden(self, ids: Collection[str]) -> Collection[str]:
        return ()


async def _present(channel: Channel) -> tuple[dict[str, str], set[str]]:
    """`id username` of people by id, and the keys of guests, as they hold the channel here."""
    people: dict[str, str] = {}
    guests: set[str] = set()
    for at, session in enumerate(channel.sessions()):
        if at % _STEP == _STEP - 1:
            await asyncio.sleep(0)
        if session.identity is not None:
            id, key = session.member
            people[id] = key
        else:
            guests.add(f"guest {session.viewer}")
    return people, guests


def _names(keys: Iterable[str]) -> dict[str, str]:
    return dict(key.split(" ", 1) for key in keys if " " in key)


def _users(people: Iterable[tuple[str, str]]) -> list[User]:
    return [User(id, username) for id, username in people]
