"""`python -m bench.peers.rest_aiohttp PORT DSN`: bare aiohttp, msgspec and asyncpg on uvloop; one statement a request.

It checks no token, limits no rate, tells nobody and counts nothing: the least that the same two answers cost.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import datetime
from typing import Annotated

import asyncpg
import msgspec
import uvloop
from aiohttp import web

from bench.peers.rest_rows import LIST, WRITE

POOL = 32
JSON = {"Content-Type": "application/json"}


class Owner(msgspec.Struct):
    id: uuid.UUID
    username: str


class Card(msgspec.Struct):
    id: uuid.UUID
    title: str
    visibility: str
    state: str
    created_at: datetime
    started_at: datetime
    viewers: int
    thumbnail: str
    owner: Owner
    ended_at: None = None
    recording: None = None


def card(
    id: uuid.UUID, title: str, visibility: str, state: str, created_at: datetime, started_at: datetime, viewers: int,
    thumbnail: str, owner_id: uuid.UUID, username: str,
) -> Card:  # fmt: skip
    """A row of LIST."""
    owner = Owner(owner_id, username)
    return Card(id, title, visibility, state, created_at, started_at, viewers, thumbnail, owner)


class Page(msgspec.Struct):
    items: list[Card]
    next_cursor: str | None


class Body(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Message(msgspec.Struct):
    id: uuid.UUID
    author: Owner
    text: str
    at: datetime
    offset: int


async def serve(port: int, dsn: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Body).decode
    author = Owner(uuid.uuid4(), "somebody")

    async def cards(request: web.Request) -> web.Response:
        rows = await pool.fetch(LIST, min(int(request.query.get("limit", 20)), 100))
        page = Page([card(*row) for row in rows], None)
        return web.Response(body=encode(page), headers=JSON)

    async def write(request: web.Request) -> web.Response:
        try:
            body = decode(await request.read())
        except msgspec.MsgspecError as error:
            return web.Response(status=422, body=encode({"error": str(error)}), headers=JSON)
        id = uuid.uuid4()
        row = await pool.fetchrow(WRITE, id, uuid.UUID(request.match_info["id"]), author.id, body.text)
        assert row is not None  # it has a RETURNING
        place, at = row
        return web.Response(status=201, body=encode(Message(id, author, body.text, at, place)), headers=JSON)

    app = web.Application()
    app.router.add_get("/api/v1/live", cards)
    app.router.add_post("/api/v1/live/{id}/chat", write)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
