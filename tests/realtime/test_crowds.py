"""Ten thousand named people in one channel: a round of who is there never holds the loop."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from realtime.channel import Channel
from realtime.crowds import CrowdOptions, Crowds, Everybody
from realtime.fanout import Fanout, Outbox
from realtime.online import Online
from realtime.presence import Presence
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from realtime.protocol.messages import Position
from realtime.rules import ChannelRules, Slice
from tests.realtime.stage import Someone
from tests.realtime.test_fanout import Wire, session

PEOPLE = 10_000
MOST = 0.006
"""Seconds of the thread that one step may take on a machine that does much else; on a quiet one it is a third."""


@contextmanager
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What each step of the loop takes of the thread's time, not of what other programs do meanwhile."""
    took: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        run(handle)
        took.append(time.thread_time() - before)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.Handle, "_run", timed)
        yield took


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_ten_thousand_people_never_hold_the_loop(
    kind: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.get_running_loop().set_debug(False)  # everything takes several times as long under it
    presence: Presence = MemoryPresence() if kind == "memory" else RedisPresence(redis_url, linger=1.5)
    fanout = Fanout()
    channels: dict[str, Channel] = {}
    channel = Channel("live:x", cast(ChannelRules, None), lambda holders: Outbox(fanout, holders))
    channel.load(Slice(Position("1", 0), []), 10, 1 << 20)
    channels[channel.name] = channel
    online = Online(lambda: (), presence, Everybody(), lambda _: None, "a")
    crowds = Crowds(
        channels, presence, Everybody(), lambda _: lambda holders: Outbox(fanout, holders), lambda _: None,
        CrowdOptions(), online,
    )  # fmt: skip
    for number in range(PEOPLE):
        one = session(Wire())
        one.identity = Someone(uuid.uuid4(), f"somebody-{number}")
        channel.add(one)
        if number % 500 == 0:
            await asyncio.sleep(0)
    longest: list[float] = []
    whole: list[float] = []
    await crowds.open(channel)
    crowds.watch(channel, one)
    for _ in range(3):
        await asyncio.sleep(0.55)  # so that Redis is told of everybody again
        with steps(monkeypatch) as took:
            await crowds.round()
        longest.append(max(took))
        whole.append(sum(took))
    assert crowds._crowds[channel.name].count == PEOPLE
    assert min(longest) < MOST, f"the longest steps: {longest}, the rounds: {whole}"
    await presence.close()
    fanout.close()
