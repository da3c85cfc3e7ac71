"""Saying one thing to many: bounded turns of the loop, one order, joined writes, nobody twice and nobody short."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any, cast

import msgspec
import pytest

from realtime.channel import Channel
from realtime.fanout import Fanout, Outbox
from realtime.limits import Bucket
from realtime.protocol.codec import JSON, MSGPACK, Codec, Payload
from realtime.protocol.codes import CloseCode
from realtime.protocol.messages import Position, State
from realtime.rules import ChannelRules, Entry, Slice
from realtime.session import Session
from tests.support import eventually


class Wire:
    """A transport that keeps what it is given. `cost`: system calls a write."""

    def __init__(self, cost: int = 0) -> None:
        self.cost = cost
        self.writes: list[bytes] = []
        self._sink = os.open(os.devnull, os.O_WRONLY) if cost else -1

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        for _ in range(self.cost):
            os.write(self._sink, data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass


def session(wire: Wire, codec: Codec = JSON) -> Session:
    return Session(
        cast(asyncio.Transport, wire),
        codec,
        viewer="v",
        address="",
        buffer=1 << 20,
        quota=Bucket(1, 1),
        now=0.0,
        finish=lambda session, code: None,
    )


def room(fanout: Fanout, tick: float | None = None, most: float = 0.05) -> Channel:
    channel = Channel("live:x", cast(ChannelRules, None), lambda holders: Outbox(fanout, holders, tick, most))
    channel.load(Slice(Position("1", 0), []), 1000, 1 << 20)
    return channel


def say(channel: Channel, number: int) -> None:
    channel.emit(Entry(number, Payload(b"%d" % number)))


def heard(wire: Wire) -> list[int]:
    """Offsets, from JSON frames shorter than 126 bytes."""
    offsets, data, at = [], b"".join(wire.writes), 0
    while at < len(data):
        end = at + 2 + (data[at + 1] & 127)
        offsets.append(msgspec.json.decode(data[at + 2 : end])["offset"])
        at = end
    return offsets


class Turns:
    """CPU time of the thread in each turn of the fan-out: not what other processes took from us."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        real = Fanout._turn

        def timed(fanout: Fanout) -> None:
            before = time.thread_time()
            real(fanout)
            self.seconds.append(time.thread_time() - before)

        monkeypatch.setattr(Fanout, "_turn", timed)


async def test_thousands_of_holders_never_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    fanout = Fanout(0.002, clock=time.thread_time)
    channel, wire = room(fanout), Wire(cost=1)
    wires = 5000
    for number in range(wires):
        channel.add(session(wire, MSGPACK if number % 2 else JSON))
    for number in range(1, 11):
        say(channel, number)
        await asyncio.sleep(0)
    await eventually(lambda: not channel.outbox.queued)
    whole = sum(turns.seconds)
    assert whole > 0.006, "there was nothing to slice"
    assert sorted(turns.seconds)[len(turns.seconds) * 9 // 10] < 0.004
    assert len(turns.seconds) > whole / 0.004
    assert sum(data.count(b"offset") for data in wire.writes) == 10 * wires


async def test_others_have_their_turn_and_a_small_channel_does_not_wait_for_a_large_one() -> None:
    fanout = Fanout(0.001)
    large, small, sink, wire = room(fanout), room(fanout), Wire(cost=2), Wire()
    for _ in range(4000):
        large.add(session(sink))
    small.add(session(wire))
    say(large, 1)
    await asyncio.sleep(0)
    begun = len(sink.writes)
    say(small, 1)
    while not wire.writes:
        await asyncio.sleep(0)
    assert 0 < begun < len(sink.writes) < 4000
    await eventually(lambda: len(sink.writes) == 4000)


async def test_what_comes_meanwhile_is_one_write_with_the_same_bytes_to_all() -> None:
    fanout = Fanout(0.0)
    channel = room(fanout)
    wires = [Wire() for _ in range(100)]
    for wire in wires:
        channel.add(session(wire))
    say(channel, 1)
    await asyncio.sleep(0)
    for number in range(2, 30):
        say(channel, number)
    await eventually(lambda: all(len(wire.writes) == 2 for wire in wires))
    assert all(heard(wire) == list(range(1, 30)) for wire in wires)
    assert all(wire.writes[1] is wires[0].writes[1] for wire in wires)


async def test_a_tick_gathers_and_the_first_message_does_not_wait() -> None:
    now = [100.0]
    fanout = Fanout(0.002, clock=lambda: now[0])
    channel, wire = room(fanout, tick=0.5), Wire()
    channel.add(session(wire))
    say(channel, 1)
    await asyncio.sleep(0)
    assert heard(wire) == [1]
    for number in range(2, 6):
        say(channel, number)
        await asyncio.sleep(0)
    assert heard(wire) == [1]
    now[0] += 1.0
    await eventually(lambda: len(wire.writes) == 2)
    assert heard(wire) == [1, 2, 3, 4, 5]


async def test_a_joined_write_stays_small() -> None:
    fanout = Fanout(0.002)
    channel, wire = room(fanout), Wire()
    channel.add(session(wire))
    for _ in range(100):
        channel.broadcast(State(channel="live:x", data="x" * 4000))
    await eventually(lambda: not channel.outbox.queued)
    assert sum(map(len, wire.writes)) > 400_000
    assert max(map(len, wire.writes)) < 40_000


async def test_one_that_is_closed_under_our_hands_is_passed_over() -> None:
    channel = room(Fanout())
    wires = [Wire() for _ in range(20)]
    holders = [session(wire) for wire in wires]

    def closed(_: bytes) -> None:
        raise RuntimeError("the handler is closed")

    for holder in holders:
        channel.add(holder)
    for at in (0, 7, 17):
        holders[at].put = closed
    holders[18].end(CloseCode.DEAD_PEER)
    ending = b"".join(wires[18].writes)
    for number in (1, 2):
        say(channel, number)
        await eventually(lambda: not channel.outbox.queued)
    assert [heard(wire) for at, wire in enumerate(wires) if at not in (0, 7, 17, 18)] == [[1, 2]] * 16
    assert b"".join(wires[18].writes) == ending, "nothing follows the close frame"


async def test_whoever_comes_and_goes_hears_each_message_once_and_in_order() -> None:
    """Sessions come (knowing what was said), go and come again while messages are said and written."""
    chance = random.Random(7)
    fanout = Fanout(0.0)
    channel = room(fanout, tick=None, most=0.002)
    here: dict[Session, tuple[Wire, int]] = {}

    def leave(one: Session) -> None:
        channel.remove(one)
        wire, since = here.pop(one)
        got = heard(wire)
        assert got == list(range(since + 1, since + 1 + len(got)))

    for number in range(1, 200):
        for _ in range(chance.randrange(4)):
            wire = Wire()
            one = session(wire)
            channel.add(one)
            here[one] = (wire, channel.offset)
        if here and chance.random() < 0.5:
            one = chance.choice(list(here))
            leave(one)
            if chance.random() < 0.5:  # and comes back at once, on the same connection
                written = cast(Any, one)._transport = Wire()
                one.put = written.write
                channel.add(one)
                here[one] = (written, channel.offset)
        say(channel, number)
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
    await eventually(lambda: not channel.outbox.queued)
    for wire, since in here.values():
        assert heard(wire) == list(range(since + 1, 200))
        await asyncio.sleep(0)


async def test_who_has_left_hears_nothing_more_of_what_waited() -> None:
    fanout = Fanout(0.0)
    channel = room(fanout)
    wires = [Wire() for _ in range(200)]
    sessions = [session(wire) for wire in wires]
    for one in sessions:
        channel.add(one)
    say(channel, 1)
    await asyncio.sleep(0)
    unheard = [(one, wire) for one, wire in zip(sessions, wires, strict=True) if not wire.writes]
    assert unheard
    for one, _ in unheard:
        channel.remove(one)
    await eventually(lambda: not channel.outbox.queued)
    assert not any(wire.writes for _, wire in unheard)


async def test_the_backlog_is_counted_for_one_connection() -> None:
    fanout = Fanout(0.0)
    channel = room(fanout)
    for _ in range(100):
        channel.add(session(Wire()))
    channel.broadcast(State(channel="live:x", data="x" * 1000))
    channel.broadcast(State(channel="live:x", data="x" * 1000))
    assert 2000 < channel.outbox.backlog < 3000
    await eventually(lambda: not channel.outbox.queued)
    assert channel.outbox.backlog == 0
