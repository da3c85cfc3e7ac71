"""Who is writing in a channel just now. Nothing of it is kept longer than a few seconds.

A person who says it is shown until he says that he has stopped, his message is there, or some seconds are over. At most
once in a while, and only on a change, all others are told the names of a few and how many more there are.

Owns the typists of the open channels; the hub runs the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from realtime import envelopes
from realtime.channel import Channel
from realtime.envelopes import Typed
from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Typists as TypistsMessage
from realtime.protocol.messages import User
from realtime.rules import Action, Discretion, Identity, Refused, Unheard


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingOptions:
    seconds: float = 6.0  # who says nothing more is shown so long, s
    every: float = 1.0  # a person may say it so often in one channel, s
    tell_every: float = 1.0  # the others are told at most so often, s
    named: int = 3  # so many by name
    most: int = 100  # typists of a channel that are counted
    crowd: int = 1000  # with more connections at a channel…
    crowd_every: float = 4.0  # …the others are told at most so often, s


@dataclass(slots=True)
class _Room:
    people: dict[str, tuple[str, float]] = field(default_factory=dict)  # by id: name, until when
    shown: tuple[str, ...] = ()  # ids, as told last
    due: float = 0.0  # the others may be told again


class Typists:
    def __init__(
        self,
        channels: Mapping[str, Channel],
        publish: Callable[[str, bytes], None],
        node: str,
        options: TypingOptions,
        discretion: Discretion,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`channels`: the open ones, which change meanwhile."""
        self._channels = channels
        self._publish = publish
        self._node = node
        self._options = options
        self._discretion = discretion
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._asked: dict[tuple[str, str], float] = {}

    async def begin(self, channel: Channel, who: Identity | None) -> None:
        """Raises Refused."""
        if who is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, ErrorCode.UNAUTHENTICATED.sentence)
        id, now = str(who.user_id), self._clock()
        wait = self._asked.get((channel.name, id), -1e9) + self._options.every - now
        if wait > 0:
            raise Refused(ErrorCode.RATE_LIMITED, "That you are typing is said often enough.", wait)
        self._asked[channel.name, id] = now
        try:
            await channel.rules.authorize(who, channel.name, Action.TYPING)
        except Unheard:
            self._end(channel.name, id)
            return
        except Refused:
            self._end(channel.name, id)
            raise
        if id in await self._discretion.hidden([id]):
            self._end(channel.name, id)
        else:
            self._typed(channel.name, id, who.username, True)

    def stop(self, channel: str, who: Identity | None) -> None:
        """He has, or his message is there."""
        if who is not None and self._rooms:
            self._end(channel, str(who.user_id))

    def take(self, typed: Typed) -> None:
        """What another node tells."""
        if typed.channel in self._channels:
            self._note(typed.channel, typed.user, typed.username, typed.typing)

    async def round(self) -> None:
        if not self._rooms and not self._asked:
            return
        now, every = self._clock(), self._options.every
        for key in [key for key, at in self._asked.items() if at + every <= now]:
            del self._asked[key]
        for name, room in list(self._rooms.items()):
            channel = self._channels.get(name)
            for id in [id for id, (_, until) in room.people.items() if until <= now]:
                del room.people[id]
            if channel is None or (not room.people and not room.shown):
                del self._rooms[name]
            elif room.due <= now and tuple(room.people) != room.shown:
                crowd = channel.holders() > self._options.crowd
                room.due = now + (self._options.crowd_every if crowd else self._options.tell_every)
                room.shown = tuple(room.people)
                self._tell(channel, room)

    def _end(self, channel: str, id: str) -> None:
        room = self._rooms.get(channel)
        if room is not None and id in room.people:
            self._typed(channel, id, room.people[id][0], False)

    def _typed(self, channel: str, id: str, username: str, typing: bool) -> None:
        typed = Typed(node=self._node, channel=channel, user=id, username=username, typing=typing)
        self._publish(channel, envelopes.encode(typed))
        self._note(channel, id, username, typing)

    def _note(self, channel: str, id: str, username: str, typing: bool) -> None:
        room = self._rooms.get(channel)
        if not typing:
            if room is not None:
                room.people.pop(id, None)
            return
        if room is None:
            room = self._rooms[channel] = _Room()
        if id in room.people or len(room.people) < self._options.most:
            room.people[id] = (username, self._clock() + self._options.seconds)

    def _tell(self, channel: Channel, room: _Room) -> None:
        """Everybody the same, but each typist what the others do."""
        own = [s for s in channel.sessions() if s.identity is not None and str(s.identity.user_id) in room.people]
        message = self._message(channel.name, room, "")
        channel.outbox.put(lambda codec: codec.frame_for_all(message), but=own)
        for session in own:
            assert session.identity is not None
            session.send(self._message(channel.name, room, str(session.identity.user_id)))

    def _message(self, channel: str, room: _Room, but: str) -> TypistsMessage:
        people = [User(id, username) for id, (username, _) in room.people.items() if id != but]
        named = self._options.named
        return TypistsMessage(channel=channel, people=people[:named], more=max(0, len(people) - named))
