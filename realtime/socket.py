"""The WebSocket endpoint: what a connection brings, and reading from it until it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from aiohttp import WebSocketError, WSMsgType, web

from realtime.dialogue import user_of
from realtime.hub import Hub
from realtime.limits import Bucket
from realtime.protocol import frames
from realtime.protocol.codec import CODECS, JSON, Codec, Deflated
from realtime.protocol.codes import CloseCode, ErrorCode
from realtime.protocol.messages import Notice, Welcome
from realtime.roster import Roster, SocketOptions, problem
from realtime.rules import Authenticator, Identity
from realtime.session import Session

_TOKEN = "token."
_MOST_LATE = 64 * 1024  # bytes that a peer may still send after the close frame
_WHOLE_WINDOW = 15  # a peer with a smaller window gets plain frames, which are always allowed
_FRAME_COST = 1024  # bytes that each of its frames counts for, beside what is in it


class Sockets:
    """Takes what Roster takes; `roster` is shared with the event streams of the node."""

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
        self.roster = Roster(
            hub,
            authenticator,
            viewer_of=viewer_of,
            address_of=address_of,
            origins=origins,
            options=options,
            clock=clock,
        )
        self._hub = hub
        self._deflated = {codec: Deflated(codec, self.roster.options.compress_above) for codec in CODECS.values()}

    async def start(self) -> None:
        await self.roster.start()

    async def close(
        self, code: CloseCode = CloseCode.RECONNECT_ELSEWHERE, spread: float = 0.0, *, patience: float = 5.0
    ) -> None:
        await self.roster.close(code, spread, patience=patience)

    def doubt(self, about: Callable[[Identity], bool]) -> None:
        self.roster.doubt(about)

    def describe(self) -> dict[str, Any]:
        return self.roster.describe()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`. Refusals before the upgrade are problem documents (RFC 9457)."""
        address, refusal = self.roster.admit(request)
        if refusal is not None:
            return refusal
        try:
            codec, token = _offered(request)
            if codec is None:
                known = ", ".join(CODECS)
                return problem(
                    400, "unsupported_version", f"None of the offered subprotocols is known. Offer one of: {known}."
                )
            # all in one coroutine: each is memory for every connection
            socket = self._socket(request, codec)
            viewer = self.roster.viewer_of(request)
            await socket.prepare(request)
            transport = request.transport
            if transport is None:
                return socket
            session = self._session(transport, socket, codec, viewer, address)
            self.roster.enter(session)
            try:
                await self._greet(session, token)
                self._hub.connect(session)
                if self.roster.closing:
                    session.end(CloseCode.RECONNECT_ELSEWHERE)
                await self._read(session, socket)
            finally:
                self.roster.leave(session)
            return socket
        finally:
            self.roster.give_back(address)

    def _socket(self, request: web.Request, codec: Codec) -> web.WebSocketResponse:
        options = self.roster.options
        return web.WebSocketResponse(
            autoclose=False,
            autoping=False,  # pings are answered through the session's own writer, which never waits
            protocols=(codec.subprotocol,) if "Sec-WebSocket-Protocol" in request.headers else (),
            compress=options.compress_above > 0,
            max_msg_size=options.max_message + 1,  # aiohttp refuses what is just as large
        )

    def _session(
        self, transport: asyncio.Transport, socket: web.WebSocketResponse, codec: Codec, viewer: str, address: str
    ) -> Session:
        options = self.roster.options
        transport.set_write_buffer_limits(0)
        return Session(
            transport,
            self._deflated[codec] if socket.compress == _WHOLE_WINDOW else codec,
            viewer=viewer,
            address=address,
            buffer=options.buffer,
            quota=Bucket(options.burst, options.interval),
            now=self.roster.clock(),
            finish=self.roster.finish,
        )

    async def _greet(self, session: Session, token: str) -> None:
        good = not token or await self.roster.dialogue.sign_in(session, token)
        session.send(
            Welcome(node=self._hub.node, user=user_of(session.identity), ping_seconds=self.roster.options.ping_seconds)
        )
        if not good:
            session.send(Notice(code=ErrorCode.UNAUTHENTICATED, message=ErrorCode.UNAUTHENTICATED.sentence))

    async def _read(self, session: Session, socket: web.WebSocketResponse) -> None:
        codec, dialogue, clock = session.codec, self.roster.dialogue, self.roster.clock
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
                await asyncio.sleep(0)
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
                    self.roster.at_fault(session, message.data.code, str(message.data))
                return


def _offered(request: web.Request) -> tuple[Codec | None, str]:
    """The format and the token among the offered subprotocols. JSON when none is offered at all."""
    names = [
        name.strip() for value in request.headers.getall("Sec-WebSocket-Protocol", ()) for name in value.split(",")
    ]
    if not names:
        return JSON, ""
    token = next((name.removeprefix(_TOKEN) for name in names if name.startswith(_TOKEN)), "")
    return next((CODECS[name] for name in names if name in CODECS), None), token
