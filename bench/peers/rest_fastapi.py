"""`python -m bench.peers.rest_fastapi PORT DSN`: FastAPI, Pydantic, SQLAlchemy and asyncpg under uvicorn with uvloop.

Written as its own guides do: a session a request through a dependency, models in and out, rows as objects. It checks no
token, limits no rate and logs no request. It runs in an environment of its own (requirements-peers.lock), and so
imports nothing of this project.
"""
# mypy: ignore-errors

import sys
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

POOL = 32
ME = uuid.uuid4()


class Base(DeclarativeBase):
    __table_args__ = {"schema": "bench"}  # noqa: RUF012


class OwnerRow(Base):
    __tablename__ = "owners"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    username: Mapped[str]


class CardRow(Base):
    __tablename__ = "cards"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bench.owners.id"))
    title: Mapped[str]
    visibility: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime]
    viewers: Mapped[int]
    thumbnail: Mapped[str]
    owner: Mapped[OwnerRow] = relationship()


class MessageRow(Base):
    __tablename__ = "messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    room_id: Mapped[uuid.UUID]
    place: Mapped[int] = mapped_column(server_default=func.nextval("bench.messages_place_seq"))
    author_id: Mapped[uuid.UUID]
    text: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class Owner(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    username: str


class Card(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    title: str
    visibility: str
    state: str
    created_at: datetime
    started_at: datetime
    viewers: int
    thumbnail: str
    owner: Owner
    ended_at: datetime | None = None
    recording: str | None = None


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


engine = create_async_engine(sys.argv[2].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=POOL)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as one:
        yield one


Session = Annotated[AsyncSession, Depends(session)]
app = FastAPI()


@app.get("/api/v1/live")
async def cards(db: Session, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Page:
    rows = await db.scalars(
        select(CardRow)
        .options(joinedload(CardRow.owner))
        .where(CardRow.state.in_(["live", "interrupted"]), CardRow.visibility == "public")
        .order_by(CardRow.started_at.desc(), CardRow.id.desc())
        .limit(limit)
    )
    return Page(items=[Card.model_validate(row) for row in rows], next_cursor=None)


@app.post("/api/v1/live/{id}/chat", status_code=201)
async def write(id: uuid.UUID, body: Body, db: Session) -> Message:
    row = MessageRow(id=uuid.uuid4(), room_id=id, author_id=ME, text=body.text)
    db.add(row)
    await db.flush()
    await db.refresh(row, ["place", "at"])
    await db.commit()
    return Message(id=row.id, author=Owner(id=ME, username="somebody"), text=row.text, at=row.at, offset=row.place)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop")
