"""The WebSocket endpoint: who may connect, heartbeats, and an orderly end.

Owns the sessions of this node. A session's reading happens in the task of its HTTP
request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WebSocketError, WSMsgType, web

from realtime.dialogue import Dialogue, user_of
from realtime.hub import Hub
from realtime.limits import Bucket, Places
from realtime.protocol import frames
from realtime.protocol.codec import CODECS, JSON, Codec
from realtime.protocol.codes import CloseCode, ErrorCode
from realtime.protocol.messages import Notice, Welcome
from realtime.rules import Authenticator, Identity
from realtime.session import Session

log = logging.getLogger(__name__)

_TOKEN = "token."
_PING = frames.frame(frames.PING, b"")
_MOST_LATE = 64 * 1024  # bytes that a peer may still send after the close frame
_FRAME_COST = 1024  # bytes that each of its frames counts for, beside what is in it
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
    ping_seconds: float = 8.0  # silent so long: a ping is sent
    dead_seconds: float = 20.0  # silent so long: closed
    sweep_seconds: float = 2.0  # how often that is looked at
    renew_seconds: float = 15.0  # how often a session's token is checked again
    close_seconds: float = 5.0  # how long a client has to answer a close


class Sockets:
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
        self._hub = hub
        self._options = options or SocketOptions()
        self._dialogue = Dialogue(hub, authenticator, subscriptions=self._options.subscriptions, clock=clock)
        self._viewer_of = viewer_of
        self._address_of = address_of or (lambda request: request.remote or "")
        self._origins = {origin.strip().rstrip("/").lower() for origin in origins if origin.strip()}
        self._clock = clock
        self._places = Places(self._options.most, self._options.per_address)
        self._sessions: dict[Session, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
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
        self._closing = True
        sessions = list(self._sessions)
        random.shuffle(sessions)
        for at, session in enumerate(sessions):
            session.end(code)
            if spread and at % 16 == 15:
                await asyncio.sleep(spread * 16 / len(sessions))
        deadline = self._clock() + patience
        while self._sessions and (left := deadline - self._clock()) > 0:
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
        if doubtful and not self._closing:
            self._own(self._renew(doubtful))

    def describe(self) -> dict[str, Any]:
        return {"open": len(self._sessions), "closing": self._closing, **self._figures}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`. Refusals before the upgrade are problem documents (RFC 9457)."""
        address = self._address_of(request)
        refusal = self._refusal(request, address)
        if refusal is not None:
            self._figures["refused"] += 1
            return refusal
        codec, token = _offered(request)
        if codec is None:
            known = ", ".join(CODECS)
            return _problem(
                400, "unsupported_version", f"None of the offered subprotocols is known. Offer one of: {known}."
            )
        self._places.take(address)
        try:
            return await self._converse(request, codec, token, address)
        finally:
            self._places.give(address)

    # before the upgrade

    def _refusal(self, request: web.Request, address: str) -> web.Response | None:
        if any(name.lower() in _ASKED_FOR_TOKEN for name in request.query):
            return _problem(
                400, "token_in_url", "A token in an address ends up in logs: send it as a subprotocol or first message."
            )
        if not self._origin_allowed(request):
            return _problem(403, "origin_not_allowed", "Pages of this origin may not connect.")
        if self._closing:
            return _problem(503, "stopping", "This server is stopping; connect again.", retry_after=1)
        if self._places.full():
            return _problem(
                503, "too_many_connections", "This server has as many connections as it may.", retry_after=10
            )
        if self._places.full_for(address):
            return _problem(
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

    # after it

    async def _converse(self, request: web.Request, codec: Codec, token: str, address: str) -> web.StreamResponse:
        options = self._options
        socket = web.WebSocketResponse(
            autoclose=False,
            autoping=False,  # pings are answered through the session's own writer, which never waits
            protocols=(codec.subprotocol,) if "Sec-WebSocket-Protocol" in request.headers else (),
            compress=False,  # frames are written past aiohttp's writer, which is only right without extensions
            max_msg_size=options.max_message,
        )
        viewer = self._viewer_of(request)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        session = Session(
            transport,
            codec,
            viewer=viewer,
            address=address,
            buffer=options.buffer,
            quota=Bucket(options.burst, options.interval),
            now=self._clock(),
            finish=self._finish,
        )
        self._sessions[session] = None
        self._figures["accepted"] += 1
        try:
            await self._greet(session, token)
            self._hub.connect(session)
            if self._closing:
                session.end(CloseCode.RECONNECT_ELSEWHERE)
            await self._read(session, socket)
        finally:
            session.ended = session.ended or CloseCode.RECONNECT_ELSEWHERE
            self._hub.disconnect(session)
            del self._sessions[session]
            self._gone.set()
        return socket

    async def _greet(self, session: Session, token: str) -> None:
        good = not token or await self._dialogue.sign_in(session, token)
        session.send(
            Welcome(node=self._hub.node, user=user_of(session.identity), ping_seconds=self._options.ping_seconds)
        )
        if not good:
            session.send(Notice(code=ErrorCode.UNAUTHENTICATED, message=ErrorCode.UNAUTHENTICATED.sentence))

    async def _read(self, session: Session, socket: web.WebSocketResponse) -> None:
        codec, dialogue, clock = session.codec, self._dialogue, self._clock
        text = codec.opcode == frames.TEXT
        late = 0
        while True:
            message = await socket.receive()
            session.heard_at = now = clock()
            session.pinged = False
            kind = message.type
            if session.ended is not None and kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
                late += len(message.data) + _FRAME_COST  # what was on its way is let pass; more is not worth parsing
                if late > _MOST_LATE:
                    await session.stop_listening()
                    return
            elif kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if (kind is WSMsgType.TEXT) is not text:
                    session.end(CloseCode.UNSUPPORTED)
                    continue
                await dialogue.answer(session, message.data)
                session.heard_at = clock()
            elif kind is WSMsgType.PING:
                if not session.wait(now):
                    session.write(frames.frame(frames.PONG, message.data))
            elif kind is WSMsgType.PONG:
                session.wait(now)
            elif kind is WSMsgType.CLOSE:
                session.leave(message.data)
                return
            else:  # lost, or a frame that breaks RFC 6455: aiohttp has answered that with its code
                if isinstance(message.data, WebSocketError):
                    self._at_fault(session, message.data.code, str(message.data))
                return

    def _finish(self, session: Session, code: CloseCode) -> None:
        if code is CloseCode.SLOW_CONSUMER:
            self._figures["slow"] += 1
        elif code is CloseCode.DEAD_PEER:
            self._figures["dead"] += 1
        elif code in _CLIENT_FAULTS:
            self._at_fault(session, code, code.sentence)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._hub.disconnect, session)  # not at once: the hub may be telling everybody something
        loop.call_later(self._options.close_seconds, session.abort)  # whoever does not take the close frame in time

    def _at_fault(self, session: Session, code: int, why: str) -> None:
        self._figures["faulty"] += 1
        if self._lines.take(self._clock()):
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more before it are not logged)" if self._unlogged else ""
        self._unlogged = 0
        log.info("the socket of %s is closed with %d: %s%s", session.address, code, why, more)

    # heartbeat and tokens

    async def _sweep(self) -> None:
        options = self._options
        renew_at = self._clock() + options.renew_seconds
        while True:
            await asyncio.sleep(options.sweep_seconds)
            now = self._clock()
            for at, session in enumerate(list(self._sessions)):
                silent = now - session.heard_at
                if silent >= options.dead_seconds:
                    session.end(CloseCode.DEAD_PEER)
                elif silent >= options.ping_seconds and not session.pinged:
                    session.pinged = True
                    session.write(_PING)
                if at % 500 == 499:
                    await asyncio.sleep(0)
            if now >= renew_at:
                renew_at = now + options.renew_seconds
                await self._renew([session for session in self._sessions if session.identity is not None])

    async def _renew(self, sessions: Collection[Session]) -> None:
        for at, session in enumerate(sessions):
            try:
                await self._dialogue.renew(session)
            except Exception:
                log.exception("a session's token could not be checked again")
            if at % 100 == 99:
                await asyncio.sleep(0)

    def _own(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the sockets failed", exc_info=error)


def _offered(request: web.Request) -> tuple[Codec | None, str]:
    """The format and the token among the offered subprotocols. JSON when none is offered at all."""
    names = [
        name.strip() for value in request.headers.getall("Sec-WebSocket-Protocol", ()) for name in value.split(",")
    ]
    if not names:
        return JSON, ""
    token = next((name.removeprefix(_TOKEN) for name in names if name.startswith(_TOKEN)), "")
    return next((CODECS[name] for name in names if name in CODECS), None), token


def _problem(status: int, code: str, detail: str, retry_after: int | None = None) -> web.Response:
    body = {"type": "about:blank", "title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json", headers=headers
    )
