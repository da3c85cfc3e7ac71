"""A bad network: a TCP proxy that cuts connections, lets them hang half open, cuts in the middle of what is on its way.

Owns its listening socket and every connection through it; all end with `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
from random import Random


class Link:
    """One connection through the proxy. Each direction can be deaf: what comes is swallowed, and nobody is told."""

    def __init__(self) -> None:
        self.deaf_up = self.deaf_down = False
        self.cut_within = False  # the next piece to the client is cut short, and the connection with it
        self._ends: list[asyncio.StreamWriter] = []

    async def carry(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], address: tuple[str, int]) -> None:
        self._ends.append(client[1])
        try:
            server = await asyncio.open_connection(*address)
            self._ends.append(server[1])
            async with asyncio.TaskGroup() as both:
                both.create_task(self._up(client[0], server[1]))
                both.create_task(self._down(server[0], client[1]))
        except* OSError:
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if not self.deaf_up:
                writer.write(piece)
                await writer.drain()
        await self._ended(self.deaf_up)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if self.deaf_down:
                continue  # for good: no network loses the middle of a connection
            if self.cut_within:
                writer.write(piece[: len(piece) // 2])
                await writer.drain()
                raise ConnectionResetError
            writer.write(piece)
            await writer.drain()
        await self._ended(self.deaf_down)

    async def _ended(self, deaf: bool) -> None:
        if deaf:  # that one end hung up is swallowed, too
            await asyncio.Event().wait()
        raise ConnectionResetError


class Proxy:
    def __init__(self, port: int) -> None:
        """`port`: of the server on the loopback interface, which may come and go."""
        self._address = ("127.0.0.1", port)
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def some(self, chance: Random, part: float) -> list[Link]:
        links = list(self._links)
        return chance.sample(links, round(len(links) * part))

    def heal(self) -> None:
        """Nothing hangs any more: what did is cut."""
        for link in list(self._links):
            if link.deaf_up or link.deaf_down or link.cut_within:
                link.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link()
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the end of the proxy; asyncio's server would log it
                await link.carry((reader, writer), self._address)
        finally:
            del self._links[link]
