"""`python -m bench.peers.ws_starlette PORT`: Starlette under uvicorn[standard], one room, a `send_text` for every
connection, as the documentation's example does.
"""

# mypy: ignore-errors

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

room: set[WebSocket] = set()


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    room.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for other in list(room):
                await other.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        room.discard(socket)


def main() -> None:
    app: Any = Starlette(routes=[WebSocketRoute("/ws", talk)])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=4096,
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main()
