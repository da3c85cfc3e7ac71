"""`GET /events`: the channels of the socket for what only listens, as server-sent events.

A stream is a session like a socket's: the same rights, asked again when they change, the same bounded buffer, the same
bytes for all who hold one channel. It ends with its response.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import Any

from aiohttp import web

from realtime.limits import Bucket
from realtime.protocol.codes import CloseCode, ErrorCode
from realtime.protocol.events import MOST_CHANNELS, EventCodec, ManyEventCodec, good_name, read_places
from realtime.protocol.messages import Closed, Position
from realtime.roster import Roster, problem
from realtime.rules import Action, Identity, Refused
from realtime.session import Session

_STATUS: dict[str, int] = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
}
_LONGEST_ID = 8192


class Listener(Session):
    """A session that only listens. `over` is set when nothing more is to be sent."""

    __slots__ = ("over",)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.over = asyncio.Event()

    def end(self, code: CloseCode) -> None:
        super().end(code)
        self.over.set()

    def abort(self) -> None:
        super().abort()
        self.over.set()

    def lost(self) -> None:
        self.over.set()


class Events:
    """Streams stand in the sockets' roster: they count as connections of their address, and end with it."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._hub = roster.hub
        self._shared = {chunked: EventCodec(chunked=chunked) for chunked in (True, False)}

    async def handle(
        self,
        request: web.Request,
        channels: list[str],
        last_event_id: str,
        who: Identity | None,
        token: str,
        *,
        presence: bool = False,
    ) -> web.StreamResponse:
        """`who`: whom the token speaks for, already checked. `presence`: as for the socket's
        `subscribe`. Refusals are problem documents (RFC 9457)."""
        names = list(dict.fromkeys(channels))
        if not names or len(names) > MOST_CHANNELS or not all(map(good_name, names)):
            return problem(422, "invalid", f"`channels` takes 1 to {MOST_CHANNELS} names, separated by commas.")
        address, refusal = self._roster.admit(request)
        if refusal is not None:
            return refusal
        try:
            refused = await self._refused(names, who, presence)
            if len(refused) == len(names):
                first = next(iter(refused.values()))
                wait = None if first.retry_after is None else max(1, round(first.retry_after))
                return problem(_STATUS.get(first.code, 403), first.code, first.message, wait)
            given = request.headers.get("Last-Event-ID", "") or last_event_id
            places = {name: place for name, place in read_places(given[:_LONGEST_ID]).items() if name in names}
            return await self._stream(request, names, places, who, token, address, presence)
        finally:
            self._roster.give_back(address)

    async def _refused(self, names: list[str], who: Identity | None, presence: bool) -> dict[str, Refused]:
        refused = {}
        for name in names:
            try:
                await self._hub.rules_for(name).authorize(who, name, Action.SUBSCRIBE)
                if presence:
                    await self._hub.rules_for(name).authorize(who, name, Action.PRESENCE)
            except Refused as error:
                refused[name] = error
        return refused

    async def _stream(
        self,
        request: web.Request,
        names: list[str],
        places: dict[str, Position],
        who: Identity | None,
        token: str,
        address: str,
        presence: bool,
    ) -> web.StreamResponse:
        roster, options = self._roster, self._roster.options
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would keep events until its buffer is full
            }
        )
        self._let_pages_read(request, response)
        response.force_close()
        viewer = roster.viewer_of(request)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        transport.set_write_buffer_limits(0)
        _notice_the_dead(transport, options.dead_seconds)
        chunked = response.headers.get("Transfer-Encoding") == "chunked"
        codec = self._shared[chunked] if len(names) == 1 else ManyEventCodec(chunked=chunked)
        if isinstance(codec, ManyEventCodec):
            codec.begin(places)
        session = Listener(
            transport,
            codec,
            viewer=viewer,
            address=address,
            buffer=options.buffer,
            quota=Bucket(1, 1.0),
            now=roster.clock(),
            finish=roster.finish,
        )
        session.identity, session.token = who, token if who is not None else ""
        roster.enter(session)
        try:
            # browsers come back after this long: not all at once
            session.write(codec.wrap(b"retry: %d\n\n" % random.randint(500, 2500)))
            self._hub.connect(session)
            if roster.closing:
                session.end(CloseCode.RECONNECT_ELSEWHERE)
            for name in names:
                await self._subscribe(session, name, places.get(name), presence)
            await session.over.wait()
        finally:
            roster.leave(session)
        return response

    async def _subscribe(self, session: Listener, name: str, since: Position | None, presence: bool) -> None:
        try:
            async with asyncio.timeout(10):
                await self._hub.subscribe(session, None, name, since, presence=presence)
        except Refused as refused:
            session.send(Closed(channel=name, code=refused.code, message=refused.message))
        except TimeoutError:
            code = ErrorCode.UNAVAILABLE
            session.send(Closed(channel=name, code=code, message=code.sentence))

    def _let_pages_read(self, request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin is not None:  # `admit` has checked it
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"


def _notice_the_dead(transport: asyncio.Transport, seconds: float) -> None:
    """A stream hears nothing from its peer but that the kernel's bytes arrive: those of the heartbeat must, in time."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
