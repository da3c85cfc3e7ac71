"""Whether this process is well: checks that other parts register, run when somebody asks.

Health owns the last report for a second, so that any number of askers cost one round of checks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

Check = Callable[[], Awaitable[str | None]]
"""Gives None when all is well and a sentence when it is not; raising is the same as a sentence."""

_CHECK_TIMEOUT = 5.0
_KEPT = 1.0
_log = logging.getLogger(__name__)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """ok: whether it works. needed: whether the process is of use without it."""

    ok: bool
    needed: bool
    reason: str | None = None
    ms: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """status: ok | degraded (something that is not needed fails) | failing | starting | stopping."""

    status: str
    parts: dict[str, Part]

    @property
    def ready(self) -> bool:
        return self.status in ("ok", "degraded")


@dataclass(frozen=True, slots=True)
class _Registered:
    check: Check
    needed: bool


class Health:
    def __init__(self) -> None:
        self._checks: dict[str, _Registered] = {}
        self._details: dict[str, Callable[[], dict[str, object]]] = {}
        self._lock = asyncio.Lock()
        self._last: tuple[float, Report] | None = None
        self._failing: frozenset[str] = frozenset()
        self._raised: dict[str, str] = {}
        self.started = False
        self.stopping = False

    def add(self, name: str, check: Check, *, needed: bool = True) -> None:
        """A check. needed: its failure takes this process out of service (503 at /health/ready)."""
        self._checks[name] = _Registered(check, needed)

    def detail(self, name: str, describe: Callable[[], dict[str, object]]) -> None:
        """A part that /health/detailed shows: its `describe`."""
        self._details[name] = describe

    async def report(self) -> Report:
        """The state of every part, at most a second old."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _KEPT:
                parts = await self._run()
                self._last = (time.monotonic(), Report(status=_status(parts), parts=parts))
            report = self._last[1]
        if self.stopping:
            return Report(status="stopping", parts=report.parts)
        if not self.started:
            return Report(status="starting", parts=report.parts)
        return report

    def details(self) -> dict[str, object]:
        shown: dict[str, object] = {}
        for name, describe in self._details.items():
            try:
                shown[name] = describe()
            except Exception as error:
                shown[name] = {"error": f"{type(error).__name__}: {error}"}
        return shown

    async def _run(self) -> dict[str, Part]:
        names = list(self._checks)
        parts = dict(zip(names, await asyncio.gather(*(self._one(name) for name in names)), strict=True))
        failing = frozenset(name for name, part in parts.items() if not part.ok)
        for name in failing - self._failing:
            _log.error("%s is not well: %s", name, self._raised.get(name) or parts[name].reason)
        for name in self._failing - failing:
            _log.info("%s is well again", name)
        self._failing = failing
        return parts

    async def _one(self, name: str) -> Part:
        registered, started = self._checks[name], time.perf_counter()
        self._raised.pop(name, None)
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                reason = await registered.check()
        except TimeoutError:
            reason = f"no answer within {_CHECK_TIMEOUT:g} s"
        except Exception as error:
            # Its text may name hosts and users: that is for the log, and anyone may read the reason.
            reason = f"the {name} cannot be used"
            self._raised[name] = " ".join(f"{type(error).__name__}: {error}".split())
        ms = round((time.perf_counter() - started) * 1000, 2)
        return Part(ok=reason is None, needed=registered.needed, reason=reason, ms=ms)


def _status(parts: dict[str, Part]) -> str:
    if all(part.ok for part in parts.values()):
        return "ok"
    return "degraded" if all(part.ok or not part.needed for part in parts.values()) else "failing"
