"""Nothing holds the event loop while everything happens at once; and what a stop does to those who are connected."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import is_state, media_playlist, segments, text
from tests.servers import watched

SECONDS = 8
ENCODE = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-b:v", "500k", "-c:a", "aac", "-pix_fmt", "yuv420p"]


class WatchedServer(ServerProcess):
    arguments = ("-m", "tests.servers.watched")


class TestNothingHoldsTheLoop:
    @pytest.fixture
    async def server(self, tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
        process = WatchedServer(tmp_path / "var", environment)
        await process.start()
        yield process
        await process.stop()

    async def test_with_pushes_players_chat_and_registrations(
        self, server: ServerProcess, new_user: Callable[[str], Awaitable[User]], http: aiohttp.ClientSession
    ) -> None:
        users = [await new_user(f"streamer{n}") for n in range(3)]
        started = [await user.start() for user in users]
        for user, broadcast in zip(users, started, strict=True):
            await user.push(broadcast["ingest"]["rtmp"], encode=ENCODE)
        for user, broadcast in zip(users, started, strict=True):
            await user.until(broadcast["id"], is_state("live"))
            await segments(http, broadcast["playback"]["hls"], 1)
            await user.call("POST", f"/api/v1/live/{broadcast['id']}/chat", {"text": "Hello"}, expect=201)
        # from here on: the first of everything is over
        before = len(server.log)
        until = time.monotonic() + SECONDS
        done = await asyncio.gather(
            *(watch(http, broadcast["playback"]["hls"], until) for broadcast in started),
            *(talk(user, broadcast["id"], until) for user, broadcast in zip(users, started, strict=True)),
            join_in(new_user, until),
            look_around(users[0], until),
        )
        assert min(done) >= 3, "everybody got something done"
        held = [line for line in server.log[before:] if line.startswith("held ")]
        assert not held, "\n".join(held)


def test_the_watch_sees_what_holds_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """Or the test above would see nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", watched._watched)
        asyncio.run(hold(0.05))
    assert re.search(r"held \d+\.\d ms: ", capsys.readouterr().out)


async def hold(seconds: float) -> None:
    await asyncio.sleep(0)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def watch(http: aiohttp.ClientSession, master: str, until: float) -> int:
    """A low-latency player: blocks on the next part, reads it, and old segments now and then."""
    url, playlist = await media_playlist(http, master)
    await text(http, master.replace("index.m3u8", "index.mpd"))
    read = 0
    while time.monotonic() < until:
        msn = int(playlist.split("#EXT-X-MEDIA-SEQUENCE:")[1].split("\n")[0]) + playlist.count("#EXTINF")
        part = playlist.rpartition("#EXTINF")[2].count("#EXT-X-PART:")
        playlist = await text(http, f"{url}?_HLS_msn={msn}&_HLS_part={part}")
        names = re.findall(r'#EXT-X-PART:.*URI="([^"]+)"', playlist)[-1:]
        for name in [*names, *[line for line in playlist.splitlines() if line.endswith(".m4s")][:1]]:
            async with http.get(urljoin(url, name)) as answer:
                assert answer.status == 200
                await answer.read()
        read += 1
    return read


async def talk(user: User, id: str, until: float) -> int:
    said = 0
    while time.monotonic() < until:
        await user.call("POST", f"/api/v1/live/{id}/chat", {"text": f"Number {said}"}, expect=201)
        said += 1
        await asyncio.sleep(1.05)  # the rate that chat allows
    return said


async def join_in(new_user: Callable[[str], Awaitable[User]], until: float) -> int:
    joined = 0
    while time.monotonic() < until:
        await new_user(f"guest{joined}")
        joined += 1
    return joined


async def look_around(user: User, until: float) -> int:
    looked = 0
    while time.monotonic() < until:
        for path in ("/", "/openapi.json", "/health/ready", "/metrics", "/api/v1/live", "/api/v1/live/mine"):
            async with user.http.get(
                user.server.url + path, headers={"Authorization": f"Bearer {user.token}"}
            ) as answer:
                assert answer.status == 200, path
                await answer.read()
        looked += 1
        await asyncio.sleep(0.2)
    return looked


DRAIN = 3.0


@pytest.mark.settings(DRAIN_SECONDS=str(DRAIN))
async def test_a_stop_lets_nobody_hang(server: ServerProcess, streamer: User, http: aiohttp.ClientSession) -> None:
    started = await streamer.start()
    hls = started["playback"]["hls"]
    push = await streamer.push(started["ingest"]["rtmp"])
    await segments(http, hls, 1)
    url, playlist = await media_playlist(http, hls)
    msn = int(playlist.split("#EXT-X-MEDIA-SEQUENCE:")[1].split("\n")[0]) + playlist.count("#EXTINF")
    address = server.url.replace("http", "ws", 1) + "/ws"
    sockets = [await http.ws_connect(address, protocols=("socialflow.v1.json",)) for _ in range(20)]
    for socket in sockets:
        await socket.send_json({"type": "subscribe", "id": 1, "channel": started["channel"]})

    async def blocked(player: aiohttp.ClientSession) -> int:
        async with player.get(url, params={"_HLS_msn": str(msn + 1)}) as answer:
            await answer.read()
            return answer.status

    async def left(socket: aiohttp.ClientWebSocketResponse) -> int | None:
        async for _ in socket:
            pass
        return socket.close_code

    async def push_ended() -> None:
        await push.communicate()

    async with aiohttp.ClientSession() as player:
        players = [asyncio.ensure_future(blocked(player)) for _ in range(10)]
        holders = [asyncio.ensure_future(left(socket)) for socket in sockets]
        async with asyncio.timeout(30):
            while f"media_waiting_requests {len(players)}" not in await text(http, server.url + "/metrics"):
                await asyncio.sleep(0.02)
        begun = time.monotonic()
        code = await server.stop(signal.SIGTERM)
        took = time.monotonic() - begun
        async with asyncio.timeout(30):
            statuses = await asyncio.gather(*players)
            codes = await asyncio.gather(*holders)
            await push_ended()
    assert code == 0
    assert took <= DRAIN + 5
    assert set(statuses) <= {200, 503}, statuses
    assert set(codes) == {4000}, codes
    assert "Traceback" not in "\n".join(server.log)
