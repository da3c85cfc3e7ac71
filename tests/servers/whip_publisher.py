"""A publisher by WebRTC made of aiortc, in a process of its own: python -m tests.servers.whip_publisher URL TOKEN.

Sends a test picture in H.264 with a beep of Opus each second, at the moment when the picture turns white: so whoever
plays it can tell how far sound and picture are apart. Says one line of JSON for each thing that is worth it. The line
`stop` on its input ends the session by DELETE; being killed leaves it as a lost network does. --through: the UDP port
of a network (tests.servers.lossy_network) by which the server is to be reached. Its lowest rows say which picture it
is, in sixteen bits from left to right: so whoever has recorded it can tell what is missing. --resize: seconds after
which the picture has another size each time, as browsers do it when their network or machine is busy.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import fractions
import json
import math
import sys
import time
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame, VideoFrame

from tests.servers.lossy_network import through

RATE, FPS, WIDTH, HEIGHT = 48_000, 15, 320, 180
SMALL_WIDTH, SMALL_HEIGHT = 192, 108
CODE_ROWS = 6
BEEP = 0.1


class Picture(MediaStreamTrack):  # type: ignore[misc]
    kind = "video"

    def __init__(self, began: float, resize: float) -> None:
        super().__init__()
        self.began = began
        self.resize = resize
        self.count = 0

    async def recv(self) -> VideoFrame:
        at = self.count / FPS
        self.count += 1
        await asyncio.sleep(max(0.0, self.began + at - time.monotonic()))
        small = self.resize and at // self.resize % 2
        width, height = (SMALL_WIDTH, SMALL_HEIGHT) if small else (WIDTH, HEIGHT)
        frame = VideoFrame(width, height, "yuv420p")
        luma, *chroma = frame.planes
        if at % 1.0 < BEEP:
            luma.update(bytes((235,)) * luma.buffer_size)
        else:
            dark = int(at * 40) % width
            line = bytes((16,)) * dark + bytes((60,)) * (luma.line_size - dark)
            luma.update(line * luma.height)
        bits = b"".join([bytes((235 if self.count >> bit & 1 else 16,)) * (width // 16) for bit in range(15, -1, -1)])
        written = bytearray(luma)
        for row in range(height - CODE_ROWS, height):
            written[row * luma.line_size : row * luma.line_size + len(bits)] = bits
        luma.update(bytes(written))
        for plane in chroma:
            plane.update(bytes((128,)) * plane.buffer_size)
        frame.pts, frame.time_base = int(at * 90_000), fractions.Fraction(1, 90_000)
        return frame


class Sound(MediaStreamTrack):  # type: ignore[misc]
    kind = "audio"

    def __init__(self, began: float) -> None:
        super().__init__()
        self.began = began
        self.samples = 0

    async def recv(self) -> AudioFrame:
        at = self.samples
        self.samples += 960
        await asyncio.sleep(max(0.0, self.began + at / RATE - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        wave = array.array("h", bytes(1920))
        if at % RATE < BEEP * RATE:
            for index in range(960):
                wave[index] = int(12_000 * math.sin(2 * math.pi * 800 * (at + index) / RATE))
        frame.planes[0].update(wave.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = at, RATE, fractions.Fraction(1, RATE)
        return frame


def say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--codec", default="H264")
    parser.add_argument("--through", type=int, default=0)
    parser.add_argument("--resize", type=float, default=0.0)
    given = parser.parse_args()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    began = time.monotonic()
    pc.addTransceiver(Sound(began), direction="sendonly")
    picture = pc.addTransceiver(Picture(began, given.resize), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    picture.setCodecPreferences([one for one in codecs if one.mimeType in (f"video/{given.codec}", "video/rtx")])
    pc.on("connectionstatechange", lambda: say(state=pc.connectionState))
    await pc.setLocalDescription(await pc.createOffer())
    headers = {"Authorization": f"Bearer {given.token}"}
    sdp = {"Content-Type": "application/sdp", **headers}
    async with aiohttp.ClientSession() as http:
        async with http.post(given.url, data=pc.localDescription.sdp, headers=sdp) as answer:
            text = await answer.text()
            location = answer.headers.get("Location", "")
            say(status=answer.status, location=location, body="" if answer.status == 201 else text)
        if answer.status == 201:
            text = through(text, given.through) if given.through else text
            await pc.setRemoteDescription(RTCSessionDescription(text, "answer"))
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            await reader.readline()
            async with http.delete(given.url.partition("/api/")[0] + location, headers=headers) as gone:
                say(deleted=gone.status)
    await pc.close()


asyncio.run(main())
