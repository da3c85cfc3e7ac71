"""Small things that many tests use."""

from __future__ import annotations

import asyncio
import inspect
import random
import socket
import time
from collections.abc import Callable
from typing import Any


async def eventually(condition: Callable[[], Any], *, within: float = 30.0, every: float = 0.01, what: str = "") -> Any:
    """Wait until the condition gives something true and return that; fail after `within` s, saying what was awaited.

    The condition may be a coroutine function.
    An AssertionError inside the condition counts as "not yet" and is what the failure shows.
    """
    deadline = time.monotonic() + within
    while True:
        error: AssertionError | None = None
        value: Any = None
        try:
            result = condition()
            value = await result if inspect.isawaitable(result) else result
        except AssertionError as not_yet:
            error = not_yet
        if error is None and value:
            return value
        if time.monotonic() > deadline:
            awaited = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"not within {within} s: {awaited} (last value {value!r})") from error
        await asyncio.sleep(every)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on just now. Prefer port 0 where a server takes it.

    From below the range that systems take the ports of clients from, so that no connection of another test gets it
    before the server does; also a server that is started again finds it free.
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
