"""An RTMP publisher that knows when each frame left: the clock of all latency figures.

A Pusher is a thread that lives until `stop`. It sends the tags of one FLV file over and over in real time, or first a
part of it faster (to fill a window), each message in one piece and without buffering, and notes for every video frame
when its last byte was given to the kernel.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.media import FRAME_RATE, VIDEO, Tag
from bench.processes import BenchError
from media.protocols import amf
from media.protocols.rtmp.chunks import COMMAND_AMF0, SET_CHUNK_SIZE, USER_CONTROL, ChunkReader, ChunkWriter

CHUNK_SIZE = 1 << 20
PING, PONG = 6, 7
HANDSHAKE = 1536


class Pusher(threading.Thread):
    """`rush_seconds` of media are sent at `rush_speed` times real time, then it goes on in real time.

    sent: for each video frame, in order, the time.monotonic() at which it was sent. failed: why it ended by itself.
    """

    def __init__(self, url: str, tags: Sequence[Tag], *, rush_seconds: float = 0.0, rush_speed: float = 1.0) -> None:
        super().__init__(name="pusher", daemon=True)
        self.sent: list[float] = []
        self.media_seconds = 0.0
        self.failed = ""
        self._url = urlsplit(url)
        self._tags = tags
        self._rush = rush_seconds
        self._speed = rush_speed
        self._ending = threading.Event()
        self._reader = ChunkReader()
        self._writer = ChunkWriter()

    def run(self) -> None:
        try:
            address = (self._url.hostname or "127.0.0.1", self._url.port or 1935)
            with socket.create_connection(address, 10) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open(connection)
                self._send(connection)
        except (OSError, BenchError) as error:
            self.failed = str(error)

    def stop(self) -> None:
        self._ending.set()
        self.join(10)

    def _open(self, connection: socket.socket) -> None:
        connection.sendall(b"\x03" + bytes(8) + os.urandom(HANDSHAKE - 8))
        answer = _exactly(connection, 1 + 2 * HANDSHAKE)
        connection.sendall(answer[1 : 1 + HANDSHAKE])
        app, _, name = self._url.path.lstrip("/").partition("/")
        connection.sendall(self._writer.message(2, SET_CHUNK_SIZE, struct.pack(">I", CHUNK_SIZE)))
        self._writer.chunk_size = CHUNK_SIZE
        url = f"rtmp://{self._url.netloc}/{app}"
        self._command(connection, "connect", 1.0, {"app": app, "type": "nonprivate", "tcUrl": url})
        self._await(connection, b"_result")
        self._command(connection, "createStream", 2.0, None)
        self._await(connection, b"_result")
        self._command(connection, "publish", 3.0, None, name, "live", stream=1)
        self._await(connection, b"NetStream.Publish.Start")

    def _command(self, connection: socket.socket, *values: object, stream: int = 0) -> None:
        connection.sendall(self._writer.message(3, COMMAND_AMF0, amf.encode(*values), stream=stream))

    def _await(self, connection: socket.socket, wanted: bytes) -> None:
        while True:
            data = connection.recv(65536)
            if not data:
                raise BenchError("the server hung up on the pusher")
            for message in self._reader.receive(data):
                if message.type == COMMAND_AMF0:
                    if b"error" in message.payload or b".BadName" in message.payload:
                        raise BenchError(f"the server refused the pusher: {message.payload!r}")
                    if wanted in message.payload:
                        return

    def _send(self, connection: socket.socket) -> None:
        """The file again and again; its second start comes where its first would have gone on."""
        message, tags = self._writer.message, self._tags
        length = max(tag.time for tag in tags if tag.kind == VIDEO) + 1000 // FRAME_RATE
        began, offset, heard = time.monotonic(), 0, 0.0
        rush_ends = self._rush / self._speed
        while True:
            for tag in tags:
                if offset and tag.header:
                    continue
                at = offset + tag.time
                media = at / 1000
                due = began + (media / self._speed if media < self._rush else rush_ends + media - self._rush)
                left = due - time.monotonic()
                if left > 0 and self._ending.wait(left):
                    return
                if self._ending.is_set():
                    return
                connection.sendall(message(6, tag.kind, tag.body, stream=1, timestamp=at))
                if tag.kind == VIDEO and not tag.header:
                    self.sent.append(time.monotonic())
                    self.media_seconds = media
                    if self.sent[-1] - heard > 1.0:
                        heard = self.sent[-1]
                        self._answer_pings(connection)
            offset += length

    def _answer_pings(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        finally:
            connection.settimeout(10)
        for got in self._reader.receive(data):
            if got.type == USER_CONTROL and got.payload[:2] == struct.pack(">H", PING):
                connection.sendall(self._writer.message(2, USER_CONTROL, struct.pack(">H", PONG) + got.payload[2:6]))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise BenchError("the server hung up in the handshake")
        data += more
    return data
