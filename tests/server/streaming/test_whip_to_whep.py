"""From a publisher by WebRTC to viewers by WebRTC: aiortc at both ends, in processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import is_state
from tests.server.streaming.test_whep import Player, whep
from tests.server.streaming.test_whip import Publishing
from tests.support import eventually

Begin = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"RTC_PORT": "0", "RTC_HOST": "127.0.0.1", "VIEWER_SECONDS": "3"}


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    """Starts one of tests.servers, which ends with the test."""
    async with contextlib.AsyncExitStack() as undo:

        async def start(program: str, *words: str) -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"tests.servers.{program}", *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip

            async def end() -> None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

            undo.push_async_callback(end)
            return process

        yield start


async def test_what_comes_by_webrtc_goes_out_by_webrtc(
    streamer: User,
    server: ServerProcess,
    http: aiohttp.ClientSession,
    new_user: Any,
    begin: Begin,
    record_property: Callable[[str, object], None],
) -> None:
    watcher: User = await new_user("ben")
    started = await streamer.start("From a browser")
    id, url = started["id"], started["playback"]["whep"]
    publisher = Publishing(await begin("whip_publisher", started["ingest"]["whip"], started["stream_key"]))
    await publisher.until("status", 201)
    await streamer.until(id, is_state("live"))
    named, other = Player(await begin("whep_player", url, "--token", watcher.token)), None
    await eventually(lambda: named.seen["frames"] > 20, what="pictures")
    await eventually(lambda: named.seen["sounds"] > 3, what="beeps, which are Opus as it came")
    (programme,) = (await whep(http, server))["programmes"]
    assert {feed["name"]: feed["codec"][:4] for feed in programme["feeds"]} == {"source": "avc1", "opus": "opus"}
    assert "opus" not in (await _details(http, server)).get("sounds", {}).get("making", [])

    other = Player(await begin("whep_player", url))
    await eventually(lambda: other.seen["frames"] > 5, what="pictures for one who came late")
    assert (other.seen["width"], other.seen["height"]) == (320, 180)

    (here,) = (await watcher.call("GET", "/api/v1/auth/sessions"))["items"]
    began = time.monotonic()
    await watcher.call("DELETE", f"/api/v1/auth/sessions/{here['id']}", expect=204)
    await eventually(lambda: named.seen["state"] in ("closed", "failed"), what="the end with the sign-in")
    signed_out = time.monotonic() - began
    assert other.seen["state"] == "connected"
    began = time.monotonic()
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": id})
    await streamer.call("DELETE", f"/api/v1/live/{id}", expect=204)
    await eventually(lambda: other.seen["state"] in ("closed", "failed"), what="the end with the broadcast")
    deleted = time.monotonic() - began
    await eventually(lambda: publisher.said["state"] in ("closed", "failed"), what="the end of the publisher")
    figures = (
        f"first picture {other.seen['first']} s after a late viewer's offer; sessions end {signed_out:.2f} s after"
    )
    record_property("figures", f"{figures} the sign-in, {deleted:.2f} s after the broadcast was ended and deleted")


async def _details(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with http.get(server.url + "/health/detailed") as answer:
        found: dict[str, Any] = (await answer.json())["details"]
        return found


async def test_one_cookie_is_one_viewer_by_hls_and_by_webrtc(
    streamer: User, server: ServerProcess, begin: Begin
) -> None:
    started = await streamer.start()
    id, hls = started["id"], started["playback"]["hls"]
    publisher = Publishing(await begin("whip_publisher", started["ingest"]["whip"], started["stream_key"]))
    await publisher.until("status", 201)
    await streamer.until(id, is_state("live"))
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        async with http.post(f"{server.url}/api/v1/live/{id}/join") as answer:
            cookie = {"Cookie": "viewer=" + SimpleCookie(answer.headers["Set-Cookie"])["viewer"].value}
        try:
            pc.addTransceiver("video", direction="recvonly")
            await pc.setLocalDescription(await pc.createOffer())
            offer = {"Content-Type": "application/sdp", **cookie}
            async with http.post(started["playback"]["whep"], data=pc.localDescription.sdp, headers=offer) as answer:
                assert answer.status == 201
                await pc.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
            await streamer.until(id, lambda shown: shown["viewers"] == 1)
            async with http.get(hls, headers=cookie) as answer:
                assert answer.status == 200
            assert (await streamer.show(id))["viewers"] == 1
            async with http.get(hls) as answer:
                assert answer.status == 200
            await streamer.until(id, lambda shown: shown["viewers"] == 2)
            await streamer.until(id, lambda shown: shown["viewers"] == 1)  # VIEWER_SECONDS later: who asks no more
        finally:
            await pc.close()
