"""Who watches: distinct viewers that asked for media or held the channel a short while ago.

A viewer is the cookie that `POST /live/{id}/join` sets, else the client's address with its User-Agent: players that
keep no cookies are told apart as well as can be without asking them. Nothing here outlives VIEWER_SECONDS.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from aiohttp import web

log = logging.getLogger(__name__)

COOKIE = "viewer"
COOKIE_SECONDS = 180 * 24 * 3600
REPORT_EVERY = 2.0
MOST_PER_BROADCAST = 100_000


_SALT = secrets.token_bytes(16)


def new_viewer() -> str:
    return secrets.token_urlsafe(16)


@lru_cache(maxsize=8192)
def anonymous(address: str, agent: str) -> str:
    """A key that does not give the address away where it is kept or passed on."""
    return hashlib.blake2s(f"{address} {agent}".encode(), digest_size=12, key=_SALT).hexdigest()


class Channels(Protocol):
    """The realtime hub: who holds a channel, and the count that it tells them."""

    def viewers(self, channel: str) -> Iterable[str]: ...

    def set_viewers(self, channel: str, count: int | None) -> None: ...


class Viewers:
    """`address_of` gives a request's client address, trusted proxies believed."""

    def __init__(self, hub: Channels, address_of: Callable[[web.Request], str], seconds: float) -> None:
        self._hub = hub
        self._address_of = address_of
        self._seconds = seconds
        self._seen: dict[str, dict[str, float]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            try:
                self._report()
            except Exception:
                log.exception("viewers could not be counted")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def viewer_of(self, request: web.Request) -> str:
        """The viewer's key. Called for every request for media: no cookie parser, no hash on the common path."""
        headers = request.headers
        cookie = headers.get("Cookie")
        if cookie is not None:
            at = cookie.find(COOKIE + "=")
            if at >= 0 and (at == 0 or cookie[at - 1] in " ;"):
                end = cookie.find(";", at)
                value = cookie[at + len(COOKIE) + 1 : end if end >= 0 else len(cookie)]
                if 0 < len(value) <= 64:
                    return value
        return anonymous(self._address_of(request), headers.get("User-Agent", ""))

    def touch(self, broadcast_id: str, viewer: str) -> None:
        seen = self._seen.get(broadcast_id)
        if seen is None:
            seen = self._seen[broadcast_id] = {}
        if viewer in seen or len(seen) < MOST_PER_BROADCAST:
            seen[viewer] = time.monotonic()

    def count(self, broadcast_id: str) -> int:
        oldest = time.monotonic() - self._seconds
        seen = self._seen.get(broadcast_id, {})
        holders = set(self._hub.viewers(f"live:{broadcast_id}"))
        return len(holders) + sum(1 for viewer, at in seen.items() if at >= oldest and viewer not in holders)

    def _report(self) -> None:
        oldest = time.monotonic() - self._seconds
        for id, seen in list(self._seen.items()):
            for viewer in [viewer for viewer, at in seen.items() if at < oldest]:
                del seen[viewer]
            if seen:
                self._hub.set_viewers(f"live:{id}", self.count(id))
            else:
                # nobody asks for media here any more: the hub's own count of who holds the channel is all there is
                del self._seen[id]
                self._hub.set_viewers(f"live:{id}", None)
