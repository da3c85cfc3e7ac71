"""Viewers by WebRTC that cost little: aiortc's ICE and DTLS; packets are decrypted and counted, not decoded.

`python -m bench.peers.rtc_viewers URL N` posts N offers (WHEP), and from then on writes a line twice a second:
{"connected": n, "packets": n, "profile": "…"}. They tell of every packet that came (transport-wide feedback), as
browsers do. When it is ended they say good-bye: what is sent to those who are gone must not be counted for others.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import aiohttp
import uvloop
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsTransport

from media.protocols.rtp.packet import TRANSPORT_CC, ExtensionMap, parse
from media.protocols.rtp.twcc import ArrivalLog

FEEDBACK_SECONDS = 0.1
EXTENSION = 14

packets = 0
logs: dict[RTCDtlsTransport, ArrivalLog] = {}
ids = ExtensionMap({TRANSPORT_CC: EXTENSION})


async def on_rtp(self: RTCDtlsTransport, data: bytes, arrival_time_ms: int) -> None:
    global packets  # noqa: PLW0603 one counter of one program
    packets += 1
    sequence = ids.transport_sequence(parse(data))
    if sequence >= 0:
        log = logs.get(self)
        if log is None:
            log = logs[self] = ArrivalLog(sender=1)
        log.arrived(sequence, time.monotonic())


async def on_rtcp(self: RTCDtlsTransport, data: bytes) -> None:
    """Reports are not answered here."""


async def view(http: aiohttp.ClientSession, url: str) -> RTCPeerConnection:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    lines = []
    for line in pc.localDescription.sdp.splitlines():
        lines.append(line)
        if line.startswith("m=video"):
            lines.append(f"a=extmap:{EXTENSION} {TRANSPORT_CC}")
        elif line.startswith("a=rtpmap:") and " rtx/" not in line:
            lines.append(f"a=rtcp-fb:{line[9:].split()[0]} transport-cc")
    async with http.post(url, data="\r\n".join(lines) + "\r\n", headers={"Content-Type": "application/sdp"}) as answer:
        text = await answer.text()
        if answer.status != 201:
            sys.exit(f"{url} answered {answer.status}: {text[:300]}")
    kept = [line for line in text.splitlines() if TRANSPORT_CC not in line and "transport-cc" not in line]
    await pc.setRemoteDescription(RTCSessionDescription("\r\n".join(kept) + "\r\n", "answer"))
    return pc


def profile(pc: RTCPeerConnection) -> str:
    """Of SRTP, once it is agreed."""
    ssl = pc.getReceivers()[0].transport._ssl
    return (ssl.get_selected_srtp_profile() if ssl is not None else b"").decode()


async def main(url: str, count: int) -> None:
    RTCDtlsTransport._handle_rtp_data = on_rtp
    RTCDtlsTransport._handle_rtcp_data = on_rtcp
    async with aiohttp.ClientSession() as http:
        viewers: list[Any] = []
        for _ in range(count):
            viewers.append(await view(http, url))
        said, ended = 0.0, asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        while not ended.is_set():
            await asyncio.sleep(FEEDBACK_SECONDS)
            for transport, log in logs.items():
                for message in log.feedback():
                    await transport._send_rtp(message.build())
            if time.monotonic() - said > 0.5:
                said = time.monotonic()
                connected = sum(pc.connectionState == "connected" for pc in viewers)
                told = {"connected": connected, "packets": packets, "profile": profile(viewers[0])}
                sys.stdout.write(json.dumps(told) + "\n")
                sys.stdout.flush()
        for pc in viewers:
            await pc.close()


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
