"""`python -m bench.peers.rest_fastapi PORT DSN`: FastAPI, Pydantic and asyncpg under uvicorn; one statement a request.

Measured only where fastapi and uvicorn are installed; the project does not depend on them.
"""
# mypy: ignore-errors

from __future__ import annotations

import sys
import uuid
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import uvicorn
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from bench.peers.rest_rows import LIST, WRITE

POOL = 32


class Owner(BaseModel):
    id: uuid.UUID
    username: str


class Card(BaseModel):
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


class Page(BaseModel):
    items: list[Card]
    next_cursor: str | None


class Body(BaseModel):
    text: str = Field(min_length=1, max_length=500)


class Message(BaseModel):
    id: uuid.UUID
    author: Owner
    text: str
    at: datetime
    offset: int


@asynccontextmanager
async def life(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(sys.argv[2], min_size=POOL, max_size=POOL)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=life)
AUTHOR = Owner(id=uuid.uuid4(), username="somebody")


@app.get("/api/v1/live")
async def cards(limit: int = Query(20, ge=1, le=100)) -> Page:
    rows = await app.state.pool.fetch(LIST, limit)
    return Page(
        items=[Card(**dict(row), owner=Owner(id=row["owner_id"], username=row["username"])) for row in rows],
        next_cursor=None,
    )


@app.post("/api/v1/live/{id}/chat", status_code=201)
async def write(id: uuid.UUID, body: Body) -> Message:
    message = uuid.uuid4()
    place, at = await app.state.pool.fetchrow(WRITE, message, id, AUTHOR.id, body.text)
    return Message(id=message, author=AUTHOR, text=body.text, at=at, offset=place)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
