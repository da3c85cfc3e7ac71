"""Settings that bound something do so in the running server, which tests with small values see."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from server.streaming.broadcasts.service import RETENTION_JOB
from storage.jobs import Jobs
from storage.postgres.database import Database
from tests.server.streaming.conftest import ServerProcess, User, files_of
from tests.server.streaming.test_live import is_state, media_playlist, segments
from tests.support import eventually

WAITING = 2
SOCKETS = 3
CONNECTIONS = 25
CACHE = 40_000
DEAD_AFTER = 4
KEPT_DAYS = 7


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {
        "MEDIA_WAITING": str(WAITING),
        "MAX_SOCKETS": str(SOCKETS),
        "SEGMENT_CACHE_BYTES": str(CACHE),
        "PUBLISHER_DEAD_AFTER": str(DEAD_AFTER),
        "RETENTION_DAYS": str(KEPT_DAYS),
        "HTTP_MAX_CONNECTIONS": str(CONNECTIONS),
        "HTTP_WRITE_TIMEOUT": "1",
        "SEGMENT_SECONDS": "1",
        "LIVE_EDGE_SEGMENTS": "1",
    }


async def details(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with http.get(server.url + "/health/detailed") as answer:
        found: dict[str, Any] = (await answer.json())["details"]
        return found


async def on_air(streamer: User) -> dict[str, Any]:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    return started


async def test_media_waiting(streamer: User, http: aiohttp.ClientSession) -> None:
    """One more blocked request than there may be is told to come back; the others get what they wait for."""
    started = await on_air(streamer)
    await segments(http, started["playback"]["hls"], 1)

    async def ask(url: str) -> tuple[int, str]:
        async with http.get(url) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Retry-After", "")

    async def refused() -> bool:
        url, playlist = await media_playlist(http, started["playback"]["hls"])
        first = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", playlist)
        assert first is not None
        last = int(first[1]) + playlist.count("#EXTINF") - 1
        # the segment after the one that is under way
        answers = await asyncio.gather(*(ask(f"{url}?_HLS_msn={last + 2}") for _ in range(WAITING + 3)))
        return Counter(answers) == {(200, ""): WAITING, (503, "1"): 3}

    await eventually(refused, within=60)


async def test_max_sockets(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    address = server.url.replace("http", "ws") + "/ws"
    held = [await http.ws_connect(address) for _ in range(SOCKETS)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(address)
    assert refused.value.status == 503
    await held.pop().close()

    async def again() -> bool:
        try:
            held.append(await http.ws_connect(address))
        except aiohttp.WSServerHandshakeError:
            return False
        return True

    await eventually(again, every=0.05)
    for socket_ in held:
        assert (await socket_.receive_json())["type"] == "welcome"
        await socket_.close()


async def test_segment_cache_bytes(streamer: User, server: ServerProcess, http: aiohttp.ClientSession) -> None:
    """Old segments are read from the store, again and again; in memory they have their place and no more."""
    started = await on_air(streamer)
    hls = started["playback"]["hls"]
    await segments(http, hls, 8)
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    await streamer.until(started["id"], is_state("ended"))
    await eventually(lambda: _stored(http, server), within=60, every=0.1)
    url = urljoin(hls, "a.m3u8")  # 8 kB each; the last moment of the picture may have no sound
    async with http.get(url) as answer:
        lines = (await answer.text()).splitlines()
    names = [line for n, line in enumerate(lines) if line.endswith(".m4s") and "#EXT-X-GAP" not in lines[n - 2 : n]]
    sizes, most = 0, 0
    for name in names:
        async with http.get(urljoin(url, name)) as answer:
            assert answer.status == 200
            sizes += len(await answer.read())
        most = max(most, (await details(http, server))["spool"]["cache_bytes"])
    assert sizes > 1.2 * CACHE, "what was read would have fit"
    assert 0 < most <= CACHE


async def _stored(http: aiohttp.ClientSession, server: ServerProcess) -> bool:
    return bool((await details(http, server))["spool"]["pending_bytes"] == 0)


async def test_publisher_dead_after(streamer: User) -> None:
    """A second encoder waits so long for a sign of life of a first that is silent."""
    started = await streamer.start()
    first = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    first.send_signal(signal.SIGSTOP)
    frozen = await streamer.show(started["id"])
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(
        started["id"], lambda shown: sum(event["kind"] == "live" for event in shown["events"]) == 2
    )
    connected = [datetime.fromisoformat(e["at"]) for e in shown["events"] if e["kind"] == "connected"]
    assert len([e for e in frozen["events"] if e["kind"] == "connected"]) == 1
    assert (max(connected) - min(connected)).total_seconds() >= DEAD_AFTER


async def test_http_connections_and_write_timeout(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    """On the loop of the product. One client never reads what it asks for, and too many others come."""
    loop = asyncio.get_running_loop()
    port = urlsplit(server.url).port
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", port))
        asking = loop.create_task(loop.sock_sendall(deaf, b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 1000))

        async def closed() -> bool:
            return bool((await details(http, server))["http"]["stalled"] == 1)

        await eventually(closed, within=60, every=0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    many = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS + 3)]

    async def told(reader: asyncio.StreamReader) -> bool:
        return (await reader.readline()).startswith(b"HTTP/1.1 503 ")

    waiting = {asyncio.ensure_future(told(reader)) for reader, _ in many}
    refused = 0
    async with asyncio.timeout(30):
        while refused < 3:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused += sum(task.result() for task in done)
    for task in waiting:
        task.cancel()
    for _, writer in many:
        writer.close()
    await eventually(closed, within=60, every=0.1)


@pytest.fixture
async def rows(environment: dict[str, str]) -> AsyncIterator[Database]:
    database = Database(environment["DATABASE_URL"], max_size=2)
    await database.start()
    yield database
    await database.close()


async def test_retention_days(
    streamer: User, server: ServerProcess, http: aiohttp.ClientSession, rows: Database
) -> None:
    """What is past its time goes, row and files; what is not stays, and plays."""
    ids = []
    for _ in range(2):
        started = await streamer.start()
        key = await streamer.call("POST", "/api/v1/live/key")
        await streamer.push(key["ingest"]["rtmp"], seconds=3)
        await streamer.until(started["id"], is_state("interrupted"))
        await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
        ids.append((await streamer.until(started["id"], lambda shown: shown["recording"] is not None))["id"])
    await eventually(lambda: _stored(http, server), within=60, every=0.1)
    old, young = ids

    def files(id: str) -> list[Path]:
        return files_of(server.folder / "objects" / "live", id)

    assert files(old)
    async with rows.transaction() as conn:
        for id, days in ((old, KEPT_DAYS + 1), (young, KEPT_DAYS - 1)):
            await conn.execute(
                "update broadcasts set ended_at = now() - make_interval(days => $2) where id = $1", id, days
            )
        await Jobs().enqueue(conn, RETENTION_JOB)
    swept = await streamer.until(old, lambda shown: shown["recording"] is None)
    assert swept["state"] == "ended"
    await eventually(lambda: not files(old), what="the files of the old one are gone")
    kept = await streamer.show(young)
    assert "#EXT-X-ENDLIST" in (await media_playlist(http, kept["recording"]["hls"]))[1]
    assert files(young)
