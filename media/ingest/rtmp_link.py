"""One RTMP connection: a socket, the protocol's state machine over it, and the publishing that it carries.

Made when a socket is accepted (for RTMPS: when its TLS handshake is done), dies when the socket is closed. It reads
only when its server tells it to, into the server's one buffer, and rests while the gate decides.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from media.ingest.gate import Gate, Publisher, PublishRequest, Refused
from media.ingest.intake import Intake
from media.ingest.pace import Pace
from media.protocols.errors import ProtocolError
from media.protocols.rtmp.chunks import VIDEO, Message
from media.protocols.rtmp.connection import Event, Goodbye, Metadata, PublishEnded, PublishRequested, RtmpConnection

log = logging.getLogger(__name__)

READS = 4
"""Times that one turn reads the socket: with a 64 KiB buffer and a turn every 10 ms, over 200 Mbit/s."""
MAX_UNSENT = 256 * 1024
LINGER = 2.0
"""Seconds that a client has to read our last words: closing at once would throw them away."""
LINGER_BYTES = 4 << 20

UNWRITTEN = frozenset({"no_key", "stopping", "restarting"})
"""Refusals that come before the gate knows whose key it is: it is told of them, so that they can be read."""

STATUS_OF = {"in_use": "NetStream.Publish.BadName", "unsupported": "NetStream.Publish.Rejected"}
"""What the gate's reasons are called in RTMP; any other is NetStream.Publish.Denied, which OBS and GStreamer know."""


class Host(Protocol):
    """What a link needs of the server that made it."""

    gate: Gate
    buffer: memoryview
    handshake_timeout: float
    idle_timeout: float
    max_bitrate: float
    max_ahead: float
    stopping: bool

    def watch(self, link: RtmpLink, *, steady: bool) -> None:
        """Call on_readable when there is something to read; steady: at the beat that publishers are read at."""
        ...

    def unwatch(self, link: RtmpLink) -> None: ...

    def watch_writable(self, link: RtmpLink, on: bool) -> None: ...

    def soon(self, link: RtmpLink) -> None:
        """Call on_more in a later turn of the loop."""
        ...

    def admit(self, link: RtmpLink, request: PublishRequest) -> None:
        """Ask the gate in a task; it ends in on_admitted or on_refused."""
        ...

    def gone(self, link: RtmpLink) -> None: ...


class RtmpLink:
    def __init__(self, host: Host, sock: socket.socket, address: str, connection: RtmpConnection) -> None:
        self.address = address
        self.protocol = "rtmps" if isinstance(sock, ssl.SSLSocket) else "rtmp"
        self.closed = False
        self.request: PublishRequest | None = None
        self._host = host
        self._sock = sock
        self._connection = connection
        self._since = self._waiting_since = self._last = time.monotonic()
        self._pace = Pace(host.max_bitrate, self._since)
        self._frames = 0
        self._publisher: Publisher | None = None
        self._intake: Intake | None = None
        self._admitting = False
        self._held: list[Event] = []
        self._unsent = b""
        self._last_words: float | None = None  # when they were said; then only the goodbye is waited for
        self._drained = 0

    @property
    def last_received(self) -> float:
        return self._last

    @property
    def publishing(self) -> bool:
        return self._publisher is not None

    def fileno(self) -> int:
        return self._sock.fileno()

    def start(self) -> None:
        self._host.watch(self, steady=False)

    def close(self, reason: str) -> None:
        """As a broadcast sees it: tell the encoder and hang up. The publisher knows already."""
        self._publisher = self._intake = None
        self._part(reason)

    def want_key(self, rendition: str = "") -> bool:
        """RTMP cannot ask: key frames come when the encoder makes them."""
        return False

    def abort(self, reason: str) -> None:
        """Hang up without a word, so that the encoder comes back by itself (a deploy)."""
        self._release(reason, clean=False)
        self._shut()

    def describe(self) -> dict[str, object]:
        """since: seconds; received, buffered: bytes; damaged: frames dropped."""
        return {
            "protocol": self.protocol,
            "address": self.address,
            "encoder": self._connection.encoder,
            "since": round(time.monotonic() - self._since, 1),
            "received": self._connection.received,
            "buffered": self._connection.buffered,
            "damaged": self._intake.damaged if self._intake else 0,
        }

    def check(self, now: float) -> None:
        """Called about once a second: what took too long?"""
        if self._last_words is not None:
            if now - self._last_words > LINGER:
                self._shut()
        elif self._publisher is not None:
            if now - self._last > self._host.idle_timeout:
                self._turn_away(f"the encoder sent nothing for {self._host.idle_timeout:g} s")
        elif not self._admitting and now - self._waiting_since > self._host.handshake_timeout:
            self._turn_away(f"no stream was published within {self._host.handshake_timeout:g} s")

    # reading

    def on_readable(self, now: float) -> None:
        try:
            self._read(now)
        except Exception:  # a fault of ours costs this connection, and no other
            log.exception("%s %s: closed: reading it failed", self.protocol, self.address)
            self.abort("the server failed on what the encoder sent")

    def _read(self, now: float) -> None:
        if self._last_words is not None:
            self._drain()
            return
        buffer = self._host.buffer
        size = len(buffer)
        recv_into = self._sock.recv_into
        secure = self.protocol == "rtmps"
        for turn in range(READS):
            try:
                count = recv_into(buffer)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self._lost(f"the connection broke ({error.strerror or type(error).__name__})")
                return
            if not count:
                self._lost("the encoder closed the connection")
                return
            self._last = now
            if not self._feed(buffer[:count]):
                return
            # a TLS record is read whole or not at all, and what is decrypted already no poller sees
            if count < size and not secure:
                break
            if secure and turn == READS - 1:
                self._host.unwatch(self)
                self._host.soon(self)
                break
        if self._intake is not None:
            self._intake.flush()
        self._keep_pace(now)

    def _keep_pace(self, now: float) -> None:
        received = self._connection.received
        reason = self._pace.excess(received, now) if received >= self._pace.next_look else ""
        if reason := reason or self._pace.crowd(self._frames, now):
            self._turn_away(reason)

    def on_more(self) -> None:
        """Go on with what was read already, or decrypted already."""
        if self.closed or self._last_words is not None or self._admitting:
            return
        if self._connection.backlog and not self._feed(b""):
            return
        self._host.watch(self, steady=self._publisher is not None)
        self.on_readable(time.monotonic())

    def _feed(self, data: bytes | memoryview) -> bool:
        """Whether to read on."""
        try:
            events = self._connection.receive(data)
            if events:
                self._frames += len(events)
                self._handle(events)
        except ProtocolError as error:
            self._turn_away(error.reason)
        else:
            self._send()
        if self.closed or self._last_words is not None or self._admitting:
            return False
        if self._connection.backlog:
            if self._intake is not None:
                self._intake.flush()
            self._host.unwatch(self)
            self._host.soon(self)
            self._keep_pace(self._last)
            return False
        return True

    def _handle(self, events: Sequence[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, Message):
                intake = self._intake
                if intake is not None:
                    if event.type == VIDEO:
                        intake.video(event.timestamp, event.payload)
                    else:
                        intake.audio(event.timestamp, event.payload)
            elif isinstance(event, Metadata):
                if self._intake is not None:
                    self._intake.metadata(event.values)
            elif isinstance(event, PublishRequested):
                self._held = list(events[index + 1 :])
                self._ask(event)
                return
            elif isinstance(event, PublishEnded):
                self._release("the encoder ended the stream", clean=True)
                self._waiting_since = time.monotonic()
                if self._last_words is None and not self.closed:
                    self._host.unwatch(self)
                    self._host.watch(self, steady=False)
            elif isinstance(event, Goodbye):
                self._send()
                self._turn_away(event.reason, told=True)
                return

    def _drain(self) -> None:
        """Read and forget, until the other side has read our last words and hangs up."""
        with suppress(BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            try:
                count = self._sock.recv_into(self._host.buffer)
            except (BlockingIOError, InterruptedError, ssl.SSLError):
                raise
            except OSError:
                count = 0
            self._drained += count
            if not count or self._drained > LINGER_BYTES:
                self._shut()

    # the gate

    def _ask(self, event: PublishRequested) -> None:
        request = PublishRequest(self.protocol, event.key, self.address, event.encoder, self)
        if not event.key:
            self.on_refused(request, Refused("no_key", "No stream key: put it where the encoder asks for it."))
        elif self._host.stopping:
            self.on_refused(request, Refused("stopping", "The server is restarting: try again in a moment."))
        else:
            self._admitting = True
            self._host.unwatch(self)
            self._host.admit(self, request)

    def on_admitted(self, request: PublishRequest, publisher: Publisher) -> None:
        self._admitting = False
        if self.closed or self._last_words is not None:
            publisher.close("the encoder left before it began", clean=False)
            return
        self.request = request
        self._publisher = publisher
        self._intake = Intake(publisher, max_ahead=self._host.max_ahead)
        self._last = time.monotonic()
        self._connection.accept()
        self._send()
        self._host.watch(self, steady=True)
        held, self._held = self._held, []
        try:
            self._handle(held)
        except ProtocolError as error:
            self._turn_away(error.reason)
        self.on_more()

    def on_refused(self, request: PublishRequest, refused: Refused) -> None:
        self._admitting = False
        if self.closed or self._last_words is not None:
            return
        log.info("%s %s: refused: %s", self.protocol, self.address, refused.description)
        if refused.code in UNWRITTEN:
            self._host.gate.turned_away(request, self.address, refused.description)
        self._held = []
        self._connection.refuse(STATUS_OF.get(refused.code, "NetStream.Publish.Denied"), refused.description)
        self._say_goodbye()

    # leaving

    def _turn_away(self, reason: str, *, told: bool = False) -> None:
        """For what it sent, or did not send in time."""
        log.warning("%s %s: closed: %s", self.protocol, self.address, reason)
        self._host.gate.turned_away(self.request, self.address, reason)
        self._release(reason, clean=False)
        if not told:
            self._connection.farewell(reason)
        self._say_goodbye()

    def _part(self, reason: str) -> None:
        if self.closed or self._last_words is not None:
            return
        self._connection.farewell(reason)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._last_words = time.monotonic()
        self._host.unwatch(self)
        self._send()
        if not self.closed:
            self._host.watch(self, steady=False)
            self._finish_sending()

    def _lost(self, reason: str) -> None:
        self._release(reason, clean=False)
        self._shut()

    def _release(self, reason: str, *, clean: bool) -> None:
        publisher, intake = self._publisher, self._intake
        self._publisher = self._intake = None
        if intake is not None:
            intake.flush()
        if publisher is not None:
            publisher.close(reason, clean=clean)

    def _shut(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._host.unwatch(self)
        self._host.watch_writable(self, False)
        self._host.gone(self)
        self._sock.close()

    # writing

    def on_writable(self) -> None:
        self._host.watch_writable(self, False)
        self._send()
        if not self.closed and self._last_words is not None:
            self._finish_sending()

    def _send(self) -> None:
        data = self._unsent + self._connection.take_output()
        if not data or self.closed:
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError as error:
            self._lost(f"the connection broke ({error.strerror or type(error).__name__})")
            return
        self._unsent = data[sent:]
        if len(self._unsent) > MAX_UNSENT:
            reason = "the encoder does not read what it is told"
            if self._last_words is None:
                log.warning("%s %s: closed: %s", self.protocol, self.address, reason)
                self._host.gate.turned_away(self.request, self.address, reason)
            self._lost(reason)
        elif self._unsent:
            self._host.watch_writable(self, True)

    def _finish_sending(self) -> None:
        if self._unsent:
            return
        with suppress(OSError, ValueError):
            if isinstance(self._sock, ssl.SSLSocket):
                with suppress(ssl.SSLError):
                    self._sock.unwrap()
            self._sock.shutdown(socket.SHUT_WR)
