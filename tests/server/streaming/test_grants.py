"""Broadcasts for followers and private ones, on two nodes: lists, media, WebRTC, chat, and rights that are lost."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp

from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_fleet import environment, holding, on, second, through
from tests.server.streaming.test_live import is_state
from tests.server.streaming.test_whep import Player, play
from tests.support import eventually

__all__ = ["environment", "play", "second"]  # fixtures

REVOKED_WITHIN = 2.0


async def status_of(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url, allow_redirects=False) as answer:
        return answer.status


async def test_who_may_watch_a_broadcast(
    streamer: User,
    second: ServerProcess,
    http: aiohttp.ClientSession,
    new_user: Callable[[str], Awaitable[User]],
    play: Callable[..., Awaitable[Player]],
) -> None:
    fan, stranger = await new_user("fan"), await new_user("stranger")
    refused = await streamer.call("POST", "/api/v1/live/start", {"title": "x", "visibility": "paid"}, expect=422)
    assert refused["code"] == "visibility_not_supported"
    started = await streamer.start(visibility="followers")
    id = started["id"]
    await streamer.push(started["ingest"]["rtmp"])
    shown = await streamer.until(id, is_state("live"))
    me = shown["owner"]["id"]

    async def plays() -> bool:
        return await status_of(http, started["playback"]["hls"]) == 200

    await eventually(plays, within=20, what="the owner's own grant")
    assert [card["id"] for card in (await stranger.call("GET", "/api/v1/live"))["items"]] == []
    for node in (streamer.server, second):
        guest = through(stranger, node)
        for method, path in (("GET", f"/api/v1/live/{id}"), ("POST", f"/api/v1/live/{id}/join")):
            assert (await guest.call(method, path, expect=403))["code"] == "followers_only"
        await guest.call("GET", f"/api/v1/live/{id}/chat", expect=404)
        await guest.call("POST", f"/api/v1/live/{id}/chat", {"text": "let me in"}, expect=404)
    assert await status_of(http, f"{streamer.server.url}/live/{id}/p/index.m3u8") == 403
    player = await play(f"{streamer.server.url}/api/v1/live/{id}/whep", stranger.token)
    await eventually(lambda: player.seen["status"] == 403, within=20, what="refused by WebRTC")

    # who follows is given an address, by the other node as well, and may renew it
    await fan.call("POST", "/api/v1/follows/follow", {"user_id": me})
    there = through(fan, second)
    joined = await there.call("POST", f"/api/v1/live/{id}/join")
    assert joined["renew_in"] > 0
    address = on(streamer.server, joined["playback"]["hls"])
    assert await status_of(http, address) == 200
    assert "/p/" not in urlsplit(address).path
    public = await streamer.call("POST", f"/api/v1/live/{id}/join")
    assert public["playback"]["hls"] != joined["playback"]["hls"]
    async with holding(there, f"live:{id}", "") as held:
        await there.call("POST", f"/api/v1/live/{id}/chat", {"text": "Hello"}, expect=201)
        # he unfollows on b: refused on a, and his channel on b is closed
        await there.call("DELETE", f"/api/v1/follows/unfollow?user_id={me}", expect=204)
        began = time.monotonic()

        async def void() -> float:
            assert await status_of(http, address) == 403
            return time.monotonic() - began

        assert float(await eventually(void, within=10, every=0.02, what="refused")) < REVOKED_WITHIN
        await held.hears(lambda message: message["type"] == "unsubscribed" or message.get("code") == "forbidden")

    # private: nobody else knows of it, not by its picture either
    await streamer.call("PUT", f"/api/v1/live/{id}", {"visibility": "private"})
    for path in (f"/live/{id}/p/index.m3u8", f"/live/{id}/p/thumb.jpg"):
        assert await status_of(http, streamer.server.url + path) == 404
    await stranger.call("GET", f"/api/v1/live/{id}", expect=404)
    await stranger.call("PUT", f"/api/v1/live/{id}", {"title": "mine"}, expect=404)
    assert (await streamer.call("GET", "/api/v1/live/mine"))["items"][0]["visibility"] == "private"

    # open to everybody at once
    await streamer.call("PUT", f"/api/v1/live/{id}", {"visibility": "public"})
    assert await status_of(http, f"{streamer.server.url}/live/{id}/p/index.m3u8") == 200
    assert (await stranger.call("POST", f"/api/v1/live/{id}/join"))["renew_in"] is None
