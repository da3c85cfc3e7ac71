"""A player by WebRTC made of aiortc, in a process of its own: python -m tests.servers.whep_player URL [options].

Says lines of JSON: the answer to its offer, each state of the connection, and four times a second what it has: frames
of the picture and their size, frames of sound that are not silent, and when the first picture came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from tests.servers.lossy_network import through

ASK_AGAIN = 0.4
"""Without a picture so long after the connection a key frame is asked for: aiortc begins to listen late."""


class Player:
    def __init__(self, url: str, token: str, through: int = 0) -> None:
        """through: as the publisher's, 0 for none."""
        self.url = url
        self.through = through
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.began = time.monotonic()
        self.frames = self.sounds = self.width = self.height = 0
        self.first = 0.0

    def say(self, **words: Any) -> None:
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()

    async def run(self, http: aiohttp.ClientSession, seconds: float) -> None:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        video = pc.addTransceiver("video", direction="recvonly")
        pc.addTransceiver("audio", direction="recvonly")
        tasks = []

        @pc.on("track")
        def on_track(track: Any) -> None:
            tasks.append(asyncio.ensure_future(self.watch(track)))

        @pc.on("connectionstatechange")
        def on_state() -> None:
            self.say(state=pc.connectionState)

        await pc.setLocalDescription(await pc.createOffer())
        headers = {"Content-Type": "application/sdp", **self.headers}
        async with http.post(self.url, data=pc.localDescription.sdp, headers=headers) as answer:
            text = await answer.text()
            self.say(status=answer.status, location=answer.headers.get("Location"))
            if answer.status != 201:
                return
        if self.through:
            text = through(text, self.through)
        await pc.setRemoteDescription(RTCSessionDescription(text, "answer"))
        deadline, asked = time.monotonic() + seconds, 0.0
        while time.monotonic() < deadline and pc.connectionState not in ("failed", "closed"):
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if pc.connectionState == "connected" and not self.first:
                asked = asked or now
                if now - asked > ASK_AGAIN:
                    asked = now
                    for source in video.receiver.getSynchronizationSources():
                        await video.receiver._send_rtcp_pli(source.source)
            self.say(
                frames=self.frames, sounds=self.sounds, width=self.width, height=self.height, first=round(self.first, 3)
            )
        await pc.close()
        for task in tasks:
            task.cancel()

    async def watch(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "audio":
                self.sounds += any(bytes(frame.planes[0]))
                continue
            self.first = self.first or time.monotonic() - self.began
            self.frames += 1
            self.width, self.height = frame.width, frame.height


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--through", type=int, default=0)
    given = parser.parse_args()
    async with aiohttp.ClientSession() as http:
        await Player(given.url, given.token, given.through).run(http, given.seconds)


asyncio.run(main())
