"""The limits of one process: counted here, or in Redis with the others of a fleet.

Limits lives as long as its process, from `start` to `close`. Redis decides when there is one. What it says is kept here
too: who is known to be refused is refused without asking, and while Redis is away counting goes on from there. That it
is away is logged once, and so is its return; it is asked again every few seconds, by one request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from server.kit.limits.memory import MAX_KEYS, Memory, micros
from server.kit.limits.rate import Rate, Verdict
from server.kit.limits.shared import ANSWER_SECONDS, AWAY, CONNECTIONS, Shared

AWAY_SECONDS = 3.0

_log = logging.getLogger("limits")


class Limits:
    def __init__(
        self,
        redis_url: str = "",
        *,
        max_keys: int = MAX_KEYS,
        prefix: str = "limits",
        away_seconds: float = AWAY_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], int] = micros,
    ) -> None:
        """redis_url: empty: this process counts alone. max_keys: callers kept here at most. away_seconds: how long
        Redis is not asked after it has not answered. answer_seconds: how long it has for an answer. clock: µs."""
        self._memory = Memory(max_keys=max_keys, clock=clock)
        self._shared = Shared(redis_url, prefix=prefix, answer_seconds=answer_seconds) if redis_url else None
        self._away_for = round(away_seconds * 1_000_000)
        self._clock = clock
        self._ask_again_at = 0
        self._places = asyncio.Semaphore(CONNECTIONS)
        self.away = False

    def start(self) -> None:
        if self._shared is not None:
            self._shared.start()

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def describe(self) -> dict[str, object]:
        counted = "in this process" if self._shared is None or self.away else "in Redis"
        return {"counted": counted, "callers": len(self._memory)}

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take one if there is one. key: who, and of what. Never raises for a Redis that is away."""
        if self._shared is None:
            return self._memory.take(key, rate)
        if (refusal := self._memory.refusal(key, rate)) is not None:
            return refusal
        probe = False
        if self.away:
            now = self._clock()
            if now < self._ask_again_at:
                return self._memory.take(key, rate)
            self._ask_again_at = now + self._away_for  # the others go on meanwhile
            probe = True
        async with self._places:  # so that nobody queues for a connection to a Redis that is found to be away
            if self.away and not probe:
                return self._memory.take(key, rate)
            now = self._clock()
            try:
                used = await self._shared.take(key, rate)
            except AWAY as error:
                self._missed(error)
                return self._memory.take(key, rate)
        if probe:
            self.away = False
            _log.info("Redis answers again: limits are counted with the other processes")
        verdict = rate.verdict(used)
        # as of the moment before asking: never later than Redis has it, so nobody is refused here who is not there
        self._memory.learn(key, now + used + (rate.interval if verdict.allowed else 0))
        return verdict

    def _missed(self, error: Exception) -> None:
        self._ask_again_at = self._clock() + self._away_for
        if not self.away:
            self.away = True
            _log.warning("Redis does not answer (%s): limits are counted by this process alone", type(error).__name__)
