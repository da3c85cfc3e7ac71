"""The chat with a real database, the HTTP kit, and the socket, as wiring puts them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web

from realtime.broker import Broker
from realtime.broker.memory import MemoryBroker
from realtime.hub import Hub, HubOptions
from realtime.presence.memory import MemoryPresence
from realtime.roster import SocketOptions
from realtime.socket import Sockets
from server.community.chat.channel import ChatChannels, StaffChannels
from server.community.chat.routes import routes
from server.community.chat.service import Chat, ChatOptions
from server.identity.access.roles import permissions_of
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.http import install
from server.kit.ids import uuid7
from server.kit.limits import Limits
from server.kit.problems import Unauthorized
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database
from tests.realtime.stage import Client

SECRETS = Secrets(Database("", max_size=1), "the secret of the tests' installation")


@dataclass
class Broadcast:
    id: UUID
    owner_id: UUID
    open: bool = True
    started_at: datetime | None = field(default_factory=lambda: now() - timedelta(minutes=10))


@dataclass(frozen=True)
class Person:
    id: UUID
    username: str


class World:
    """The broadcasts and people that there are."""

    def __init__(self) -> None:
        self.broadcasts: dict[UUID, Broadcast] = {}
        self.callers: dict[str, Caller] = {}
        self.bonds: set[str] = set()
        self.following: dict[UUID, datetime] = {}
        self.subscribed: set[UUID] = set()
        self.audited: list[tuple[str, UUID, UUID | None]] = []

    def broadcast(self, owner: str = "owner") -> Broadcast:
        broadcast = Broadcast(uuid7(), self.person(owner).user_id)
        self.broadcasts[broadcast.id] = broadcast
        return broadcast

    def person(self, name: str, *roles: str) -> Caller:
        """The person's token is the name."""
        if name not in self.callers:
            self.callers[name] = Caller(uuid4(), name, frozenset(roles), uuid4(), permissions=permissions_of(roles))
        return self.callers[name]

    async def room(self, id: UUID) -> Broadcast | None:
        return self.broadcasts.get(id)

    # people, as the chat asks for them

    async def people(self, ids: Collection[UUID]) -> dict[UUID, Person]:
        return {
            caller.user_id: Person(caller.user_id, name)
            for name, caller in self.callers.items()
            if caller.user_id in ids
        }

    async def by_username(self, name: str) -> Person | None:
        caller = self.callers.get(name)
        return Person(caller.user_id, name) if caller is not None else None

    # bonds, as a later feature will know them

    def knows(self, bond: str) -> bool:
        return bond in self.bonds

    async def followers(
        self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]
    ) -> dict[UUID, datetime]:
        return {id: since for id, since in self.following.items() if id in user_ids}

    async def subscribers(self, connection: Connection, owner_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
        return self.subscribed & set(user_ids)

    # what the log of security events was told

    async def record(
        self,
        connection: Connection,
        user_id: UUID,
        event: str,
        origin: Origin | None = None,
        *,
        actor_id: UUID | None = None,
        **details: object,
    ) -> None:
        self.audited.append((event, user_id, actor_id))

    async def authenticate(self, token: str) -> Caller:
        try:
            return self.callers[token]
        except KeyError:
            raise Unauthorized() from None


class Server:
    def __init__(
        self,
        database: Database,
        world: World,
        *,
        broker: Broker | None = None,
        name: str = "a",
        burst: int = 1000,
        limits: Limits | None = None,
        options: ChatOptions | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.world = world
        self.hub = Hub(
            broker or MemoryBroker(),
            MemoryPresence(),
            node=name,
            options=HubOptions(presence_seconds=0.05, check_seconds=0.2),
        )
        self.chat = Chat(
            database,
            world,
            self.hub,
            options=options or ChatOptions(burst=burst, interval=2.0, reaction_burst=1000),
            limits=limits,
            audience=world,
            people=world,
            audit=world,
            clock=clock,
        )
        live = ChatChannels(self.chat, self.state)
        self.hub.add_rules("live", live)
        self.hub.on_state(live.state_changed)
        self.hub.add_rules("staff", StaffChannels(self.chat, self.state))
        self.sockets = Sockets(
            self.hub,
            world,
            viewer_of=lambda request: "viewer",
            options=SocketOptions(burst=1000, most=1000, per_address=1000),
        )

    async def state(self, id: UUID) -> Any:
        return {"state": "live"}

    async def __aenter__(self) -> Server:
        app = web.Application()
        app.router.add_get("/ws", self.sockets.handle)
        # beside the loop, which is guarded
        await asyncio.to_thread(
            install, app, [routes(self.chat)], authenticator=self.world, settings=Settings(), secrets=SECRETS
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        self._http = aiohttp.ClientSession()
        self._clients: list[Client] = []
        await self.chat.start()
        await self.hub.start()
        await self.sockets.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()
        await self.sockets.close()
        await self.chat.close()
        await self.hub.close()
        await self._http.close()
        await self._runner.cleanup()

    async def connect(self, name: str = "", format: str = "json") -> Client:
        protocols = [f"socialflow.v1.{format}", *([f"token.{name}"] if name else [])]
        if name:
            self.world.person(name)
        client = Client(await self._http.ws_connect(self.url + "/ws", protocols=protocols), format)
        self._clients.append(client)
        await client.hear("welcome")
        return client

    @asynccontextmanager
    async def call(
        self, method: str, path: str, name: str = "", **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if name:
            self.world.person(name)
        headers = {"Authorization": f"Bearer {name}"} if name else {}
        async with self._http.request(method, f"{self.url}/api/v1/live/{path}", headers=headers, **options) as answer:
            yield answer

    async def json(self, method: str, path: str, name: str = "", status: int = 200, **options: Any) -> Any:
        async with self.call(method, path, name, **options) as answer:
            body = await answer.json(content_type=None) if answer.status != 204 else None
            assert answer.status == status, body
            return body


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def server(database: Database, world: World) -> AsyncIterator[Server]:
    async with Server(database, world) as server:
        yield server
