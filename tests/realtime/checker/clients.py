"""Clients of one chat that do what docs/realtime.md says, over whatever happens, and write down what they saw.

A `Talker` holds a WebSocket, publishes numbered messages and asks again with the same nonce for as long as it was given
no answer. A `Listener` holds an event stream. Both run as one task until `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec

from tests.realtime.checker.record import Ack, Entry, Record, Sent, Sight, Subscribed, Told

ANSWER_SECONDS = 2.0  # without an answer for so long the connection is given up
TOO_LONG = "x" * 501
LOST = (aiohttp.ClientError, OSError, TimeoutError)


class Gone(Exception):
    """The connection is of no use any more."""


def entry(offset: int, data: dict[str, Any]) -> Entry:
    message = data["message"]
    return Entry(offset, message["id"], message["author"]["username"], message["text"])


def subscribed(since: tuple[str, int] | None, told: dict[str, Any]) -> Subscribed:
    entries = tuple(entry(item["offset"], item["data"]) for item in told["messages"])
    return Subscribed(since, told["epoch"], told["offset"], told["recovered"], entries)


class Talker:
    def __init__(
        self,
        name: str,
        author: str,
        token: str,
        channel: str,
        record: Record,
        *,
        http: aiohttp.ClientSession,
        address: Callable[[Random], str],
        packed: bool,
        seed: str,
        pause: float,
    ) -> None:
        """`address`: of a node to connect to now. `packed`: speak MessagePack. `pause`: between messages, mean, s."""
        self.name = name
        self._author, self._token, self._channel = author, token, channel
        self._http, self._address, self._pause = http, address, pause
        self._format: Any = msgspec.msgpack if packed else msgspec.json
        self._packed = packed
        self._chance = Random(seed)
        self._record = record
        self.sight = Sight(name)
        record.sights.append(self.sight)
        self.figures: Counter[str] = Counter()
        self.quiet = asyncio.Event()  # set: publish nothing new
        self.silent = asyncio.Event()  # what was begun is acknowledged, or was refused
        self._over = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._holding = asyncio.Event()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = self._count = 0

    def stop(self) -> None:
        self._over.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            tasks = [both.create_task(self._stay_connected()), both.create_task(self._publish())]
            await self._over.wait()
            for task in tasks:
                task.cancel()

    # the connection

    async def _stay_connected(self) -> None:
        while True:
            with contextlib.suppress(*LOST, Gone):
                await self._converse()
            self._hang_up()
            await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _converse(self) -> None:
        format = "msgpack" if self._packed else "json"
        async with asyncio.timeout(ANSWER_SECONDS):
            socket = await self._http.ws_connect(
                self._address(self._chance) + "/ws",
                protocols=[f"socialflow.v1.{format}", f"token.{self._token}"],
                timeout=aiohttp.ClientWSTimeout(ws_close=0.1),
            )
        self.figures["connections"] += 1
        async with socket:
            self._socket = socket
            await self._subscribe()
            asked = False
            while True:
                try:
                    message = await socket.receive(ANSWER_SECONDS)
                except TimeoutError:
                    if asked:
                        self.figures["silent connections"] += 1
                        raise Gone from None
                    asked = True
                    await self._say(type="ping")
                    continue
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self.figures[f"closed {socket.close_code}"] += 1
                    raise Gone
                asked = False
                await self._take(self._format.decode(message.data))

    def _hang_up(self) -> None:
        self._socket = None
        self._holding.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Gone())
                answer.exception()  # looked at here: it may be that nobody waits
        self._answers.clear()

    async def _say(self, **message: Any) -> None:
        socket = self._socket
        if socket is None:
            raise Gone
        body = self._format.encode(message)
        async with asyncio.timeout(ANSWER_SECONDS):
            await (socket.send_bytes(body) if self._packed else socket.send_str(body.decode()))

    async def _subscribe(self) -> None:
        place = self.sight.place
        since = {"since": {"epoch": place[0], "offset": place[1]}} if place else {}
        self._asked = place
        self._number += 1
        self._subscription = self._number
        await self._say(type="subscribe", id=self._number, channel=self._channel, **since)

    async def _take(self, told: dict[str, Any]) -> None:
        match told["type"]:
            case "ack" if told.get("id") == self._subscription and "messages" in told:
                self.sight.saw(subscribed(self._asked, told))
                self.figures["recovered" if told["recovered"] else "begun anew" if self._asked else "begun"] += 1
                self._holding.set()
            case "error" if told.get("id") == self._subscription:
                self.figures[f"subscription {told['code']}"] += 1
                await asyncio.sleep(0.1)
                raise Gone
            case "ack" | "error":
                answer = self._answers.pop(told.get("id"), None)  # type: ignore[arg-type]
                if answer is not None and not answer.done():
                    answer.set_result(told)
            case "message":
                self.sight.saw(Told(told["epoch"], entry(told["offset"], told["data"])))
            case "closed":
                self.figures[f"subscription {told['code']}"] += 1
                if told["code"] == "history_discarded":
                    self.sight.place = None
                raise Gone
            case "notice":
                self.figures[f"notice {told['code']}"] += 1
                if told["code"] in ("unauthenticated", "token_expired"):
                    await self._say(type="authenticate", token=self._token)

    # publishing

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0, 2 * self._pause))
            if self.quiet.is_set():
                self.silent.set()
                await asyncio.Event().wait()
            self._count += 1
            nonce = f"{self.name}-{self._count}"
            kind = self._chance.random()
            text = f"{nonce} {TOO_LONG}" if kind < 0.03 else nonce
            sent = Sent(self.name, self._author, nonce, text, time.monotonic())
            self._record.sent.append(sent)
            if kind > 0.92:  # the same, at the same time, another way: one of the two comes second
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._post(sent))
                    both.create_task(self._until_answered(sent))
            else:
                await self._until_answered(sent)
            if kind > 0.85 and not sent.refused:  # asked again although the answer had come
                await self._until_answered(sent)

    async def _until_answered(self, sent: Sent) -> None:
        had = len(sent.acks)
        while len(sent.acks) == had and not sent.refused:
            await self._holding.wait()
            try:
                answer = await self._ask(sent)
            except (*LOST, Gone):
                self.figures["unanswered"] += 1
                # whether it was stored is not known; a connection that does not answer is given up
                with contextlib.suppress(*LOST):
                    if self._socket is not None:
                        await self._socket.close()
                await asyncio.sleep(0.01)
                continue
            if answer["type"] == "ack":
                self._acknowledged(sent, answer["epoch"], answer["offset"], answer["data"]["message"])
            elif answer["code"] == "bad_text":
                sent.refused = True
                self.figures["refused"] += 1
            else:  # `unavailable`, `rate_limited`, `unauthenticated` while it signs in again
                self.figures[f"answered {answer['code']}"] += 1
                await asyncio.sleep(answer.get("retry_after", 0.1))

    async def _ask(self, sent: Sent) -> dict[str, Any]:
        self._number += 1
        sent.attempts += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        data = {"text": sent.text, "nonce": sent.nonce}
        await self._say(type="publish", id=self._number, channel=self._channel, data=data)
        return await asyncio.wait_for(answer, ANSWER_SECONDS)

    async def _post(self, sent: Sent) -> None:
        url = f"{self._address(self._chance)}/api/v1/live/{self._channel.partition(':')[2]}/chat"
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": str(uuid4())}
        body = {"text": sent.text, "nonce": sent.nonce}
        with contextlib.suppress(*LOST):
            async with asyncio.timeout(ANSWER_SECONDS), self._http.post(url, json=body, headers=headers) as answer:
                if answer.status == 201:
                    message = await answer.json()
                    self._acknowledged(sent, None, message["offset"], message)
                else:
                    self.figures[f"posted {answer.status}"] += 1

    def _acknowledged(self, sent: Sent, epoch: str | None, offset: int, message: dict[str, Any]) -> None:
        self.figures["acknowledged" if not sent.acks else "acknowledged again"] += 1
        sent.acks.append(Ack(epoch, entry(offset, {"message": message}), time.monotonic()))


class Listener:
    def __init__(
        self,
        name: str,
        channel: str,
        record: Record,
        *,
        http: aiohttp.ClientSession,
        address: Callable[[Random], str],
        seed: str,
    ) -> None:
        self.name = name
        self._channel, self._http, self._address = channel, http, address
        self._chance = Random(seed)
        self.sight = Sight(name)
        record.sights.append(self.sight)
        self.figures: Counter[str] = Counter()
        self._last_event_id = ""
        self._over = asyncio.Event()

    def stop(self) -> None:
        self._over.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._stay_connected())
            await self._over.wait()
            task.cancel()

    async def _stay_connected(self) -> None:
        while True:
            with contextlib.suppress(*LOST):
                await self._listen()
            await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _listen(self) -> None:
        headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        url = self._address(self._chance) + "/events"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=2 * ANSWER_SECONDS)
        async with self._http.get(url, params={"channels": self._channel}, headers=headers, timeout=timeout) as answer:
            if answer.status != 200:
                self.figures[f"stream {answer.status}"] += 1
                return
            self.figures["streams"] += 1
            asked = self.sight.place
            id, data = "", b""
            async for line in answer.content:
                if line.startswith(b"id: "):
                    id = line[4:].decode().strip()
                elif line.startswith(b"data: "):
                    data = line[6:]
                elif line == b"\n" and data:
                    self._take(msgspec.json.decode(data), asked)
                    self._last_event_id, data = id or self._last_event_id, b""

    def _take(self, told: dict[str, Any], asked: tuple[str, int] | None) -> None:
        if told["type"] == "ack":
            self.sight.saw(subscribed(asked, told))
            self.figures["recovered" if told["recovered"] else "begun anew" if asked else "begun"] += 1
        elif told["type"] == "message":
            self.sight.saw(Told(told["epoch"], entry(told["offset"], told["data"])))
        elif told["type"] in ("closed", "end"):
            self.figures[f"stream {told['code']}"] += 1
            raise ConnectionResetError
