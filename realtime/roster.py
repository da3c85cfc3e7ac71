"""The connections of this node, WebSockets and event streams: who may have one, heartbeats, tokens, an orderly end.

Owns the sessions while they are open and the task that looks after them; that task ends with `close`. What a session
reads happens in the task of its HTTP request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from realtime.dialogue import Dialogue
from realtime.hub import Hub
from realtime.limits import Bucket, Places
from realtime.protocol.codes import CloseCode
from realtime.rules import Authenticator, Identity
from realtime.session import Session

log = logging.getLogger(__name__)

_CLIENT_FAULTS = (CloseCode.TOO_MANY_MESSAGES, CloseCode.BAD_MESSAGES, CloseCode.UNSUPPORTED)
_ASKED_FOR_TOKEN = ("token", "access_token", "authorization", "jwt", "bearer")


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    max_message: int = 16 * 1024  # largest message from a client, bytes
    buffer: int = 512 * 1024  # what may wait for a slow client, bytes
    subscriptions: int = 100  # channels one connection may hold
    per_address: int = 200  # connections from one address
    most: int = 20_000  # connections
    burst: int = 60  # messages at once from one connection…
    interval: float = 0.05  # …then one each, s
    ping_seconds: float = 8.0  # silence so long: a ping is sent
    dead_seconds: float = 20.0  # silence so long: closed
    sweep_seconds: float = 2.0  # how often that is looked at
    renew_seconds: float = 15.0  # how often a session's token is checked again
    close_seconds: float = 5.0  # how long a client has to answer a close
    compress_above: int = 0  # messages for many are compressed from this size on, bytes; 0: never


class Roster:
    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        *,
        viewer_of: Callable[[web.Request], str],
        address_of: Callable[[web.Request], str] | None = None,
        origins: Collection[str] = (),
        options: SocketOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`origins`: web origins (as https://example.org) whose pages may connect, beside the one that the request
        was sent to; `*`: all.
        """
        self.hub = hub
        self.options = options or SocketOptions()
        self.dialogue = Dialogue(hub, authenticator, subscriptions=self.options.subscriptions, clock=clock)
        self.viewer_of = viewer_of
        self.address_of = address_of or (lambda request: request.remote or "")
        self.clock = clock
        self.closing = False
        self._origins = {origin.strip().rstrip("/").lower() for origin in origins if origin.strip()}
        self._places = Places(self.options.most, self.options.per_address)
        self._sessions: dict[Session, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()  # set whenever a session is over
        self._figures = {"accepted": 0, "refused": 0, "slow": 0, "dead": 0, "faulty": 0}
        self._lines = Bucket(10, 1.0)  # of the log, about clients at fault
        self._unlogged = 0

    async def start(self) -> None:
        self._own(self._sweep())

    async def close(
        self, code: CloseCode = CloseCode.RECONNECT_ELSEWHERE, spread: float = 0.0, *, patience: float = 5.0
    ) -> None:
        """Take nobody new and send everybody away, evenly over `spread` seconds. Returns when all are gone, or
        after `patience` more.
        """
        self.closing = True
        sessions = list(self._sessions)
        random.shuffle(sessions)
        for at, session in enumerate(sessions):
            session.end(code)
            if at % 16 == 15:
                await asyncio.sleep(spread * 16 / len(sessions))
        deadline = self.clock() + patience
        while self._sessions and (left := deadline - self.clock()) > 0:
            self._gone.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._gone.wait()
        for session in list(self._sessions):
            session.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def doubt(self, about: Callable[[Identity], bool]) -> None:
        """The tokens of these users may not be good any more, or mean something else: check them now, not in the next
        round."""
        doubtful = [session for session in self._sessions if session.identity is not None and about(session.identity)]
        if doubtful and not self.closing:
            self._own(self._renew(doubtful))

    def describe(self) -> dict[str, Any]:
        return {"open": len(self._sessions), "closing": self.closing, **self._figures}

    # who may come

    def admit(self, request: web.Request) -> tuple[str, web.Response | None]:
        """The client's address, and a problem document (RFC 9457) when it may not connect. Else a place is taken,
        which `give_back` gives back.
        """
        address = self.address_of(request)
        refusal = self._refusal(request, address)
        if refusal is not None:
            self._figures["refused"] += 1
        else:
            self._places.take(address)
        return address, refusal

    def give_back(self, address: str) -> None:
        self._places.give(address)

    def enter(self, session: Session) -> None:
        self._sessions[session] = None
        self._figures["accepted"] += 1

    def leave(self, session: Session) -> None:
        session.ended = session.ended or CloseCode.RECONNECT_ELSEWHERE
        self.hub.disconnect(session)
        self._sessions.pop(session, None)
        self._gone.set()

    def finish(self, session: Session, code: CloseCode) -> None:
        """A session was ended from our side: its connection has a little time left."""
        if code is CloseCode.SLOW_CONSUMER:
            self._figures["slow"] += 1
        elif code is CloseCode.DEAD_PEER:
            self._figures["dead"] += 1
        elif code in _CLIENT_FAULTS:
            self.at_fault(session, code, code.sentence)
        loop = asyncio.get_running_loop()
        loop.call_soon(self.hub.disconnect, session)  # not at once: the hub may be telling everybody something
        loop.call_later(self.options.close_seconds, session.abort)  # whoever does not take the close frame in time

    def at_fault(self, session: Session, code: int, why: str) -> None:
        self._figures["faulty"] += 1
        if self._lines.take(self.clock()):
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more before it are not logged)" if self._unlogged else ""
        self._unlogged = 0
        log.info("the connection of %s is closed with %d: %s%s", session.address, code, why, more)

    def _refusal(self, request: web.Request, address: str) -> web.Response | None:
        if any(name.lower() in _ASKED_FOR_TOKEN for name in request.query):
            return problem(
                400, "token_in_url", "A token in an address ends up in logs: send it as a subprotocol or in a header."
            )
        if not self._origin_allowed(request):
            return problem(403, "origin_not_allowed", "Pages of this origin may not connect.")
        if self.closing:
            return problem(503, "stopping", "This server is stopping; connect again.", retry_after=1)
        if self._places.full():
            return problem(
                503, "too_many_connections", "This server has as many connections as it may.", retry_after=10
            )
        if self._places.full_for(address):
            return problem(
                429, "too_many_connections", "There are too many connections from your address.", retry_after=10
            )
        return None

    def _origin_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:  # not a browser
            return True
        origin = origin.lower()
        if origin in self._origins or "*" in self._origins:
            return True
        try:
            return urlsplit(origin).netloc == request.headers.get("Host", "").lower() != ""
        except ValueError:
            return False

    # heartbeat and tokens

    async def _sweep(self) -> None:
        options = self.options
        renew_at = self.clock() + options.renew_seconds
        while True:
            await asyncio.sleep(options.sweep_seconds)
            now = self.clock()
            for at, session in enumerate(list(self._sessions)):
                silent = now - session.heard_at
                if session.codec.listens:
                    if session.gone:
                        session.lost()
                    elif silent >= options.ping_seconds:  # the kernel finds out whether the peer takes it
                        session.heard_at = now
                        session.write(session.codec.heartbeat)
                elif silent >= options.dead_seconds:
                    session.end(CloseCode.DEAD_PEER)
                elif silent >= options.ping_seconds and not session.pinged:
                    session.pinged = True
                    session.write(session.codec.heartbeat)
                if at % 100 == 99:
                    await asyncio.sleep(0)
            if now >= renew_at:
                renew_at = now + options.renew_seconds
                await self._renew([session for session in self._sessions if session.identity is not None])

    async def _renew(self, sessions: Collection[Session]) -> None:
        for at, session in enumerate(sessions):
            try:
                await self.dialogue.renew(session)
            except Exception:
                log.exception("a session's token could not be checked again")
            if at % 100 == 99:
                await asyncio.sleep(0)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the sockets failed", exc_info=error)


def problem(status: int, code: str, detail: str, retry_after: int | None = None) -> web.Response:
    body = {"type": "about:blank", "title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json", headers=headers
    )
