"""Who watches: distinct viewers that were given media or held the channel a short while ago.

A viewer is the cookie that `POST /live/{id}/join` sets, when we signed it, else the client's address with its
User-Agent: players that keep no cookies are told apart as well as can be without asking them. What a client makes up
cannot raise the count by much: cookies are given out slowly to one address, and it has few keys without them. Nothing
here outlives VIEWER_SECONDS, and no address is kept. The key that signs is a row in the database, the same for
all nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
import zlib
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from server.kit.limits import Limiter, address_key
from server.streaming.playback import store
from storage.postgres.database import Database

log = logging.getLogger(__name__)

COOKIE = "viewer"
COOKIE_SECONDS = 180 * 24 * 3600
COOKIES_AT_ONCE = 60
"""New cookies for one address; a household, an office, a class."""
COOKIE_EVERY = 10.0
"""Seconds until that address may have one more."""
MOST_AGENTS = 32
"""Viewers without a cookie at one address; more than that share keys."""
REPORT_EVERY = 2.0
COUNT_EVERY = 0.5
MANY = 100
MOST_PER_BROADCAST = 100_000


class Signer:
    """Makes and knows viewers' keys with the fleet's secret."""

    def __init__(self, key: bytes) -> None:
        self._cookie = hashlib.blake2s(key=key, person=b"cookie", digest_size=12)
        self._address = hashlib.blake2s(key=key, person=b"address", digest_size=9)

    def sign(self, viewer: str) -> str:
        """The cookie of this viewer."""
        return f"{viewer}.{self._digest(self._cookie, viewer)}"

    def viewer(self, cookie: str) -> str | None:
        """Whose cookie it is; None when we did not sign it."""
        viewer, _, given = cookie.partition(".")
        if viewer and cookie.isascii() and hmac.compare_digest(given, self._digest(self._cookie, viewer)):
            return viewer
        return None

    def anonymous(self, address: str, agent: str) -> str:
        """A key that does not give the address away where it is kept or passed on; one address has few of them."""
        among = zlib.crc32(agent.encode(errors="surrogateescape")) % MOST_AGENTS
        return f"{self._digest(self._address, address_key(address))}-{among}"

    def _digest(self, keyed: hashlib.blake2s, text: str) -> str:
        made = keyed.copy()
        made.update(text.encode())
        return made.hexdigest()


class Channels(Protocol):
    """The realtime hub: who holds a channel, and the count that it tells them."""

    def viewers(self, channel: str) -> frozenset[str]: ...

    def set_viewers(self, channel: str, count: int | None) -> None: ...


class Viewers:
    """`address_of` gives a request's client address, trusted proxies believed. Requests come after `start`."""

    def __init__(
        self, hub: Channels, database: Database, address_of: Callable[[web.Request], str], seconds: float
    ) -> None:
        self._hub = hub
        self._database = database
        self._address_of = address_of
        self._seconds = seconds
        self._seen: dict[str, dict[str, float]] = {}
        self._counted: dict[str, tuple[float, int]] = {}  # when, how many
        self._task: asyncio.Task[None] | None = None
        self._signer: Signer
        self._issued = Limiter(COOKIES_AT_ONCE, COOKIE_EVERY)

    async def start(self) -> None:
        async with self._database.acquire() as conn:
            self._signer = Signer(await store.viewer_key(conn))
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
        """The viewer's key. Called for every request for media: no cookie parser on this path."""
        viewer = self._signed(request)
        if viewer is not None:
            return viewer
        return self._signer.anonymous(self._address_of(request), request.headers.get("User-Agent", ""))

    def issue(self, request: web.Request) -> str | None:
        """A cookie for who has none of ours; None for who has, and for an address that was given many just now."""
        if self._signed(request) is not None or not self._issued.take(address_key(self._address_of(request))).allowed:
            return None
        return self._signer.sign(secrets.token_urlsafe(16))

    def _signed(self, request: web.Request) -> str | None:
        cookie = request.headers.get("Cookie")
        if cookie is None:
            return None
        at = cookie.find(COOKIE + "=")
        if at < 0 or (at > 0 and cookie[at - 1] not in " ;"):
            return None
        end = cookie.find(";", at)
        value = cookie[at + len(COOKIE) + 1 : end if end >= 0 else len(cookie)]
        return self._signer.viewer(value) if len(value) <= 64 else None

    def touch(self, broadcast_id: str, viewer: str) -> None:
        seen = self._seen.get(broadcast_id)
        if seen is None:
            seen = self._seen[broadcast_id] = {}
        if viewer in seen or len(seen) < MOST_PER_BROADCAST:
            seen[viewer] = time.monotonic()

    def count(self, broadcast_id: str) -> int:
        """Every list and every join asks: where there are many, they are gone through twice a second at most."""
        moment = time.monotonic()
        known = self._counted.get(broadcast_id)
        if known is not None and moment - known[0] < COUNT_EVERY:
            return known[1]
        count = self._count(broadcast_id, moment)
        if count >= MANY:
            self._counted[broadcast_id] = moment, count
        return count

    def _count(self, broadcast_id: str, moment: float) -> int:
        oldest = moment - self._seconds
        holders = self._hub.viewers(f"live:{broadcast_id}")
        seen = self._seen.get(broadcast_id)
        if not seen:
            return len(holders)
        return len(holders) + sum(1 for viewer, at in seen.items() if at >= oldest and viewer not in holders)

    def _report(self) -> None:
        self._counted.clear()
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
