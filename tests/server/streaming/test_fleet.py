"""Two processes on one database, one Redis and one store: what happens on one is seen, and continued, on the other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from tests.conftest import S3
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import decode, is_state, media_playlist, segments
from tests.servers.redis import RedisServer
from tests.support import eventually, free_port

pytestmark = pytest.mark.timeout(300)  # two servers that start, and start again, on a machine that others use, too
LEASE = 3


@pytest.fixture
def environment(environment: dict[str, str], redis_url: str, s3: S3) -> dict[str, str]:
    return environment | {
        "REDIS_URL": redis_url,
        "S3_ENDPOINT": s3.endpoint,
        "S3_BUCKET": s3.bucket,
        "S3_REGION": s3.region,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "SEGMENT_SECONDS": "1",
        "LEASE_SECONDS": str(LEASE),
        "NODE_ID": "a",
    }


@pytest.fixture
async def second(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """Node b, with a folder of its own."""
    ports = {"HTTP_PORT": str(free_port()), "RTMP_PORT": str(free_port()), "RTC_PORT": "0", "NODE_ID": "b"}
    process = ServerProcess(tmp_path / "b", environment | ports)
    await process.start()
    yield process
    await process.stop()


def through(user: User, node: ServerProcess) -> User:
    """The same user, asking another node."""
    return User(user.http, node, user.name, user.token)


def on(node: ServerProcess, url: str) -> str:
    """The same address on another node."""
    parts = urlsplit(url)
    if parts.scheme == "rtmp":
        return parts._replace(netloc=f"127.0.0.1:{node.environment['RTMP_PORT']}").geturl()
    return parts._replace(netloc=urlsplit(node.url).netloc).geturl()


class Holder:
    """A WebSocket that holds a broadcast's channel and remembers what came."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self.socket:
            self.heard.append(message.json())

    async def hears(self, condition: Callable[[dict[str, Any]], bool], within: float = 30) -> dict[str, Any]:
        def heard() -> dict[str, Any] | None:
            return next((message for message in self.heard if condition(message)), None)

        try:
            found: dict[str, Any] = await eventually(heard, within=within)
        except AssertionError:
            raise AssertionError(f"heard only {self.heard}") from None
        return found

    async def close(self) -> None:
        await self.socket.close()
        await self._task


async def viewer_of(node: ServerProcess, id: str) -> str:
    """The cookie of a viewer that nobody else is."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser,
        browser.post(f"{node.url}/api/v1/live/{id}/join") as answer,
    ):
        return answer.cookies["viewer"].value


@contextlib.asynccontextmanager
async def holding(user: User, channel: str, viewer: str = "") -> AsyncIterator[Holder]:
    socket = await user.http.ws_connect(
        user.server.url.replace("http", "ws", 1) + "/ws",
        protocols=("socialflow.v1.json", f"token.{user.token}"),
        headers={"Cookie": f"viewer={viewer}"} if viewer else None,
    )
    holder = Holder(socket)
    try:
        await socket.send_json({"type": "subscribe", "id": 1, "channel": channel})
        await holder.hears(lambda message: message["type"] == "ack" and message.get("id") == 1)
        yield holder
    finally:
        await holder.close()


async def test_chat_viewers_and_state_reach_the_other_node(
    streamer: User, second: ServerProcess, http: aiohttp.ClientSession
) -> None:
    other = through(streamer, second)
    started = await streamer.start()
    id, channel = started["id"], started["channel"]
    # one key signs for all: a cookie of a counts the same on b
    one, two, three = [await viewer_of(streamer.server, id) for _ in range(3)]
    async with holding(streamer, channel, one) as here, holding(other, channel, two) as there:
        await streamer.push(started["ingest"]["rtmp"], seconds=40)
        await there.hears(lambda message: message["type"] == "state" and message["data"]["state"] == "live")
        said = await other.call("POST", f"/api/v1/live/{id}/chat", {"text": "From b"}, expect=201)
        told = await here.hears(lambda message: message["type"] == "message")
        assert told["data"]["message"]["text"] == "From b"
        assert told["data"]["message"]["id"] == said["id"]
        await streamer.call("POST", f"/api/v1/live/{id}/chat", {"text": "From a"}, expect=201)
        await there.hears(lambda m: m["type"] == "message" and m["data"]["message"]["text"] == "From a")
        for holder in (here, there):
            await holder.hears(lambda message: message["type"] == "presence" and message["viewers"] == 2)
        # a third watches on a without holding the channel: both nodes tell of three
        async with http.get(started["playback"]["hls"], headers={"Cookie": f"viewer={three}"}) as answer:
            assert answer.status == 200
        for holder in (here, there):
            await holder.hears(lambda message: message["type"] == "presence" and message["viewers"] == 3)
        shown = await other.until(id, is_state("live"))
        assert {track["kind"] for track in shown["tracks"]} == {"video", "audio"}
        await other.until(id, lambda shown: shown["viewers"] == 3)
        cards = (await other.call("GET", "/api/v1/live"))["items"]
        assert [(card["id"], card["state"]) for card in cards] == [(id, "live")]

        # its live edge is on a only: b says so, and says when to ask again
        async with http.get(on(second, started["playback"]["hls"])) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1

        # ended through b: a ends it at its next heartbeat, closes the recording and tells everybody
        await segments(http, started["playback"]["hls"], 2)
        ended = await other.call("POST", "/api/v1/live/end", {"stream_id": id})
        assert ended["state"] == "ended"
        push = streamer.pushes[0]
        await asyncio.wait_for(push.communicate(), 25)
        for holder in (here, there):
            await holder.hears(lambda message: message["type"] == "state" and message["data"]["state"] == "ended")
    closed = await other.until(id, lambda shown: shown["recording"] is not None, within=60)
    assert closed["recording"]["duration"] >= 2

    async def plays() -> bool:
        frames = await decode(closed["recording"]["hls"])
        assert frames["video"] >= 30 * closed["recording"]["duration"] - 5
        return True

    await eventually(plays, within=60, every=0.5)
    # the next one may be prepared on one node and pushed to the other
    following = await streamer.call("POST", "/api/v1/live/start", {"title": "Another"}, expect=201)
    await streamer.push(on(second, started["ingest"]["rtmp"]), seconds=30)

    async def next_one() -> bool:
        items = (await streamer.call("GET", "/api/v1/live"))["items"]
        return [(item["id"], item["state"]) for item in items] == [(following["id"], "live")]

    await eventually(next_one, within=60, every=0.1)


async def test_health_says_that_redis_is_away(
    server: ServerProcess, http: aiohttp.ClientSession, redis_server: RedisServer
) -> None:
    async def says(status: str) -> bool:
        async with http.get(server.url + "/health/ready") as answer:
            report = await answer.json()
        assert answer.status == 200  # it serves on
        return bool(report["status"] == status and report["parts"]["redis"]["ok"] == (status == "ok"))

    await eventually(lambda: says("ok"), within=30, every=0.1)
    redis_server.close()
    await eventually(lambda: says("degraded"), within=30, every=0.1)
    redis_server.start()
    await eventually(lambda: says("ok"), within=30, every=0.1)


async def test_viewers_are_shown_by_a_node_that_has_none(
    streamer: User, second: ServerProcess, http: aiohttp.ClientSession
) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    watching = {"Cookie": "viewer=one"}
    other = through(streamer, second)

    async def counted() -> bool:
        async with http.get(started["playback"]["hls"], headers=watching):
            pass
        cards = (await other.call("GET", "/api/v1/live"))["items"]
        return [card["viewers"] for card in cards] == [1]

    await eventually(counted, within=60, every=0.2)
    assert (await other.show(started["id"]))["viewers"] == 1


async def test_a_dead_nodes_broadcast_is_continued_by_the_other(
    streamer: User, server: ServerProcess, second: ServerProcess, http: aiohttp.ClientSession
) -> None:
    other = through(streamer, second)
    started = await streamer.start()
    id, hls = started["id"], started["playback"]["hls"]
    push = await streamer.push(started["ingest"]["rtmp"])
    before = await segments(http, hls, 3)
    await server.stop(signal.SIGKILL)
    await push.communicate()
    # while the lease runs nobody knows that it is dead: a publisher is told to try again
    early = await other.push(on(second, started["ingest"]["rtmp"]), seconds=20)
    await other.until(id, is_state("interrupted"), within=60)
    await early.communicate()
    await other.push(on(second, started["ingest"]["rtmp"]))
    await other.until(id, is_state("live"))

    async def continued() -> str:
        _, playlist = await media_playlist(http, on(second, hls))
        # the last timeline is b's: before it stand the gaps, for what a may have shown and never stored
        assert playlist.rpartition("#EXT-X-DISCONTINUITY\n")[2].count("#EXTINF") >= 2, playlist
        return playlist

    playlist = await eventually(continued, within=60, every=0.1)
    for name in [line for line in before.splitlines() if line.startswith("v-") and line.count(".") == 1][:-1]:
        assert name in playlist.splitlines(), f"{name} was in the store"
        async with http.get(urljoin(on(second, hls), name)) as answer:
            assert answer.status == 200
            old = await answer.read()
    # the dead node comes back with an old spool: it touches nothing of what b writes now
    await server.start()
    async with http.get(hls) as answer:
        assert answer.status == 503
    assert (await streamer.show(id))["state"] == "live"
    last = playlist.rpartition("v-")[2].split(".")[0]
    async with http.get(urljoin(on(second, hls), f"v-{int(last) - 1}.m4s")) as answer:
        new = await answer.read()
    assert old != new
    # and ends it from there
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": id})
    ended = await streamer.until(id, lambda shown: shown["recording"] is not None, within=60)
    assert ended["state"] == "ended"

    async def whole() -> bool:
        """Every segment that the recording lists is there, but for the gaps. (ffmpeg's reader knows no EXT-X-GAP.)"""
        _, recorded = await media_playlist(http, ended["recording"]["hls"])
        lines = recorded.splitlines()
        names = [line for n, line in enumerate(lines) if line.startswith("v-") and "#EXT-X-GAP" not in lines[n - 2 : n]]
        assert len(names) >= 4, recorded
        for name in names:
            async with http.get(urljoin(ended["recording"]["hls"], name)) as answer:
                assert answer.status == 200, name
        return True

    await eventually(whole, within=60, every=0.5)


async def test_a_stopped_nodes_publisher_may_come_back_to_either(
    streamer: User, server: ServerProcess, second: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """A rolling restart: the encoder tries until the node is back, while the other has taken the broadcast over."""
    other = through(streamer, second)
    started = await streamer.start()
    id, hls = started["id"], started["playback"]["hls"]
    push = await streamer.push(started["ingest"]["rtmp"])
    before = await segments(http, hls, 2)
    await server.stop()
    await push.communicate()
    await other.until(id, is_state("interrupted"))

    async def taken_over() -> bool:
        async with http.get(on(second, hls)) as answer:
            return answer.status == 200

    await eventually(taken_over, within=60, every=0.1)
    await server.start()
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(id, is_state("live"))

    async def continued() -> str:
        _, playlist = await media_playlist(http, hls)
        assert playlist.partition("#EXT-X-DISCONTINUITY\n")[2].count("#EXTINF") >= 1, playlist
        return playlist

    playlist = await eventually(continued, within=60, every=0.1)
    closed = [line for line in before.splitlines() if line.startswith("v-") and line.count(".") == 1]
    assert [line for line in playlist.splitlines() if line in closed] == closed

    async def given_up() -> bool:
        async with http.get(on(second, hls)) as answer:
            return answer.status == 503

    await eventually(given_up, within=60, every=0.1)
    assert (await streamer.show(id))["state"] == "live"


async def test_ended_through_the_other_node_when_its_own_is_dead(
    streamer: User, server: ServerProcess, second: ServerProcess, http: aiohttp.ClientSession
) -> None:
    other = through(streamer, second)
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"])
    await segments(http, started["playback"]["hls"], 3)
    await server.stop(signal.SIGKILL)
    await push.communicate()
    ended = await other.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    assert ended["state"] == "ended"
    closed = await other.until(started["id"], lambda shown: shown["recording"] is not None, within=60)
    assert closed["recording"]["duration"] >= 1.9
    frames = await decode(on(second, closed["recording"]["hls"]))
    assert frames["video"] >= 30 * closed["recording"]["duration"] - 5
