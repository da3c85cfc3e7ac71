"""One socket as the hub sees it: a writer that never waits.

Frames go straight to the transport, which keeps what the peer has not taken yet. When that grows past the limit the
session ends with
SLOW_CONSUMER; nobody else notices. A session lives as long as its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.limits import Bucket
from realtime.protocol import frames
from realtime.protocol.codec import Codec
from realtime.protocol.codes import CloseCode
from realtime.protocol.messages import ServerMessage
from realtime.rules import Identity

_MOST_TOO_FAST = 100  # frames over the rate, without a rest between, before the connection is closed


class Session:
    __slots__ = (
        "__weakref__",
        "_aborted",
        "_finish",
        "_member",
        "_transport",
        "address",
        "bad_messages",
        "buffer",
        "channels",
        "codec",
        "ended",
        "heard_at",
        "identity",
        "pinged",
        "put",
        "quota",
        "token",
        "too_fast",
        "viewer",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        codec: Codec,
        *,
        viewer: str,
        address: str,
        buffer: int,
        quota: Bucket,
        now: float,
        finish: Callable[[Session, CloseCode], None],
    ) -> None:
        """The transport should have a write limit of 0: what is written then goes out at once, and its cost is seen
        where it arises, not at the end of the loop's turn.
        """
        self._transport = transport
        self._aborted: asyncio.Future[None] | None = None
        self.buffer = buffer
        self.put: Callable[[bytes], None] = transport.write
        """`write` without a look at how much waits; nothing once the session has ended. May raise RuntimeError."""
        self._finish = finish
        self.codec = codec
        self.viewer = viewer
        self.address = address
        self.identity: Identity | None = None
        self._member: tuple[Identity | None, str, str] = (None, "", "")
        self.token = ""
        self.channels: tuple[str, ...] = ()  # few: a set of them weighs 216 bytes
        self.ended: CloseCode | None = None
        self.heard_at = now
        self.pinged = False
        self.quota = quota
        self.bad_messages = 0
        self.too_fast = 0

    def write(self, frame: bytes) -> None:
        """Queue one whole frame. Returns at once."""
        if self.ended is not None:
            return
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(frame)
        if transport.get_write_buffer_size() > self.buffer:
            self.end(CloseCode.SLOW_CONSUMER)

    def send(self, message: ServerMessage) -> None:
        self.write(self.codec.frame(message))

    def wait(self, now: float) -> float:
        """Count one frame from the peer. 0.0 when it is within the rate; else the seconds until one will be, and
        whoever goes on like that is sent away. All is forgiven once the peer has rested until its burst is whole.
        """
        quota = self.quota
        if self.too_fast and quota.idle(now):
            self.too_fast = 0
        seconds = quota.take(now)
        if seconds:
            self.too_fast += 1
            if self.too_fast >= _MOST_TOO_FAST:
                self.end(CloseCode.TOO_MANY_MESSAGES)
        return seconds

    @property
    def member(self) -> tuple[str, str]:
        """The id of who speaks here, and `id username`; made once, for it is asked of everybody again and again."""
        known = self._member
        who = self.identity
        if who is not known[0] and who is not None:
            id = str(who.user_id)
            known = self._member = (who, id, f"{id} {who.username}")
        return known[1:] if who is not None else ("", "")

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def gone(self) -> bool:
        """Whether the connection is broken, or hung up."""
        return self._transport.is_closing()

    def lost(self) -> None:
        """The connection was found gone. Who reads from it notices by itself."""

    def end(self, code: CloseCode) -> None:
        """Write the close frame, behind what waits already, and nothing after it. Returns at once."""
        if self.ended is None:
            self.ended = code
            self.put = _nothing
            if not self._transport.is_closing():
                self._transport.write(self.codec.close(code))
            self._finish(self, code)

    def leave(self, code: int | None) -> None:
        """The peer has closed, in answer to us or by itself (RFC 6455 section 5.5.1): answer if need be, hang up."""
        if self.ended is None and not self._transport.is_closing():
            known = not code or (1000 <= code < 5000 and code not in (1004, 1005, 1006, 1015))  # section 7.4
            self._transport.write(frames.close((code or 1000) if known else 1002))
        self.put = _nothing
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection and what waits to be written."""
        self.put = _nothing
        self._transport.abort()
        if self._aborted is not None and not self._aborted.done():
            self._aborted.set_result(None)

    async def stop_listening(self) -> None:
        """Read nothing more, so that the peer still gets what waits for it; returns when the connection is aborted,
        which `finish` sees to.
        """
        if self._transport.is_closing():
            return
        self._aborted = asyncio.get_running_loop().create_future()
        self._transport.pause_reading()
        await self._aborted


def _nothing(_: bytes) -> None:
    """What goes to a session that has ended."""
