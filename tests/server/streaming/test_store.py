"""The store goes away and comes back: live goes on without it, and nothing that was written is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from storage.objects.s3 import S3Store
from tests.conftest import S3
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import decode, is_state, media_playlist, segments, text
from tests.support import eventually


@pytest.fixture
def environment(environment: dict[str, str], s3: S3) -> dict[str, str]:
    return environment | {
        "S3_ENDPOINT": s3.endpoint,
        "S3_BUCKET": s3.bucket,
        "S3_REGION": s3.region,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "SEGMENT_SECONDS": "1",
        "SPOOL_MAX_BYTES": str(1 << 30),
    }


@pytest.fixture
async def bucket(s3: S3) -> AsyncIterator[S3Store]:
    """The bucket, asked directly."""
    store = S3Store(s3.endpoint, s3.bucket, region=s3.region, access_key=s3.access_key, secret_key=s3.secret_key)
    await store.start()
    yield store
    await store.close()


async def stored(bucket: S3Store, id: str) -> set[str]:
    """Names of the broadcast's files that the bucket has."""
    return {key.removeprefix(f"live/{id}/") async for key, _ in bucket.list(f"live/{id}/")}


async def recorded_names(http: aiohttp.ClientSession, master: str) -> tuple[set[str], float]:
    """(every file that the recording's playlists name, its duration in s)."""
    names: set[str] = {"recording.m3u8"}
    seconds = 0.0
    for playlist in (line for line in (await text(http, master)).splitlines() if line.endswith(".m3u8")):
        names.add(playlist)
        body = await text(http, urljoin(master, playlist))
        assert "#EXT-X-ENDLIST" in body
        assert "#EXT-X-GAP" not in body
        names |= {line for line in body.splitlines() if line and not line.startswith("#")}
        names |= {part.split('"')[0] for part in body.split('URI="')[1:]}
        seconds = sum(float(line[8:].split(",")[0]) for line in body.splitlines() if line.startswith("#EXTINF:"))
    return names, seconds


async def health(http: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, Any]]:
    async with http.get(url + "/health/ready") as answer:
        return answer.status, await answer.json()


async def test_everything_of_a_broadcast_is_in_the_bucket(
    streamer: User, http: aiohttp.ClientSession, bucket: S3Store
) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"], seconds=20)
    await segments(http, started["playback"]["hls"], 2)

    async def while_live() -> bool:
        names = await stored(bucket, started["id"])
        return any(name.startswith("v-") and name.endswith(".m4s") for name in names)

    await eventually(while_live, within=60, every=0.2)
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.until(started["id"], is_state("ended"))
    names, _ = await recorded_names(http, ended["recording"]["hls"])
    await eventually(
        lambda: _has_all(bucket, started["id"], names | {"recording.mpd", "journal.jsonl"}), within=60, every=0.2
    )


async def _has_all(bucket: S3Store, id: str, names: set[str]) -> bool:
    missing = names - await stored(bucket, id)
    assert not missing, missing
    return True


async def test_live_goes_on_while_the_store_is_away_and_the_store_gets_it_all_later(
    streamer: User, server: ServerProcess, http: aiohttp.ClientSession, s3: S3, bucket: S3Store
) -> None:
    started = await streamer.start()
    hls = started["playback"]["hls"]
    await streamer.push(started["ingest"]["rtmp"])
    await segments(http, hls, 2)
    s3.server.close()
    try:
        before = (await media_playlist(http, hls))[1].count("#EXTINF")
        # the live edge: parts come as ever, each within a part and the time of a slow machine
        for _ in range(4):
            url, playlist = await media_playlist(http, hls)
            msn = int(playlist.split("#EXT-X-MEDIA-SEQUENCE:")[1].split("\n")[0]) + playlist.count("#EXTINF")
            async with asyncio.timeout(15), http.get(url, params={"_HLS_msn": str(msn)}) as answer:
                assert answer.status == 200
                assert f"v-{msn}.m4s" in await answer.text()
        after = (await media_playlist(http, hls))[1]
        assert after.count("#EXTINF") >= before + 3
        assert "#EXT-X-GAP" not in after
        # what left the memory of the live edge is read from the spool; what only the store has, later
        closed = [line for line in after.splitlines() if line.startswith("v-") and line.count(".") == 1]
        for name in closed[before:]:
            assert len((await _read(http, urljoin(hls, name)))[1]) > 1000, name
        for name in closed[:before]:
            assert (await _read(http, urljoin(hls, name)))[0] in (200, 503), name

        async def said() -> bool:
            status, report = await health(http, server.url)
            assert status == 200
            assert report["status"] == "degraded", report
            assert "store" in report["parts"]["store"]["reason"]
            return True

        await eventually(said, within=60, every=0.2)
    finally:
        s3.server.start()

    async def well() -> bool:
        return (await health(http, server.url))[1]["status"] == "ok"

    await eventually(well, within=45, every=0.2)
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.until(started["id"], is_state("ended"))
    names, seconds = await recorded_names(http, ended["recording"]["hls"])
    assert seconds == pytest.approx(ended["recording"]["duration"], abs=0.2)
    await eventually(lambda: _has_all(bucket, started["id"], names | {"recording.mpd"}), within=60, every=0.2)
    frames = await decode(ended["recording"]["hls"])
    assert frames["video"] >= 30 * ended["recording"]["duration"] - 5

    # a store that is away when somebody watches the recording: not "gone", not a fault; try again
    await server.restart()  # nothing of it is in memory any more
    s3.server.close()
    try:
        for url in (ended["recording"]["hls"], urljoin(hls, "v-0.m4s")):
            status, body, headers = await _read(http, url)
            assert status == 503, f"{url}: {status} {body!r}"
            assert int(headers["Retry-After"]) >= 1
    finally:
        s3.server.start()
    assert (await _read(http, ended["recording"]["hls"]))[0] == 200


async def _read(http: aiohttp.ClientSession, url: str) -> tuple[int, bytes, Any]:
    async with http.get(url) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_killed_while_the_store_is_away_only_the_open_segment_is_lost(
    streamer: User,
    server: ServerProcess,
    environment: dict[str, str],
    http: aiohttp.ClientSession,
    s3: S3,
    bucket: S3Store,
) -> None:
    environment["RECONNECT_WINDOW"] = "1"
    started = await streamer.start()
    hls = started["playback"]["hls"]
    push = await streamer.push(started["ingest"]["rtmp"])
    await segments(http, hls, 1)
    s3.server.close()
    try:
        listed = await segments(http, hls, 4)
        # A segment is listed as its last frame comes, when it is on its way to the spool; 2 s later it is there.
        await segments(http, hls, 5)
        await server.restart(signal.SIGKILL)  # it starts without the store, too
        await push.communicate()
        ended = await streamer.until(started["id"], is_state("ended"), within=60)
        assert ended["recording"] is not None
    finally:
        s3.server.start()

    async def playable() -> tuple[set[str], float]:
        names, seconds = await recorded_names(http, ended["recording"]["hls"])
        missing = names - await stored(bucket, started["id"])
        assert not missing, missing
        return names, seconds

    names, seconds = await eventually(playable, within=45, every=0.3)
    closed = [line for line in listed.splitlines() if line.startswith("v-") and line.count(".") == 1]
    assert set(closed) <= names
    assert (
        seconds
        >= sum(float(line[8:].split(",")[0]) for line in listed.splitlines() if line.startswith("#EXTINF:")) - 0.1
    )
    frames = await decode(ended["recording"]["hls"])
    assert frames["video"] >= 30 * seconds - 5
