"""One publisher and N viewers of a room of Janus, all by aiortc's ICE and DTLS; packets are counted, not decoded.

`python -m bench.peers.rtc_janus PORT N` opens a room over the WebSocket at PORT, sends frames of nine packets 30 times
a second into it, and from then on writes a line twice a second: {"connected": n, "packets": n, "profile": "…"}.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from typing import Any

import aiohttp
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_PROFILES, RTCDtlsTransport

FRAME, RATE, SIZE = 9, 30, 1200
ROOM = os.getpid()
"""Janus keeps rooms: each run has one of its own."""
WITHIN = 15.0
BODY = b"\x90\x80\x01" + bytes(SIZE - 15)  # a VP8 payload descriptor with a picture number, and a picture of nothing

packets = 0


async def on_rtp(self: RTCDtlsTransport, data: bytes, arrival_time_ms: int) -> None:
    global packets  # noqa: PLW0603 one counter of one program
    packets += 1


async def on_rtcp(self: RTCDtlsTransport, data: bytes) -> None:
    """Reports are not answered here."""


class Nothing(MediaStreamTrack):
    """What the publisher's sender is told to send; the packets go out beside it."""

    kind = "video"

    async def recv(self) -> Any:
        await asyncio.sleep(3600)


class Janus:
    """Its API over a WebSocket: each request has an answer, and most are followed by an event."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._session: dict[str, Any] = {}
        self._tasks = [asyncio.create_task(self._read())]

    async def open(self) -> None:
        self._session = {"session_id": (await self._ask({"janus": "create"}))["data"]["id"]}
        self._tasks.append(asyncio.create_task(self._keep()))

    async def handle(self) -> int:
        made = await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom", **self._session})
        return int(made["data"]["id"])

    async def say(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> dict[str, Any]:
        request = {"janus": "message", "handle_id": handle, "body": body, **self._session}
        told = await self._ask(request | ({"jsep": jsep} if jsep else {}))
        data = told.get("plugindata", {}).get("data", {})
        if "error" in data:
            sys.exit(f"Janus: {data['error']}")
        return told

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The event that answers it, or what answers at once."""
        name = str(len(self._waiting))
        answer = self._waiting[name] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(request | {"transaction": name})
        return await asyncio.wait_for(answer, WITHIN)

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            answer = self._waiting.get(told.get("transaction", ""))
            if answer is not None and not answer.done() and told["janus"] != "ack":
                answer.set_result(told)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(20)
            await self._socket.send_json({"janus": "keepalive", "transaction": "alive", **self._session})


def connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def publish(janus: Janus) -> tuple[RTCPeerConnection, int, asyncio.Task[None]]:
    """(its connection, the feed's number in the room, who sends)."""
    handle = await janus.handle()
    await janus.say(handle, {"request": "create", "room": ROOM, "videocodec": "vp8", "bitrate": 0})
    joined = await janus.say(handle, {"request": "join", "ptype": "publisher", "room": ROOM, "display": "bench"})
    pc = connection()
    sender = pc.addTrack(Nothing())
    await pc.setLocalDescription(await pc.createOffer())
    offer = {"type": "offer", "sdp": pc.localDescription.sdp}
    told = await janus.say(handle, {"request": "configure", "audio": False, "video": True}, offer)
    await pc.setRemoteDescription(RTCSessionDescription(told["jsep"]["sdp"], "answer"))
    await connected([pc])
    kind = next(int(line.split()[3]) for line in told["jsep"]["sdp"].splitlines() if line.startswith("m=video"))
    return pc, joined["plugindata"]["data"]["id"], asyncio.create_task(send(sender.transport, kind, sender._ssrc))


async def send(transport: RTCDtlsTransport, kind: int, ssrc: int) -> None:
    began, frame = time.monotonic(), 0
    while True:
        for number in range(frame * FRAME, (frame + 1) * FRAME):
            last = 0x80 if number % FRAME == FRAME - 1 else 0
            head = struct.pack(">BBHII", 0x80, last | kind, number & 0xFFFF, frame * 3000 & 0xFFFFFFFF, ssrc)
            await transport._send_rtp(head + BODY)
        frame += 1
        await asyncio.sleep(max(0.0, began + frame / RATE - time.monotonic()))


async def view(janus: Janus, feed: int) -> RTCPeerConnection:
    handle, pc = await janus.handle(), connection()
    offered = await janus.say(
        handle, {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{"feed": feed}]}
    )
    await pc.setRemoteDescription(RTCSessionDescription(offered["jsep"]["sdp"], "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    await janus.say(handle, {"request": "start"}, {"type": "answer", "sdp": pc.localDescription.sdp})
    return pc


async def connected(pcs: list[RTCPeerConnection]) -> None:
    async with asyncio.timeout(WITHIN):
        while any(pc.connectionState != "connected" for pc in pcs):
            await asyncio.sleep(0.02)


async def main(port: int, count: int) -> None:
    SRTP_PROFILES[:] = [SRTP_AEAD_AES_128_GCM]  # as our server prefers: Janus would take the longer key
    RTCDtlsTransport._handle_rtp_data = on_rtp
    RTCDtlsTransport._handle_rtcp_data = on_rtcp
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/", protocols=["janus-protocol"]) as socket,
    ):
        janus = Janus(socket)
        await janus.open()
        publisher, feed, sending = await publish(janus)
        viewers = [await view(janus, feed) for _ in range(count)]
        await connected(viewers)
        profile = publisher.getSenders()[0].transport._ssl.get_selected_srtp_profile().decode()
        while not sending.done():
            said = {"connected": count, "packets": packets, "profile": profile}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
            await asyncio.sleep(0.5)
        sending.result()


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
