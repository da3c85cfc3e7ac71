"""aiortc as its examples use it: one source relayed by MediaRelay, an encoder for each viewer.

`python -m bench.peers.rtc_relay FLV` plays the file and answers offers at POST /whep; says `ready PORT`.
"""

from __future__ import annotations

import sys

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRelay

kept: list[RTCPeerConnection] = []


def application(file: str) -> web.Application:
    relay = MediaRelay()

    async def start(app: web.Application) -> None:
        app["player"] = MediaPlayer(file, loop=True)

    async def answer(request: web.Request) -> web.Response:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        kept.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        pc.addTrack(relay.subscribe(request.app["player"].video))
        await pc.setLocalDescription(await pc.createAnswer())
        return web.Response(status=201, text=pc.localDescription.sdp, content_type="application/sdp")

    app = web.Application()
    app.on_startup.append(start)
    app.router.add_post("/whep", answer)
    return app


def ready(port: int) -> None:
    sys.stdout.write(f"ready {port}\n")
    sys.stdout.flush()


web.run_app(application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), print=lambda *_: ready(int(sys.argv[2])))
