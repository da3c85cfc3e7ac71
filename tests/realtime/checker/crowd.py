"""Thousands of readers of one channel in one process, cheaply: what is on the wire and no more of a client.

A `Reader` is a protocol on a raw connection. It checks by itself that places come one after the other, and comes back
with `since`. All end with `close`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import struct
from typing import Any

import msgspec


class _Item(msgspec.Struct):
    offset: int
    data: msgspec.Raw


class _Told(msgspec.Struct):
    type: str
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    messages: list[_Item] | None = None
    data: msgspec.Raw = msgspec.Raw()
    code: Any = None


_decode = msgspec.json.Decoder(_Told).decode


class Reader(asyncio.Protocol):
    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd, self._number = crowd, number
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._upgraded = False
        self.epoch, self.offset = "", -1
        self.seen = 0  # hash of all the data, in its order
        self.holds = False
        self.recovered = self.anew = 0

    async def connect(self, port: int) -> None:
        self._buffer.clear()
        self._upgraded = self.holds = False
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                self._crowd.refused += 1
                await asyncio.sleep(random.uniform(0.1, 1.0))
            else:
                return

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
        )

    def connection_lost(self, error: Exception | None) -> None:
        self.holds = False
        self._transport = None
        self._crowd.lost(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            head, found, rest = bytes(buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._crowd.refused += 1
                self.cut()
                return
            self._upgraded = True
            buffer[:] = rest
            place = {"since": {"epoch": self.epoch, "offset": self.offset}} if self.offset >= 0 else {}
            self._send(1, msgspec.json.encode({"type": "subscribe", "id": 1, "channel": self._crowd.channel, **place}))
        while len(buffer) >= 2:
            size, head_size = buffer[1], 2
            if size == 126:
                size, head_size = int.from_bytes(buffer[2:4], "big"), 4
            elif size == 127:
                size, head_size = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < head_size + size or len(buffer) < head_size:
                return
            opcode, payload = buffer[0] & 15, bytes(buffer[head_size : head_size + size])
            del buffer[: head_size + size]
            if opcode == 1:
                self._take(_decode(payload))
            elif opcode == 9:
                self._send(10, payload)
            elif opcode == 8:
                self._crowd.closed(int.from_bytes(payload[:2], "big"))
                self.cut()
                return

    def _send(self, opcode: int, payload: bytes) -> None:
        head = bytes((0x80 | opcode, 0x80 | len(payload))) if len(payload) < 126 else b""
        if not head:
            head = struct.pack("!BBH", 0x80 | opcode, 0xFE, len(payload))
        if self._transport is not None:
            self._transport.write(head + bytes(4) + payload)

    def _take(self, told: _Told) -> None:
        if told.type == "ack" and told.messages is not None:
            self.holds = True
            if self.offset >= 0:
                self.recovered += told.recovered
                self.anew += not told.recovered
            else:
                self.epoch, self.offset = told.epoch, told.messages[0].offset - 1 if told.messages else told.offset
            for item in told.messages:
                self._next(told.epoch, item.offset, item.data)
            if self.offset != told.offset:
                self._crowd.wrong(f"{self._number} is at {self.offset} after an answer up to {told.offset}")
            self._crowd.back()
        elif told.type == "message":
            self._next(told.epoch, told.offset, told.data)
        elif told.type in ("error", "closed"):
            self._crowd.wrong(f"{self._number} was answered {told.code}")

    def _next(self, epoch: str, offset: int, data: msgspec.Raw) -> None:
        if (epoch, offset) != (self.epoch, self.offset + 1):
            self._crowd.wrong(f"{self._number} was told {epoch}/{offset} after {self.epoch}/{self.offset}")
        self.epoch, self.offset = epoch, offset
        self.seen = hash((self.seen, bytes(data)))


class Crowd:
    def __init__(self, port: int, channel: str) -> None:
        self.channel = channel
        self._port = port
        self.readers: list[Reader] = []
        self.faults: list[str] = []
        self.codes: dict[int, int] = {}
        self.refused = 0
        self._coming: set[asyncio.Task[None]] = set()
        self._closing = False
        self._news = asyncio.Event()
        self.away = 0.0  # those who lost their connection come back within so many seconds, at random

    async def come(self, count: int, at_once: int = 200) -> None:
        """All of them hold the channel when it returns."""
        self.readers = [Reader(self, number) for number in range(count)]
        turn = asyncio.Semaphore(at_once)

        async def one(reader: Reader) -> None:
            async with turn:
                await reader.connect(self._port)

        await asyncio.gather(*(one(reader) for reader in self.readers))
        await self.whole()

    async def whole(self) -> None:
        self._news.clear()
        while not all(reader.holds for reader in self.readers):
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0.05)  # to look at all of them for each would be the client's work, not the server's

    def cut(self) -> None:
        """Every connection, at once."""
        for reader in self.readers:
            reader.holds = False
            reader.cut()

    async def close(self) -> None:
        self._closing = True
        for task in list(self._coming):
            task.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)
        for reader in self.readers:
            reader.cut()
        await asyncio.sleep(0)

    # what readers say

    def wrong(self, what: str) -> None:
        self.faults.append(what)

    def closed(self, code: int) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1

    def back(self) -> None:
        self._news.set()

    def lost(self, reader: Reader) -> None:
        if self._closing:
            return

        async def again() -> None:
            await asyncio.sleep(random.uniform(0, self.away))
            await reader.connect(self._port)

        task = asyncio.get_running_loop().create_task(again())
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
