"""`python -m bench.peers.http_memory PORT FOLDER`: bare aiohttp on uvloop that answers files' bytes from memory.

FOLDER/headers.json: {name: {header: value}}, sent with the file of that name.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def serve(port: int, folder: Path) -> None:
    headers: dict[str, dict[str, str]] = json.loads((folder / "headers.json").read_text())
    bodies = {name: (folder / name).read_bytes() for name in headers}

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = bodies.get(name)
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, headers=headers[name])

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
