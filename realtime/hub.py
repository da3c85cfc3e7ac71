"""The channels of this node: subscriptions, fan-out, order.

Owns every open channel, the broker's and presence's use, and all tasks: one that looks for messages nobody told us
about, those that tell how many view, who is there and who is typing, and the short ones of recovery. All end with
`close`. Sessions come and go; the hub only holds them while they are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from realtime import envelopes
from realtime.broker import Broker
from realtime.channel import Channel
from realtime.crowds import Crowds, Everybody
from realtime.envelopes import Delivery, Gap, Reread, Revocation, StateChange, Typed, ViewerCount, Wanted, Whereabouts
from realtime.fanout import Fanout, Holders, Outbox
from realtime.online import Circles, Online
from realtime.options import HubOptions
from realtime.presence import Presence
from realtime.protocol.codec import Codec
from realtime.protocol.codes import ErrorCode, NoticeCode
from realtime.protocol.messages import Notice, Position, State, SubscribeAck
from realtime.recovery import Recovery
from realtime.rights import Rights
from realtime.rounds import every
from realtime.rules import Action, ChannelRules, Discretion, Entry, Refused
from realtime.session import Session
from realtime.typists import Typists
from realtime.viewers import ViewerCounts

log = logging.getLogger(__name__)
T = TypeVar("T")

__all__ = ["Hub", "HubOptions"]

_NODES = "nodes"  # the topic on which all nodes listen; no channel has a name without a colon that is let in
_TYPING_ROUND = 0.25  # seconds


class Hub:
    def __init__(
        self,
        broker: Broker,
        presence: Presence,
        *,
        node: str,
        options: HubOptions | None = None,
        discretion: Discretion | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._presence = presence
        self.node = node
        self._options = options or HubOptions()
        self._clock = clock
        self._rules: dict[str, ChannelRules] = {}
        self._state_heard: list[Callable[[str], None]] = []
        self._channels: dict[str, Channel] = {}
        self._fanout = Fanout(self._options.slice_seconds)
        self._sessions: dict[Codec, dict[Session, None]] = {}
        self._everybody = Outbox(self._fanout, self._sessions)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._viewers = ViewerCounts(self._channels, presence, broker.publish, node, clock)
        discretion = discretion or Everybody()
        self._online = Online(self._everyone, presence, discretion, partial(broker.publish, _NODES), node)
        self._crowds = Crowds(
            self._channels,
            presence,
            discretion,
            self._outbox,
            self._want,
            self._options.crowds,
            self._online,
            clock,
        )
        self.online = self._online.of
        self.circle_changed = self._online.circle_changed
        self._typists = Typists(self._channels, broker.publish, node, self._options.typing, discretion, clock)
        self._rights = Rights(self._channels, self._crowds, clock)
        self._recovery = Recovery(self._channels, self._own, self._begin_anew, self._options.recover_limit)
        self._look_now = asyncio.Event()
        self._doubtful = asyncio.Event()  # something that was told about rights or states may not have reached us
        self._degraded = False
        self._told_degraded = False
        self._revocations = 0
        self._closed = False
        self._figures = {"delivered": 0, "recovered": 0, "not_recovered": 0}

    # life

    def add_rules(self, prefix: str, rules: ChannelRules) -> None:
        """Channels named `prefix:…` are this feature's. Before `start`."""
        self._rules[prefix] = rules

    def add_circles(self, prefix: str, circles: Circles) -> None:
        """`prefix:{user id}` shows those whom he follows and who are online. Before `start`."""
        self._crowds.add_circles(prefix, circles)

    def on_state(self, heard: Callable[[str], None]) -> None:
        """`heard` is called with the name of each channel whose state changes, also at other nodes while it is open
        here. Before `start`."""
        self._state_heard.append(heard)

    async def start(self) -> None:
        await self._broker.start(self._receive, self._broker_status)
        self._degraded = not self._broker.connected
        await self._broker.subscribe(_NODES)
        self._own(self._look_for_missed())
        self._own(self._ask_when_doubtful())
        self._own(every(self._options.presence_seconds, self._count_viewers))
        self._own(every(self._options.presence_seconds, self._crowds.round))
        self._own(every(_TYPING_ROUND, self._typists.round))

    async def close(self) -> None:
        self._closed = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)  # one may have swallowed it, as Python 3.11's wait_for does
        await self._broker.close()
        await self._presence.close()
        self._fanout.close()
        self._channels.clear()

    def describe(self) -> dict[str, Any]:
        return {
            "sessions": sum(len(group) for group in self._sessions.values()),
            "channels": len(self._channels),
            "subscriptions": sum(channel.holders() for channel in self._channels.values()),
            "degraded": self._degraded,
            **self._figures,
            **self._recovery.describe(),
            "members": self._crowds.describe(),
            "fanout": self._fanout.describe(),
            "broker": self._broker.describe(),
            "presence": self._presence.describe(),
        }

    # sessions

    def connect(self, session: Session) -> None:
        self._sessions.setdefault(session.codec, {})[session] = None
        self._everybody.join(session)
        if self._degraded:
            session.send(Notice(code=NoticeCode.DEGRADED, message=NoticeCode.DEGRADED.sentence))

    def _everyone(self) -> Iterator[Session]:
        return (session for group in self._sessions.values() for session in group)

    def disconnect(self, session: Session) -> None:
        group = self._sessions.get(session.codec)
        if group is not None and session in group:
            del group[session]
            if not group:
                del self._sessions[session.codec]
            self._everybody.leave(session)
        for name in list(session.channels):
            self.unsubscribe(session, name)

    async def subscribe(
        self, session: Session, id: int | None, name: str, since: Position | None, *, presence: bool = False
    ) -> None:
        """Answers with the ack itself, so that nothing of the channel goes out before it. `presence`: who is there is
        told after it, and from then on. Raises Refused.
        """
        rules = self.rules_for(name)
        while True:
            revocations = self._revocations
            await rules.authorize(session.identity, name, Action.SUBSCRIBE)
            if presence:
                await rules.authorize(session.identity, name, Action.PRESENCE)
            channel = await self._open(name, rules)
            if presence:
                await self._crowds.open(channel)
            entries = await self._recovery.missed(channel, since) if since is not None else None
            if session.ended is not None:
                return
            if revocations == self._revocations and self._channels.get(name) is channel:
                break
        # nothing is awaited from here on
        if since is not None:
            self._figures["not_recovered" if entries is None else "recovered"] += 1
        recovered = entries is not None
        self._crowds.unwatch(name, session)
        if entries is None:
            entries = channel.tail.last(self._options.first_messages)
        channel.add(session)
        session.send(
            SubscribeAck(
                id=id,
                channel=name,
                epoch=channel.epoch,
                offset=channel.offset,
                recovered=recovered,
                messages=channel.items(session, entries),
                viewers=channel.viewers(),
                state=channel.state,
            )
        )
        if presence:
            self._crowds.watch(channel, session)

    def unsubscribe(self, session: Session, name: str) -> bool:
        channel = self._channels.get(name)
        if channel is None or not channel.remove(session):
            return False
        self._crowds.unwatch(name, session)
        if not channel.holders():
            channel.idle_since = self._clock()
        return True

    async def reauthorize(self, session: Session) -> None:
        """After the session's identity changed: channels it may no longer hold are closed."""
        for name in list(session.channels):
            channel = self._channels.get(name)
            if channel is not None:
                await self._rights.ask_again(channel, [session])

    def rules_for(self, name: str) -> ChannelRules:
        """Raises Refused."""
        rules = self._rules.get(name.partition(":")[0])
        if rules is None:
            raise Refused(ErrorCode.UNKNOWN_CHANNEL, ErrorCode.UNKNOWN_CHANNEL.sentence)
        return rules

    async def typing(self, session: Session, name: str, typing: bool) -> None:
        """Who holds the channel is writing there, or no more. Raises Refused."""
        channel = self._channels.get(name)
        if channel is None or not channel.holds(session):
            raise Refused(ErrorCode.NOT_SUBSCRIBED, ErrorCode.NOT_SUBSCRIBED.sentence)
        if typing:
            await self._typists.begin(channel, session.identity)
        else:
            self._typists.stop(name, session.identity)

    def wrote(self, session: Session, name: str) -> None:
        """What he was typing is there."""
        self._typists.stop(name, session.identity)

    # what the product says; none of these wait

    def deliver(self, name: str, epoch: str, entry: Entry) -> None:
        """A message that is on disk."""
        delivery = Delivery.of(self.node, name, epoch, entry)
        self._broker.publish(name, envelopes.encode(delivery))
        self._take_delivery(delivery)

    def state(self, name: str, data: Any) -> None:
        """An ephemeral fact about the channel's subject, JSON-like; the latest one is given to new subscribers."""
        change = StateChange(node=self.node, channel=name, data=msgspec.json.encode(data))
        self._broker.publish(name, envelopes.encode(change))
        self._take_state(change)

    def set_viewers(self, name: str, viewers: int | None) -> None:
        """The product's own count of viewers, told to subscribers within 2 s. None: count who holds the channel."""
        self._viewers.set(name, viewers)

    def revoke(self, name: str, code: str, message: str, *, user: str = "") -> None:
        """Close the channel's subscriptions on all nodes: everybody's, or one user's (id). `code` and `message`
        are told to them.
        """
        self._announce(Revocation(node=self.node, channel=name, code=code, message=message, user=user))

    def recheck(self, name: str) -> None:
        """Rights in this channel may have changed: ask the rules again for every subscriber, on all nodes."""
        code = ErrorCode.FORBIDDEN
        self._announce(Revocation(node=self.node, channel=name, code=code, message=code.sentence, ask=True))

    def reread(self, name: str) -> None:
        """What stood in the channel is not so any more, as after somebody was erased: no node keeps any of it."""
        self._broker.publish(name, envelopes.encode(Reread(node=self.node, channel=name)))
        self._reread(name)

    def forget(self, name: str) -> None:
        """The channel's subject is over: keep nothing for it that subscribers do not hold."""
        self._viewers.forget(name)

    def crowded(self, name: str) -> bool:
        """Whether more has been said in the channel than can be written to those who hold it here."""
        channel = self._channels.get(name)
        return channel is not None and channel.outbox.backlog > self._options.crowded_bytes

    # what the product asks

    def holders(self, name: str) -> int:
        """Connections on this node that hold the channel."""
        channel = self._channels.get(name)
        return channel.holders() if channel else 0

    def viewers(self, name: str) -> frozenset[str]:
        """Keys of the viewers who held the channel lately, over all nodes as far as presence was read (every 2 s)."""
        channel = self._channels.get(name)
        if channel is None:
            return frozenset()
        return channel.present | channel.viewer_keys() | channel.newcomers

    # messages from anywhere

    def _receive(self, topic: str, payload: bytes) -> None:
        try:
            envelope = envelopes.decode(payload)
        except msgspec.MsgspecError:
            log.warning("another node speaks a language we do not know, on %s", topic)
            return
        if envelope.node == self.node:
            return
        match envelope:
            case Delivery():
                self._take_delivery(envelope)
            case StateChange():
                self._take_state(envelope)
            case ViewerCount():
                self._viewers.take(envelope)
            case Wanted():
                self._crowds.wanted(envelope.channel)
            case Typed():
                self._typists.take(envelope)
            case Whereabouts():
                self._online.take(envelope)
            case Revocation():
                self._take_revocation(envelope)
            case Reread():
                self._reread(envelope.channel)
            case Gap():
                self._crowds.stale()
                self._look_now.set()
                self._doubtful.set()

    def _take_delivery(self, delivery: Delivery) -> None:
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return
        if not channel.ready:
            channel.behind = True
            return
        entry = delivery.entry()
        self._figures["delivered"] += 1
        if delivery.epoch != channel.epoch:
            self._recovery.catch_up(channel)
        elif not channel.take(entry):
            self._recovery.catch_up(channel, self._options.hole_patience)

    def _take_state(self, change: StateChange) -> None:
        for heard in self._state_heard:
            heard(change.channel)
        channel = self._channels.get(change.channel)
        if channel is not None:
            channel.state = msgspec.json.decode(change.data)
            channel.broadcast(State(channel=change.channel, data=channel.state))

    def _announce(self, revocation: Revocation) -> None:
        self._broker.publish(revocation.channel, envelopes.encode(revocation))
        self._take_revocation(revocation)

    def _take_revocation(self, revocation: Revocation) -> None:
        self._revocations += 1
        channel = self._channels.get(revocation.channel)
        if channel is None:
            return
        sessions = channel.sessions()
        if revocation.user:
            sessions = [s for s in sessions if s.identity is not None and str(s.identity.user_id) == revocation.user]
        if revocation.ask:
            self._own(self._rights.ask_again(channel, sessions))
            return
        self._rights.close_all(channel, sessions, revocation.code, revocation.message)

    # opening

    def _reread(self, name: str) -> None:
        channel = self._channels.get(name)
        if channel is not None:
            channel.behind = True  # if it is just being opened
            if channel.ready:
                channel.rereading = self._own(channel.reread(self._options.tail_entries, self._options.tail_bytes))
            self._look_now.set()  # the deed itself may have left changes that nobody told

    async def _open(self, name: str, rules: ChannelRules) -> Channel:
        if self._closed:
            raise Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, rules, self._outbox(name))
            channel.idle_since = self._clock()
            channel.opening = self._own(self._load(channel))
        if not channel.ready:
            assert channel.opening is not None
            await asyncio.wait([channel.opening])
            if not channel.ready:
                raise Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
        if channel.rereading is not None:
            await asyncio.wait([channel.rereading])
        return channel

    def _outbox(self, name: str) -> Callable[[Holders], Outbox]:
        options = self._options
        tick = options.ticks.get(name.partition(":")[0])
        return lambda holders: Outbox(self._fanout, holders, tick, options.busy_tick)

    async def _load(self, channel: Channel) -> None:
        options = self._options
        try:
            await self._broker.subscribe(channel.name)
            state = await channel.rules.state(channel.name)
            if channel.state is None:
                channel.state = state
            history = await channel.rules.history(channel.name, None, options.tail_entries)
            counted = self._viewers.of(channel.name)
            channel.counted = channel.counted if counted is None else counted
            channel.load(history, options.tail_entries, options.tail_bytes)
            if channel.behind:
                self._recovery.catch_up(channel)
        except Exception as error:
            log.warning("cannot open %s: %r", channel.name, error)
        finally:
            if not channel.ready:
                self._channels.pop(channel.name, None)
                if not self._closed:
                    await self._let_go(channel.name)

    def _begin_anew(self, channel: Channel) -> None:
        self._channels.pop(channel.name, None)
        code = ErrorCode.HISTORY_DISCARDED
        self._rights.close_all(channel, channel.sessions(), code, code.sentence)
        self._own(self._let_go(channel.name))

    # the tasks

    def _broker_status(self, connected: bool) -> None:
        if self._degraded is connected and not self._closed:
            self._degraded = not connected
            self._crowds.stale()
            self._look_now.set()
            self._doubtful.set()
            if connected:  # what we said meanwhile is lost to the others
                self._broker.publish(_NODES, envelopes.encode(Gap(node=self.node, channel="")))
            else:
                self._told_degraded = True
                self._tell_everybody(NoticeCode.DEGRADED)

    async def _ask_when_doubtful(self) -> None:
        """After a gap, and again and again while the bus is gone: rights may be lost and states changed unheard."""
        while True:
            await self._doubtful.wait()
            self._doubtful.clear()
            try:
                answered = await self._rights.ask_everybody()
                await self._read_states()
            except Exception as error:
                log.warning("cannot ask for rights and states again: %r", error)
                answered = False
            if self._degraded or not answered:
                self._doubtful.set()
            await asyncio.sleep(self._options.doubt_seconds)

    async def _read_states(self) -> None:
        for channel in [channel for channel in self._channels.values() if channel.ready]:
            before = channel.state
            state = await channel.rules.state(channel.name)
            if channel.state is before and state != before:
                channel.state = state
                channel.broadcast(State(channel=channel.name, data=state))

    async def _look_for_missed(self) -> None:
        """A message may be on disk that nobody told us about: its node died, or the broker was gone. Compare with
        the store.
        """
        self._told_degraded = self._degraded
        failing = False
        while True:
            seconds = self._options.check_seconds_degraded if self._degraded else self._options.check_seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._look_now.wait()
            self._look_now.clear()
            degraded = self._degraded
            try:
                await self._compare_heads()
            except Exception as error:
                log.log(logging.DEBUG if failing else logging.WARNING, "cannot compare channels: %r", error)
                failing = True
                continue
            failing = False
            if self._told_degraded and not degraded and not self._degraded:
                self._told_degraded = False
                self._tell_everybody(NoticeCode.RESTORED)

    async def _compare_heads(self) -> None:
        by_prefix: dict[str, list[str]] = {}
        for channel in self._channels.values():
            if channel.ready:
                by_prefix.setdefault(channel.name.partition(":")[0], []).append(channel.name)
        fills: list[asyncio.Task[Any]] = []
        for prefix, names in by_prefix.items():
            heads = await self._rules[prefix].heads(names)
            for name in names:
                found, head = self._channels.get(name), heads.get(name)
                if found is None or not found.ready:
                    continue
                if head is None:  # its subject is gone
                    fills.append(self._own(self._rights.ask_again(found, found.sessions())))
                elif head.epoch != found.epoch or head.offset > found.offset:
                    fills.append(self._recovery.catch_up(found))
        if fills:
            await asyncio.wait(fills, timeout=self._options.check_seconds)

    async def _count_viewers(self) -> None:
        await self._viewers.round()
        self._drop_idle()

    def _drop_idle(self) -> None:
        limit = self._clock() - self._options.idle_seconds
        for channel in [c for c in self._channels.values() if c.ready and not c.holders() and c.idle_since <= limit]:
            del self._channels[channel.name]
            self._own(self._let_go(channel.name))

    def _want(self, name: str) -> None:
        self._broker.publish(name, envelopes.encode(Wanted(node=self.node, channel=name)))

    def _tell_everybody(self, code: NoticeCode) -> None:
        notice = Notice(code=code, message=code.sentence)
        self._everybody.put(lambda codec: codec.frame_for_all(notice))

    async def _let_go(self, name: str) -> None:
        if name not in self._channels:  # else somebody came back meanwhile
            await self._broker.unsubscribe(name)

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the hub failed", exc_info=error)
