"""`python -m bench.peers.ws_aiohttp PORT naive|once`: bare aiohttp on uvloop, one room.

naive: a `send_str` for every connection, as the documentation's example does. once: the frame is built once and written
to every transport.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import cast

import uvloop
from aiohttp import WSMsgType, web


async def serve(port: int, *, once: bool) -> None:
    room: dict[web.WebSocketResponse, asyncio.Transport] = {}

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        room[socket] = cast(asyncio.Transport, request.transport)  # uvloop's is none by inheritance
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                if once:
                    framed = frame(message.data.encode())
                    for transport in room.values():
                        transport.write(framed)
                else:
                    for other in list(room):
                        await other.send_str(message.data)
        finally:
            del room[socket]
        return socket

    app = web.Application()
    app.router.add_get("/ws", talk)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


def frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    return head + payload


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), once=sys.argv[2] == "once"))
