"""Live from outside: real encoders push to a real server, players read what comes out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.server.streaming.conftest import ENCODE, ServerProcess, User, files_of
from tests.support import eventually


def is_state(*states: str) -> Callable[[dict[str, Any]], bool]:
    return lambda shown: shown["state"] in states


async def text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, f"{url}: {answer.status}"
        return await answer.text()


async def media_playlist(http: aiohttp.ClientSession, master: str) -> tuple[str, str]:
    """(URL, text) of the first media playlist."""
    lines = (await text(http, master)).splitlines()
    name = next(line for line in lines if line and not line.startswith("#"))
    url = urljoin(master, name)
    return url, await text(http, url)


async def segments(http: aiohttp.ClientSession, master: str, at_least: int) -> str:
    """The media playlist once it has so many segments."""

    async def enough() -> str:
        _, playlist = await media_playlist(http, master)
        assert playlist.count("#EXTINF") >= at_least, playlist
        return playlist

    return await eventually(enough, within=60, every=0.1)


async def decode(url: str) -> dict[str, int]:
    """Frames by kind, as the ffmpeg program's HLS or DASH player decodes them."""
    # fmt: off
    probe = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames",
        "-of", "csv=p=0", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    # fmt: on
    said, errors = await probe.communicate()
    assert probe.returncode == 0, errors.decode()
    rows = [line.split(",") for line in said.decode().split()]
    return {kind: int(frames) for kind, frames in rows}


async def test_push_watch_end_and_play_the_recording(streamer: User, http: aiohttp.ClientSession) -> None:
    started = await streamer.start("First light", description="A test picture")
    assert started["state"] == "created"
    assert started["ingest"]["rtmp"].endswith(started["stream_key"])
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(started["id"], is_state("live"))
    assert {track["kind"] for track in shown["tracks"]} == {"video", "audio"}
    assert (shown["tracks"][0]["width"], shown["tracks"][0]["height"]) == (320, 180)

    hls = started["playback"]["hls"]
    playlist = await segments(http, hls, 3)
    assert "#EXT-X-PART:" in playlist
    assert "#EXT-X-ENDLIST" not in playlist
    cards = await streamer.call("GET", "/api/v1/live")
    assert [card["id"] for card in cards["items"]] == [started["id"]]
    assert shown["owner"]["username"] == "streamer"
    mpd = await text(http, started["playback"]["dash"])
    assert 'type="dynamic"' in mpd

    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.until(started["id"], is_state("ended"))
    assert ended["recording"]["duration"] >= 3
    assert "#EXT-X-ENDLIST" in (await media_playlist(http, hls))[1]
    assert "#EXT-X-ENDLIST" in (await media_playlist(http, ended["recording"]["hls"]))[1]
    for url in (ended["recording"]["hls"], ended["recording"]["dash"]):
        frames = await decode(url)
        assert frames["video"] >= 30 * ended["recording"]["duration"] - 5
        assert frames["audio"] >= 46 * ended["recording"]["duration"] - 10
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]}, expect=409)


async def test_a_push_without_a_prepared_broadcast_starts_one(streamer: User) -> None:
    key = await streamer.call("POST", "/api/v1/live/key")
    await streamer.push(key["ingest"]["rtmp"])

    async def mine() -> Any:
        items = (await streamer.call("GET", "/api/v1/live/mine"))["items"]
        return [item for item in items if item["state"] == "live"]

    (card,) = await eventually(mine, within=60)
    assert card["title"].startswith("Live on ")


async def test_an_unknown_key_is_refused_in_words_the_encoder_shows(streamer: User) -> None:
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"][:-4] + "aaaa")
    _, said = await push.communicate()
    assert push.returncode != 0
    assert b"rror" in said
    # the old key is dead as soon as there is a new one
    new = await streamer.call("POST", "/api/v1/live/key")
    assert new["stream_key"] != started["stream_key"]
    push = await streamer.push(started["ingest"]["rtmp"])
    await push.communicate()
    assert push.returncode != 0


async def test_a_dropped_publisher_comes_back_to_the_same_broadcast(
    streamer: User, http: aiohttp.ClientSession
) -> None:
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    await segments(http, started["playback"]["hls"], 2)
    push.kill()
    await streamer.until(started["id"], is_state("interrupted"))
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))

    async def joined() -> str:
        _, playlist = await media_playlist(http, started["playback"]["hls"])
        tail = playlist.partition("#EXT-X-DISCONTINUITY\n")[2]
        assert tail.count("#EXTINF") >= 1
        return playlist

    await eventually(joined, within=60, every=0.1)
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.show(started["id"])
    assert "#EXT-X-DISCONTINUITY\n" in (await media_playlist(http, ended["recording"]["hls"]))[1]
    kinds = [event["kind"] for event in ended["events"]]
    assert kinds.count("live") == 2
    assert "interrupted" in kinds


async def test_a_second_publisher_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(
    streamer: User,
) -> None:
    started = await streamer.start()
    first = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    second = await streamer.push(started["ingest"]["rtmp"])
    await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode != 0
    assert first.returncode is None
    # a frozen encoder, or a dead line: the connection is there, nothing comes
    first.send_signal(signal.SIGSTOP)
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(
        started["id"],
        lambda shown: sum(event["kind"] == "live" for event in shown["events"]) == 2 and shown["state"] == "live",
    )
    assert any("live already from another encoder" in event["detail"] for event in shown["events"])


@pytest.mark.settings(RECONNECT_WINDOW="1")
async def test_it_ends_by_itself_when_nobody_comes_back(streamer: User) -> None:
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"], seconds=3)
    await streamer.until(started["id"], is_state("live"))
    await push.communicate()
    ended = await streamer.until(started["id"], is_state("ended"))
    assert ended["recording"]["duration"] == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_continues_the_same_broadcast(
    streamer: User, server: ServerProcess, http: aiohttp.ClientSession, how: signal.Signals
) -> None:
    started = await streamer.start()
    hls = started["playback"]["hls"]
    push = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    before = await segments(http, hls, 3)

    async def next_one_is_open() -> bool:
        return "#EXT-X-PART" in (await media_playlist(http, hls))[1].rpartition("#EXTINF")[2]

    await eventually(next_one_is_open, every=0.05)
    known = [line for line in before.splitlines() if line.startswith("v-") and "." in line]
    await server.restart(how)
    await push.communicate()
    shown = await streamer.until(started["id"], is_state("interrupted"))
    assert shown["started_at"] is not None
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))

    async def longer() -> str:
        _, playlist = await media_playlist(http, hls)
        assert playlist.partition("#EXT-X-DISCONTINUITY\n")[2].count("#EXTINF") >= 1
        return playlist

    after = await eventually(longer, within=60, every=0.1)
    listed = [line for line in after.splitlines() if line.startswith("v-") and "." in line]
    assert listed[: len(known)] == known
    for name in known:
        async with http.get(urljoin(hls, name)) as answer:
            assert answer.status == 200, name
            assert len(await answer.read()) > 1000
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.show(started["id"])
    frames = await decode(ended["recording"]["hls"])
    assert frames["video"] > 100


async def test_after_a_kill_that_nobody_comes_back_from_the_recording_is_closed(
    streamer: User, server: ServerProcess, environment: dict[str, str], http: aiohttp.ClientSession
) -> None:
    environment["RECONNECT_WINDOW"] = "1"
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    await segments(http, started["playback"]["hls"], 3)
    await server.restart(signal.SIGKILL)
    await push.communicate()
    ended = await streamer.until(started["id"], is_state("ended"), within=60)
    assert ended["recording"]["duration"] >= 2.9
    frames = await decode(ended["recording"]["hls"])
    assert frames["video"] >= 30 * ended["recording"]["duration"] - 5


async def test_what_only_the_owner_may_do(
    streamer: User, new_user: Callable[[str], Awaitable[User]], http: aiohttp.ClientSession
) -> None:
    started = await streamer.start()
    stranger = await new_user("stranger")
    path = f"/api/v1/live/{started['id']}"
    await stranger.call("PUT", path, {"title": "Mine now"}, expect=403)
    await stranger.call("DELETE", path, expect=403)
    await stranger.call("POST", "/api/v1/live/end", {"stream_id": started["id"]}, expect=403)
    seen = await stranger.show(started["id"])
    assert seen["health"] is None
    assert seen["events"] is None
    assert started["stream_key"] not in str(seen)
    edited = await streamer.call("PUT", path, {"title": "  Better  "})
    assert (edited["title"], edited["visibility"]) == ("Better", "public")
    for bad in ({"visibility": "paid"}, {"title": ""}, {"title": "x" * 141}, {"colour": "red"}, {"title": 7}):
        await streamer.call("PUT", path, bad, expect=422)
    missing = "/api/v1/live/00000000-0000-7000-8000-000000000000"
    for method in ("GET", "DELETE"):
        await streamer.call(method, missing, expect=404)
    async with http.post(streamer.server.url + "/api/v1/live/start", json={"title": "No token"}) as answer:
        assert answer.status == 401


async def test_only_one_broadcast_is_on_air_and_one_on_air_is_not_deleted(streamer: User) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    problem = await streamer.call("POST", "/api/v1/live/start", {"title": "Another"}, expect=409)
    assert problem["code"] == "already_live"
    problem = await streamer.call("DELETE", f"/api/v1/live/{started['id']}", expect=409)
    assert problem["code"] == "still_live"


async def test_deletion_takes_the_files_along(streamer: User, server: ServerProcess) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"], seconds=3)
    await streamer.until(started["id"], is_state("interrupted"))
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    await streamer.until(started["id"], is_state("ended"))

    def files() -> list[Path]:
        # the mark that keeps it deleted stays
        return [path for path in files_of(server.folder, started["id"]) if "deleted" not in path.parts]

    assert await eventually(files)
    await streamer.call("DELETE", f"/api/v1/live/{started['id']}", expect=204)
    await streamer.call("GET", f"/api/v1/live/{started['id']}", expect=404)
    await eventually(lambda: not files(), within=60, what="the files are gone")


@pytest.mark.settings(DISK_MIN_FREE=str(1 << 60))
async def test_no_recording_without_room_but_live_goes_on(
    streamer: User, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(started["id"], is_state("live"))
    assert any(event["kind"] == "not_recorded" for event in shown["events"])
    await segments(http, started["playback"]["hls"], 2)
    async with http.get(server.url + "/health/ready") as answer:
        health = await answer.json()
    assert (answer.status, health["status"]) == (200, "degraded")
    assert "nothing new is recorded" in health["parts"]["disk"]["reason"]
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    assert (await streamer.show(started["id"]))["recording"] is None


async def test_viewers_are_distinct_sessions(streamer: User, http: aiohttp.ClientSession) -> None:
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    for agent in ("one", "two", "two"):
        async with http.get(started["playback"]["hls"], headers={"User-Agent": agent}) as answer:
            assert answer.status == 200
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as viewer:
        async with viewer.post(f"{streamer.server.url}/api/v1/live/{started['id']}/join") as answer:
            joined = await answer.json()
        for agent in ("three", "four"):  # one browser, whatever it calls itself
            async with viewer.get(joined["playback"]["hls"], headers={"User-Agent": agent}):
                pass
    assert (await streamer.show(started["id"]))["viewers"] == 3


async def test_health_advises_about_key_frames(streamer: User) -> None:
    started = await streamer.start()
    encode = [value if value != "30" else "240" for value in ENCODE]
    await streamer.push(started["ingest"]["rtmp"], encode=[*encode, "-sc_threshold", "0", "-keyint_min", "240"])
    shown = await streamer.until(
        started["id"],
        lambda shown: bool(shown["health"]) and any("Key frames" in words for words in shown["health"]["advice"]),
    )
    assert shown["health"]["bitrate"] > 10_000


async def test_a_picture_of_the_live_broadcast(streamer: User, http: aiohttp.ClientSession) -> None:
    started = await streamer.start()
    assert (await streamer.show(started["id"]))["thumbnail"].endswith("placeholder.svg")
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(started["id"], lambda shown: shown["thumbnail"].endswith("thumb.jpg"))
    async with http.get(shown["thumbnail"]) as answer:
        assert answer.content_type == "image/jpeg"
        assert (await answer.read())[:2] == b"\xff\xd8"


async def test_media_urls_answer_strangers_names_clearly(streamer: User, http: aiohttp.ClientSession) -> None:
    started = await streamer.start()
    base = f"{streamer.server.url}/live/{started['id']}"
    for path in ("/p/index.m3u8", "/p/nothing.m4s", "/q/index.m3u8", "/p/..%2f..%2fnode_id"):
        async with http.get(base + path) as answer:
            assert answer.status == 404, path
            assert answer.headers["Access-Control-Allow-Origin"] == "*" or "%2f" in path
    async with http.options(base + "/p/index.m3u8") as answer:
        assert answer.status == 204
    async with http.get(f"{streamer.server.url}/live/not-an-id/p/index.m3u8") as answer:
        assert answer.status == 404


async def test_programs_find_the_socket_described(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    async with http.get(server.url + "/asyncapi.json") as answer:
        described = await answer.json()
    assert described["asyncapi"].startswith("3.")
    assert described["operations"]


async def test_a_new_key_hangs_up_on_who_pushes_with_the_old_one(streamer: User) -> None:
    started = await streamer.start()
    push = await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
    key = await streamer.call("POST", "/api/v1/live/key")
    await asyncio.wait_for(push.communicate(), 60)
    assert push.returncode != 0
    await streamer.until(started["id"], is_state("interrupted"))
    await streamer.push(key["ingest"]["rtmp"])
    await streamer.until(started["id"], is_state("live"))
