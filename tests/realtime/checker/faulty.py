"""What goes wrong during a run, in an order that a seed decides: connections, server processes, Redis.

Owns the nodes of the run and the proxies before them; `healed` when nothing is wrong any more.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tests.realtime.checker.proxy import Proxy
from tests.server.streaming.conftest import ServerProcess
from tests.servers.redis import RedisServer

Act = Callable[[], Awaitable[None]]


class Faults:
    def __init__(
        self, nodes: list[ServerProcess], proxies: list[Proxy], chance: Random, redis: RedisServer | None = None
    ) -> None:
        self._nodes, self._proxies, self._chance, self._redis = nodes, proxies, chance, redis
        self.done: Counter[str] = Counter()
        self._network: dict[str, Act] = {
            "cut": self._cut,
            "cut within": self._cut_within,
            "half open": self._half_open,
            "answers lost": self._answers_lost,
        }
        self._programs: dict[str, Act] = {"killed": self._kill, "stopped": self._stop, "frozen": self._freeze}
        if redis is not None:
            self._programs |= {"Redis killed": self._kill_redis, "Redis frozen": self._freeze_redis}

    async def run(self, seconds: float) -> None:
        """For so long, and until each has happened. Connections break also while programs do."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as both:
            network = both.create_task(self._go_on(self._network, Random(self._chance.random()), until + 1e6, 0.3))
            await self._go_on(self._programs, Random(self._chance.random()), until, 0.3)
            network.cancel()
        for proxy in self._proxies:
            proxy.heal()

    async def _go_on(self, acts: dict[str, Act], chance: Random, until: float, pause: float) -> None:
        while True:
            for name in chance.sample(list(acts), len(acts)):
                await asyncio.sleep(chance.uniform(0, 2 * pause))
                await acts[name]()
                self.done[name] += 1
            if asyncio.get_running_loop().time() >= until:
                return

    def _some(self) -> list[Proxy]:
        return self._chance.sample(self._proxies, self._chance.randint(1, len(self._proxies)))

    async def _cut(self) -> None:
        for proxy in self._some():
            for link in proxy.some(self._chance, self._chance.choice((0.3, 0.6, 1.0))):
                link.cut()

    async def _cut_within(self) -> None:
        for proxy in self._some():
            for link in proxy.some(self._chance, 0.5):
                link.cut_within = True

    async def _half_open(self) -> None:
        for proxy in self._some():
            for link in proxy.some(self._chance, 0.4):
                link.deaf_up = link.deaf_down = True

    async def _answers_lost(self) -> None:
        """What clients say arrives; nothing comes back. Then the connection is gone."""
        links = [link for proxy in self._some() for link in proxy.some(self._chance, 0.5)]
        for link in links:
            link.deaf_down = True
        await asyncio.sleep(self._chance.uniform(0.05, 0.4))
        for link in links:
            link.cut()

    async def _kill(self) -> None:
        await self._chance.choice(self._nodes).restart(signal.SIGKILL)

    async def _stop(self) -> None:
        await self._chance.choice(self._nodes).restart(signal.SIGTERM)

    async def _freeze(self) -> None:
        """The process stands still: its connections live, and nothing is answered."""
        process = self._chance.choice(self._nodes)._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.2, 1.0))
        process.send_signal(signal.SIGCONT)

    async def _kill_redis(self) -> None:
        assert self._redis is not None
        await asyncio.to_thread(self._redis.close)
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        await asyncio.to_thread(self._redis.start)

    async def _freeze_redis(self) -> None:
        """Its connections live, nothing is answered; what was said meanwhile comes late."""
        assert self._redis is not None
        assert self._redis.process is not None
        self._redis.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.5, 4.0))
        self._redis.process.send_signal(signal.SIGCONT)
