"""A node with a real HTTP server, a feature that keeps its messages in memory, and clients over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
from aiohttp import web

from realtime.broker import Broker
from realtime.broker.memory import MemoryBroker
from realtime.events import Events
from realtime.hub import Hub, HubOptions
from realtime.presence import Presence
from realtime.presence.memory import MemoryPresence
from realtime.protocol.codec import Payload
from realtime.protocol.messages import Position
from realtime.roster import SocketOptions
from realtime.rules import Action, Discretion, Entry, Identity, Published, Refused, Slice, Unheard
from realtime.socket import Sockets
from tests.support import eventually


@dataclass(frozen=True)
class Someone:
    user_id: UUID
    username: str


class BadToken(Exception):
    status = 401


class Tokens:
    """An authenticator: tokens are known until they are taken away."""

    def __init__(self) -> None:
        self.known: dict[str, Someone] = {}

    def sign_in(self, username: str) -> str:
        token = f"token-of-{username}-{len(self.known)}"
        self.known[token] = Someone(uuid4(), username)
        return token

    async def authenticate(self, token: str) -> Someone:
        await asyncio.sleep(0)
        try:
            return self.known[token]
        except KeyError:
            raise BadToken(token) from None


@dataclass
class Feature:
    """ChannelRules over a list: what stands in `log` is on disk, told or not."""

    epoch: str = "1"
    log: dict[str, list[Any]] = field(default_factory=dict)
    banned: set[UUID | None] = field(default_factory=set)
    may_not: set[tuple[UUID | None, Action]] = field(default_factory=set)
    unheard: set[UUID] = field(default_factory=set)
    states: dict[str, Any] = field(default_factory=dict)
    hub: Hub | None = None
    broken: bool = False
    reads: list[tuple[str, int | None]] = field(default_factory=list)
    delay: float = 0.0

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        if self.broken:
            raise Refused("unavailable", "The store is away.")
        if (who.user_id if who else None) in self.banned:
            raise Refused("forbidden", "You are banned.")
        if (who.user_id if who else None, action) in self.may_not:
            raise Refused("forbidden", f"Not {action.value}.")
        if action is Action.TYPING and who is not None and who.user_id in self.unheard:
            raise Unheard
        if channel.endswith(":none"):
            raise Refused("unknown_channel", "There is none.")

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        await self.authorize(who, channel, Action.PUBLISH)
        if who is None:
            raise Refused("unauthenticated", "Sign in.")
        if data.get("fail"):
            raise RuntimeError("a fault of the feature")
        offset = self.store(channel, data)
        assert self.hub is not None
        self.hub.deliver(channel, self.epoch, Entry(offset, Payload(msgspec.json.encode(data))))
        return Published(Position(self.epoch, offset), data)

    def store(self, channel: str, data: Any) -> int:
        """On disk, but not told to anybody."""
        log = self.log.setdefault(channel, [])
        log.append(data)
        return len(log)

    async def history(self, channel: str, since: int | None, limit: int) -> Slice:
        self.reads.append((channel, since))
        await asyncio.sleep(self.delay)
        if self.broken:
            raise OSError("the store is away")
        log = self.log.get(channel, [])
        first = since if since is not None else max(0, len(log) - limit)
        entries = [
            Entry(first + at + 1, Payload(msgspec.json.encode(data)))
            for at, data in enumerate(log[first : first + limit])
        ]
        return Slice(Position(self.epoch, len(log)), entries)

    async def heads(self, channels: Collection[str]) -> Mapping[str, Position]:
        if self.broken:
            raise OSError("the store is away")
        return {channel: Position(self.epoch, len(self.log.get(channel, []))) for channel in channels}

    async def state(self, channel: str) -> Any:
        return self.states.get(channel)


class Client:
    """Speaks the protocol; keeps what it is told unasked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, format: str) -> None:
        self.socket = socket
        self.format = format
        self.told: deque[dict[str, Any]] = deque()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.close_code: int | None = None
        self.close_reason = ""

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                assert self.format == "json"
                told = msgspec.json.decode(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                assert self.format == "msgpack"
                told = msgspec.msgpack.decode(message.data)
            else:
                continue
            if told.get("id") in self._answers:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self.told.append(told)
            self._news.set()
        self.close_code = self.socket.close_code
        self._news.set()

    def encode(self, message: Any) -> bytes:
        return (msgspec.json if self.format == "json" else msgspec.msgpack).encode(message)

    async def say(self, **message: Any) -> None:
        body = self.encode(message)
        await (self.socket.send_str(body.decode()) if self.format == "json" else self.socket.send_bytes(body))

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self.say(type=type, id=self._number, **fields)
        return await asyncio.wait_for(answer, 30)

    async def hear(self, type: str, within: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The next message of this type with these fields; what came before it is dropped."""
        async with asyncio.timeout(within):
            while True:
                while self.told:
                    told = self.told.popleft()
                    if told["type"] == type and all(told.get(name) == value for name, value in fields.items()):
                        return told
                if self.close_code is not None:
                    raise AssertionError(f"closed with {self.close_code} while waiting for {type}")
                self._news.clear()
                await self._news.wait()

    async def closed(self, within: float = 10.0) -> int:
        await asyncio.wait_for(asyncio.shield(self._reading), within)
        assert self.close_code is not None
        return self.close_code

    def offsets(self, channel: str) -> list[int]:
        return [told["offset"] for told in self.told if told["type"] == "message" and told["channel"] == channel]

    async def close(self) -> None:
        await self.socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)


class Stream:
    """A reader of server-sent events, as a browser's: its last id is that of the last event that was whole."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.status = answer.status
        self.last_event_id = ""
        self.comments = 0
        self.told: deque[dict[str, Any]] = deque()
        self.ended = False
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        event: dict[str, str] = {}
        with contextlib.suppress(aiohttp.ClientError):
            while line := (await self.answer.content.readline()).decode():
                name, _, value = line.rstrip("\n").partition(":")
                if line == "\n":
                    self.last_event_id = event.get("id", self.last_event_id)
                    if "data" in event:
                        told = msgspec.json.decode(event["data"])
                        assert told["type"] == event["event"]
                        self.told.append(told)
                    event = {}
                elif name:
                    event[name] = value.removeprefix(" ")
                else:
                    self.comments += 1
                self._news.set()
        self.ended = True
        self._news.set()

    async def hear(self, type: str, within: float = 10.0, **fields: Any) -> dict[str, Any]:
        async with asyncio.timeout(within):
            while True:
                while self.told:
                    told = self.told.popleft()
                    if told["type"] == type and all(told.get(name) == value for name, value in fields.items()):
                        return told
                assert not self.ended, f"the stream ended while waiting for {type}"
                self._news.clear()
                await self._news.wait()

    def offsets(self, channel: str) -> list[int]:
        return [told["offset"] for told in self.told if told["type"] == "message" and told["channel"] == channel]

    async def close(self) -> None:
        self.answer.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class Node:
    def __init__(
        self,
        feature: Feature,
        tokens: Tokens,
        *,
        broker: Broker | None = None,
        presence: Presence | None = None,
        name: str = "a",
        hub_options: HubOptions | None = None,
        socket_options: SocketOptions | None = None,
        origins: Collection[str] = (),
        discretion: Discretion | None = None,
    ) -> None:
        self.feature = feature
        self.tokens = tokens
        self.hub = Hub(
            broker or MemoryBroker(),
            presence or MemoryPresence(),
            node=name,
            options=hub_options or HubOptions(presence_seconds=0.05, check_seconds=30, check_seconds_degraded=30),
            discretion=discretion,
        )
        self.hub.add_rules("live", feature)
        self.sockets = Sockets(
            self.hub,
            tokens,
            viewer_of=lambda request: request.headers.get("X-Viewer", "somebody"),
            origins=origins,
            options=socket_options,
        )
        self.events = Events(self.sockets.roster)
        self.url = ""
        self._clients: list[Client] = []
        self._streams: list[Stream] = []

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self.sockets.handle)
        app.router.add_get("/events", self._listen)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}/ws"
        self._http = aiohttp.ClientSession()
        await self.hub.start()
        await self.sockets.start()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for stream in self._streams:
            await stream.close()
        await self.sockets.close()
        await self.hub.close()
        await self._http.close()
        await self._runner.cleanup()

    async def connect(
        self, token: str = "", *, format: str = "json", viewer: str = "somebody", welcome: bool = True, **options: Any
    ) -> Client:
        protocols = [f"socialflow.v1.{format}"]
        if token:
            protocols.append(f"token.{token}")
        headers = {"X-Viewer": viewer, **options.pop("headers", {})}
        socket = await self._http.ws_connect(self.url, protocols=protocols, headers=headers, **options)
        client = Client(socket, format)
        self._clients.append(client)
        if welcome:
            await client.hear("welcome")
        return client

    async def listen(
        self,
        *channels: str,
        token: str = "",
        last_event_id: str = "",
        viewer: str = "somebody",
        presence: bool = False,
    ) -> Stream:
        headers = {"X-Viewer": viewer}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        query = {"channels": ",".join(channels), "presence": "yes" if presence else ""}
        answer = await self._http.get(self.url.removesuffix("/ws") + "/events", params=query, headers=headers)
        stream = Stream(answer)
        self._streams.append(stream)
        return stream

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        who = await self.tokens.authenticate(token) if token else None
        presence = bool(request.query.get("presence"))
        names = request.query["channels"].split(",")
        return await self.events.handle(request, names, "", who, token, presence=presence)

    async def get(self, **options: Any) -> aiohttp.ClientResponse:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **options.pop("headers", {}),
        }
        return await self._http.get(self.url + options.pop("query", ""), headers=headers, **options)

    def say(self, channel: str, data: Any, *, told: bool = True) -> int:
        """The feature stores a message, and tells it unless it crashes just then."""
        offset = self.feature.store(channel, data)
        if told:
            self.hub.deliver(channel, self.feature.epoch, Entry(offset, Payload(msgspec.json.encode(data))))
        return offset


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    for node in nodes:
        await node.start()
    try:
        yield
    finally:
        for node in nodes:
            await node.close()


async def all_hear(client: Client, channel: str, count: int) -> list[int]:
    await eventually(lambda: len(client.offsets(channel)) >= count, what=f"{count} messages")
    return client.offsets(channel)
