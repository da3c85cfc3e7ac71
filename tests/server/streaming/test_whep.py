"""Watching by WebRTC: a real encoder, a real server, and aiortc as the player in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import is_state
from tests.support import eventually

PER_ADDRESS = 3
PLAIN = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "300",
         "-c:a", "aac", "-b:a", "64k"]  # fmt: skip
PYRAMID = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b_strategy", "0", "-x264-params", "b-pyramid=normal",
           "-pix_fmt", "yuv420p", "-g", "30", "-c:a", "aac", "-b:a", "64k"]  # fmt: skip
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def environment(environment: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    changed = request.node.get_closest_marker("settings")
    return environment | {
        "RTC_PORT": "0",
        "RTC_HOST": "127.0.0.1",
        "RTC_CONNECT_TIMEOUT": "2",
        "WHEP_PER_ADDRESS": str(PER_ADDRESS),
        "VIEWER_SECONDS": "3",
        **(changed.kwargs if changed else {}),
    }


class Player:
    """`tests.servers.whep_player`, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.seen: dict[str, Any] = {"frames": 0, "sounds": 0, "state": "new", "status": 0}
        self._process = process
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.seen |= json.loads(line)

    async def close(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self._task


@pytest.fixture
async def play() -> AsyncIterator[Callable[..., Awaitable[Player]]]:
    players: list[Player] = []

    async def begin(url: str, token: str = "") -> Player:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.servers.whep_player", url, *(["--token", token] if token else []),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        players.append(Player(process))
        return players[-1]

    yield begin
    for player in players:
        await player.close()


async def offer() -> str:
    """Of a player that never comes."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    text = str(pc.localDescription.sdp)
    await pc.close()
    return text


async def whep(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with http.get(server.url + "/health/detailed") as answer:
        found: dict[str, Any] = (await answer.json())["details"]["whep"]
        return found


async def post(http: aiohttp.ClientSession, url: str, body: str, **headers: str) -> tuple[int, dict[str, Any], Any]:
    async with http.post(url, data=body, headers={**SDP, **headers}) as answer:
        text = await answer.text()
        problem = json.loads(text) if "json" in answer.content_type else {"sdp": text}
        return answer.status, problem, answer.headers


async def test_an_rtmp_broadcast_plays_and_goes_on_when_its_encoder_comes_back(
    server: ServerProcess, http: aiohttp.ClientSession, new_user: Any, play: Any
) -> None:
    streamer, watcher = await new_user("anna"), await new_user("ben")
    started = await streamer.start()
    first = await streamer.push(started["ingest"]["rtmp"], encode=PLAIN)
    await streamer.until(started["id"], is_state("live"))
    url = started["playback"]["whep"]
    assert url == f"{server.url}/api/v1/live/{started['id']}/whep"
    named, other = await play(url, watcher.token), await play(url)
    await eventually(lambda: named.seen["frames"] > 30 and other.seen["frames"] > 30, what="pictures")
    # a key frame every ten seconds: what was kept since the last one came first
    assert (named.seen["width"], named.seen["height"]) == (320, 180)
    await eventually(lambda: named.seen["sounds"] > 20, what="sound that was AAC")
    # both came from here without a cookie: one viewer, as by HLS
    await streamer.until(started["id"], lambda seen: seen["viewers"] == 1)

    first.kill()
    await streamer.until(started["id"], is_state("interrupted"))
    had = named.seen["frames"]
    await streamer.push(started["ingest"]["rtmp"], encode=PLAIN)
    await eventually(lambda: named.seen["frames"] > had + 30, what="pictures of the second push")
    sounds = named.seen["sounds"]
    await eventually(lambda: named.seen["sounds"] > sounds + 20, what="sound of the second push")

    (here,) = (await watcher.call("GET", "/api/v1/auth/sessions"))["items"]
    await watcher.call("DELETE", f"/api/v1/auth/sessions/{here['id']}", expect=204)
    await eventually(lambda: named.seen["state"] in ("closed", "failed"), what="the end with the sign-in")
    assert other.seen["state"] == "connected"
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    await eventually(lambda: other.seen["state"] in ("closed", "failed"), what="the end with the broadcast")
    await eventually(lambda: _empty(http, server), what="nothing left")


async def _empty(http: aiohttp.ClientSession, server: ServerProcess) -> bool:
    found = await whep(http, server)
    return found["sessions"] == 0 and found["programmes"] == []


async def test_what_cannot_be_watched_is_said_with_a_reason(
    server: ServerProcess, http: aiohttp.ClientSession, new_user: Any
) -> None:
    streamer: User = await new_user("anna")
    text = await offer()
    started = await streamer.start()
    url = started["playback"]["whep"]

    async def refused(body: str, **headers: str) -> tuple[int, str]:
        status, problem, _ = await post(http, url, body, **headers)
        return status, problem.get("code", "")

    assert await refused(text) == (409, "not_on_air")
    assert (await post(http, url.replace(started["id"][:4], "dead"), text))[0] == 404
    await streamer.push(started["ingest"]["rtmp"], encode=PYRAMID)
    await streamer.until(started["id"], is_state("live"))
    assert await refused(text) == (409, "b_frames")
    assert await refused("v=0\r\nnonsense") == (400, "bad_offer")
    assert await refused(text, **{"Content-Type": "text/plain"}) == (415, "unsupported_media_type")
    assert await refused("v=0\r\n" + "a=x\r\n" * 20_000) == (413, "body_too_large")
    await eventually(lambda: _empty(http, server), what="nothing left")
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    assert await refused(text) == (409, "not_on_air")


@pytest.mark.settings(ICE_SERVERS="stun:stun.example.org:3478")
async def test_sessions_are_limited_can_be_changed_and_ended_and_do_not_wait_for_ever(
    server: ServerProcess, http: aiohttp.ClientSession, new_user: Any
) -> None:
    streamer: User = await new_user("anna")
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"], encode=PLAIN)
    await streamer.until(started["id"], is_state("live"))
    url, text = started["playback"]["whep"], await offer()
    status, _, headers = await post(http, url, text)
    assert status == 201
    assert headers["Link"] == '<stun:stun.example.org:3478>; rel="ice-server"'
    session = server.url + headers["Location"]
    fragment = {"Content-Type": "application/trickle-ice-sdpfrag"}
    ours = "a=ice-ufrag:new1\r\na=ice-pwd:0123456789abcdefghijkl\r\n"

    async def patch(body: str, **more: str) -> tuple[int, str, str | None]:
        async with http.patch(session, data=body, headers={**fragment, **more}) as answer:
            return answer.status, await answer.text(), answer.headers.get("ETag")

    assert (await patch(ours))[0] == 428
    assert (await patch(ours, **{"If-Match": '"another"'}))[0] == 412
    assert (await patch("a=ice-ufrag:x", **{"If-Match": "*"}))[0] == 400
    status, answer, etag = await patch(ours, **{"If-Match": "*"})
    assert status == 200
    assert "a=ice-ufrag:" in answer
    assert "a=candidate:" in answer
    assert etag != headers["ETag"]
    assert (await patch(ours, **{"If-Match": str(etag)}))[0] == 204

    await post(http, url, text)
    await post(http, url, text)
    status, problem, _ = await post(http, url, text)
    assert (status, problem["code"]) == (429, "too_many_sessions")
    async with http.delete(session) as gone:
        assert gone.status == 204
    async with http.delete(session) as gone:
        assert gone.status == 404
    assert (await post(http, url, text))[0] == 201
    await eventually(lambda: _empty(http, server), what="nothing left of those that never connected")


def held(pid: int) -> tuple[int, int]:
    """(open files, resident bytes) of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.settings(WHEP_PER_ADDRESS="1000")
async def test_five_hundred_sessions_that_nobody_comes_to_leave_nothing(
    server: ServerProcess, http: aiohttp.ClientSession, new_user: Any
) -> None:
    streamer: User = await new_user("anna")
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"], encode=PLAIN)
    await streamer.until(started["id"], is_state("live"))
    url, text = started["playback"]["whep"], await offer()
    assert server._process is not None
    pid = server._process.pid

    async def abandon(count: int) -> None:
        for first in range(0, count, 25):
            answers = await asyncio.gather(*(post(http, url, text) for _ in range(min(25, count - first))))
            assert {status for status, _, _ in answers} == {201}
        await eventually(lambda: _empty(http, server), what="nothing left")

    await abandon(500)  # what so many take at once stays with the allocator
    files, memory = held(pid)
    await abandon(500)
    after_files, after_memory = held(pid)
    assert after_files <= files + 3
    assert after_memory - memory < 500 * 12 * 1024  # a session alone is more
