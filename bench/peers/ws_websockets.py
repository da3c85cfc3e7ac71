"""`python -m bench.peers.ws_websockets PORT`: the `websockets` package on uvloop, one room, its own `broadcast`."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed


async def main(port: int) -> None:
    room: set[ServerConnection] = set()

    async def talk(socket: ServerConnection) -> None:
        room.add(socket)
        try:
            async for message in socket:
                broadcast(room, message)
        except ConnectionClosed:
            pass
        finally:
            room.discard(socket)

    async with serve(talk, "127.0.0.1", port, compression=None, backlog=4096):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
