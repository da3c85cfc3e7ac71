"""Whatever several connections say, in whatever order and form: each is answered or closed with a code that is written
down, none hears what another one's alone is, and the server goes on.

Hypothesis makes up the conversations; `tests/realtime/test_protocol.py` does the single frames.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realtime.protocol.codes import CloseCode, ErrorCode
from realtime.roster import SocketOptions
from realtime.rules import Action, Identity, Published, Refused
from tests.realtime.stage import Feature, Node, Tokens, running

ROOMS = ("live:a", "live:b", "live:ann", "live:bob", "live:none", "staff:a", "x", "live:" + "x" * 196, "nodes", "")
SECRET = "for-{}-alone"
CODES = {int(code) for code in CloseCode} | {1000, 1002, 1003, 1007, 1009}
CLIENTS = (("ann", "json"), ("ann", "msgpack"), ("bob", "json"), ("bob", "msgpack"), ("", "json"))

huge = st.sampled_from([2**53, 2**53 - 1, 2**63, 2**64 - 1, -1, -(2**63), 1e308, -0.0, 0.5])
odd = st.recursive(
    st.none() | st.booleans() | huge | st.text(max_size=8) | st.sampled_from(["\x00", "\u2028", "🙂" * 50]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
room = st.sampled_from(ROOMS[:4]) | st.sampled_from(ROOMS)
position = st.fixed_dictionaries(
    {"epoch": st.sampled_from(["1", "2", ""]), "offset": st.integers(0, 8) | st.sampled_from([2**53 - 1])}
)
sane = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("subscribe"), "channel": room}, optional={"since": position, "presence": st.booleans()}
    ),
    st.fixed_dictionaries({"type": st.just("typing"), "channel": room}, optional={"typing": st.booleans()}),
    st.fixed_dictionaries({"type": st.just("unsubscribe"), "channel": room}),
    st.fixed_dictionaries({"type": st.just("publish"), "channel": room, "data": st.just({"text": "said"})}),
    st.fixed_dictionaries(
        {"type": st.just("publish"), "channel": room, "data": st.dictionaries(st.text(max_size=6), odd, max_size=3)}
    ),
    st.fixed_dictionaries({"type": st.just("authenticate"), "token": st.sampled_from(["ann", "bob", "nobody"])}),
    st.just({"type": "ping"}),
)
senseless = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["subscribe", "publish", "typing", "authenticate", "ack", "message", "welcome", "", "PING"]
        )
        | odd
    },
    optional={"channel": room | odd, "since": position | odd, "data": odd, "token": odd, "id": odd, "presence": odd},
)
raw = st.one_of(
    st.binary(max_size=40),
    st.integers(1, 3000).map(lambda depth: b'{"type":"publish","channel":"live:a","data":{"x":' + b"[" * depth),
    st.integers(1, 3000).map(lambda depth: b"\x82\xa4type\xa7publish\xa4data" + b"\x91" * depth),
    st.sampled_from(
        [b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xc7\xff\x01", b"\xd6\xff" + b"\xff" * 4]
    ),
    st.just(b"[" * 16_000),
    st.just(b" " * 17_000),
    st.just(b'{"type":"ping","type":"publish","id":1,"id":2}'),
)
step = st.tuples(
    st.integers(0, len(CLIENTS) - 1),
    st.one_of(
        sane.map(lambda message: ("message", message)),
        sane.map(lambda message: ("message", message)),
        senseless.map(lambda message: ("message", message)),
        raw.map(lambda body: ("text", body)),
        raw.map(lambda body: ("binary", body)),
        st.sampled_from([("cut", None), ("close", None), ("ping", None), ("wait", None)]),
    ),
)


class Rooms(Feature):
    """Rooms named after somebody are that one's alone, and what is said there has a mark that nobody else may see."""

    async def authorize(self, who: Identity | None, channel: str, action: Action) -> None:
        await super().authorize(who, channel, action)
        name = channel.partition(":")[2]
        if name in ("ann", "bob") and (who is None or who.username != name):
            raise Refused("forbidden", "This room is somebody else's.")

    async def publish(self, who: Identity | None, channel: str, data: Mapping[str, Any]) -> Published:
        name = channel.partition(":")[2]
        if name in ("ann", "bob"):
            data = {"secret": SECRET.format(name)}
        return await super().publish(who, channel, data)


class Peer:
    """One place at the table: connects again when it was closed. `who`: whom it has spoken for so far."""

    def __init__(self, node: Node, http: aiohttp.ClientSession, token: str, format: str) -> None:
        self._node, self._http, self._token = node, http, token
        self.format = format
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.who: set[str] = set()
        self.asked: set[int] = set()
        self.heard: list[bytes] = []
        self.codes: list[int] = []
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> aiohttp.ClientWebSocketResponse:
        if self.socket is not None and not self.socket.closed:
            return self.socket
        await self.over()
        protocols = [f"socialflow.v1.{self.format}", *([f"token.{self._token}"] if self._token else [])]
        self.who, self.asked, self.heard = {self._token}, set(), []
        self.socket = await self._http.ws_connect(self._node.url, protocols=protocols)
        self._reading = asyncio.create_task(self._read(self.socket))
        return self.socket

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        decode = msgspec.json.decode if self.format == "json" else msgspec.msgpack.decode
        async for message in socket:
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                body = message.data.encode() if isinstance(message.data, str) else message.data
                self.check(body, decode(body))
        if socket.close_code is not None:
            self.codes.append(socket.close_code)

    def check(self, body: bytes, told: dict[str, Any]) -> None:
        for name in ("ann", "bob"):
            if SECRET.format(name).encode() in body:
                assert name in self.who, f"{self.who} heard {told}"
        if told["type"] in ("ack", "error") and told["id"] is not None:
            assert told["id"] in self.asked, f"nobody asked for {told}"
        if told["type"] == "error":
            assert told["code"] in {str(code) for code in ErrorCode} - {"internal"}, told
        if told["type"] in ("message", "presence", "members", "members_closed", "typing", "state", "closed"):
            assert told["channel"] in ROOMS

    async def over(self) -> None:
        if self.socket is not None:
            await self.socket.close()
        if self._reading is not None:
            await self._reading  # raises what `check` has found
            self._reading = None


async def act(peer: Peer, kind: str, what: Any, number: int) -> None:
    socket = await peer.connect()
    match kind:
        case "message":
            given_id = what.get("id", number)
            if isinstance(given_id, int | float) and not isinstance(given_id, bool):
                peer.asked.add(given_id)  # type: ignore[arg-type]
            if what.get("type") == "authenticate" and isinstance(what.get("token"), str):
                peer.who.add(what["token"])
            message = {"id": given_id, **what}
            if peer.format == "json":
                await socket.send_str(json.dumps(message))
            else:
                await socket.send_bytes(msgspec.msgpack.encode(message))
        case "text" | "binary":
            peer.asked |= {1, 2}
            opcode = aiohttp.WSMsgType.TEXT if kind == "text" else aiohttp.WSMsgType.BINARY
            await socket.send_frame(what, opcode)
        case "ping":
            await socket.ping(b"x" * 125)
        case "cut":
            connection = socket._response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
        case "close":
            await socket.close(code=4999)
        case "wait":
            await asyncio.sleep(0.002)


@pytest.mark.timeout(120)
def test_any_conversation(caplog: pytest.LogCaptureFixture, record_property: Any) -> None:
    runs = steps = 0
    codes: dict[int, int] = {}

    async def converse(plan: list[tuple[int, tuple[str, Any]]]) -> None:
        feature, tokens = Rooms(), Tokens()
        for name in ("ann", "bob"):
            tokens.known[name] = tokens.known.pop(tokens.sign_in(name))
        node = Node(feature, tokens, socket_options=SocketOptions(subscriptions=3, per_address=1000, close_seconds=0.2))
        feature.hub = node.hub
        async with running(node), aiohttp.ClientSession() as http:
            witness = await node.connect("ann")
            await witness.ask("subscribe", channel="live:a")
            peers = [Peer(node, http, *client) for client in CLIENTS]
            for number, (who, (kind, what)) in enumerate(plan, 10):
                try:
                    await act(peers[who], kind, what, number)
                except (ConnectionError, aiohttp.ClientError):
                    continue  # it was just being closed
            for peer in peers:
                await peer.over()
                for code in peer.codes:
                    codes[code] = codes.get(code, 0) + 1
                    assert code in CODES | {1006, 4999}
            node.say("live:a", "still here")
            said = len(feature.log["live:a"])
            await witness.hear("message", offset=said)
            assert (await witness.ask("ping"))["type"] == "ack"
        assert node.hub.describe()["sessions"] == 0

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(step, min_size=30, max_size=80))
    def conversations(plan: list[tuple[int, tuple[str, Any]]]) -> None:
        nonlocal runs, steps
        runs, steps = runs + 1, steps + len(plan)
        asyncio.run(converse(plan))

    conversations()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
    record_property("figures", f"{runs} conversations, {steps} steps, close codes {dict(sorted(codes.items()))}")
