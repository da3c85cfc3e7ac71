"""Argon2id, off the loop.

Passwords owns its threads and the count of who waits for them, from construction to close. Every log-in computes
exactly one hash, whether or not the account exists, and whether one or several accounts share an e-mail address: those
share a salt as well, so one computation is compared with all of them. (A salt only has to differ between people whose
hashes could otherwise be attacked together; accounts of one address are one person, or one who claims to be.)
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import sys
import threading
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from argon2.low_level import Type, hash_secret

from server.identity.errors import HashingBusy

_HASH_BYTES = 32
_SALT_BYTES = 16
_WAITING_PER_THREAD = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters of Argon2id (RFC 9106): passes, memory in KiB, lanes. The default is OWASP's for a shared server."""

    passes: int = 2
    memory: int = 19 * 1024
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Match:
    """index: which of the candidates. stale: its hash was made with other parameters; store `fresh` instead."""

    index: int
    fresh: str | None


class Passwords:
    def __init__(self, concurrency: int, cost: Cost | None = None) -> None:
        self._cost = cost or Cost()
        self._threads = ThreadPoolExecutor(max(concurrency, 1), thread_name_prefix="argon2", initializer=_step_back)
        self._limit = max(concurrency, 1) * _WAITING_PER_THREAD
        self._under_way = 0
        self._nobody = self._dummy()
        self.computed = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> dict[str, object]:
        return {"under_way": self._under_way, "computed": self.computed}

    async def hash(self, password: str, like: str | None = None) -> str:
        """A hash in PHC form, with the salt of `like` when given. Raises HashingBusy."""
        salt = os.urandom(_SALT_BYTES) if like is None else _parse(like)[1]
        return await self._compute(password, salt, self._cost)

    async def match(self, password: str, candidates: Sequence[str]) -> Match | None:
        """Which of these hashes is the password's. All that have the first one's parameters and salt are compared.

        Raises HashingBusy.
        """
        first = candidates[0] if candidates else self._nobody
        cost, salt = _parse(first)
        given = await self._compute(password, salt, cost)
        found = None
        for index, candidate in enumerate(candidates):
            if hmac.compare_digest(candidate.encode(), given.encode()) and found is None:
                found = index
        if found is None:
            return None
        fresh = None if cost == self._cost else await self._compute(password, salt, self._cost)
        return Match(found, fresh)

    async def _compute(self, password: str, salt: bytes, cost: Cost) -> str:
        if self._under_way >= self._limit:
            raise HashingBusy("Too many people are signing in at once; try again in a moment.")
        self._under_way += 1
        self.computed += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _argon2, password, salt, cost)
        finally:
            self._under_way -= 1

    def _dummy(self) -> str:
        """A hash that no password has, with the parameters of a real one."""
        cost = self._cost
        salt, digest = (base64.b64encode(os.urandom(n)).decode().rstrip("=") for n in (_SALT_BYTES, _HASH_BYTES))
        return f"$argon2id$v=19$m={cost.memory},t={cost.passes},p={cost.lanes}${salt}${digest}"


def _step_back() -> None:
    """Let the event loop go first when cores are short. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _argon2(password: str, salt: bytes, cost: Cost) -> str:
    # NIST SP 800-63B, section 5.1.1.2: one password whatever keyboard typed it, full-width letters and all. No form
    # but NFKC makes an input method's digits the same as a phone's.
    secret = unicodedata.normalize("NFKC", password).encode()
    return hash_secret(secret, salt, cost.passes, cost.memory, cost.lanes, _HASH_BYTES, Type.ID).decode()


def _parse(encoded: str) -> tuple[Cost, bytes]:
    """The parameters and the salt of a hash in PHC form."""
    _, _, _, parameters, salt, _ = encoded.split("$")
    values = dict(part.split("=") for part in parameters.split(","))
    cost = Cost(passes=int(values["t"]), memory=int(values["m"]), lanes=int(values["p"]))
    return cost, base64.b64decode(salt + "=" * (-len(salt) % 4))
