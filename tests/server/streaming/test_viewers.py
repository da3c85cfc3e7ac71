"""Who is counted as a viewer: what a client makes up is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from http.cookies import SimpleCookie

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from server.streaming.playback.viewers import COOKIES_AT_ONCE, MOST_AGENTS, Viewers
from storage.postgres.database import Database
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import is_state, segments
from tests.support import eventually


class Channels:
    """The hub of a node where `holders` hold every channel."""

    def __init__(self) -> None:
        self.holders: set[str] = set()
        self.told: dict[str, int | None] = {}

    def viewers(self, channel: str) -> set[str]:
        return self.holders

    def set_viewers(self, channel: str, count: int | None) -> None:
        self.told[channel] = count


def address_of(request: web.Request) -> str:
    return request.headers.get("X-Address", "192.0.2.1")


def request(address: str = "192.0.2.1", agent: str = "player", cookie: str = "") -> web.Request:
    headers = CIMultiDict({"X-Address": address, "User-Agent": agent})
    if cookie:
        headers["Cookie"] = cookie
    made = make_mocked_request("GET", "/live/x/p/index.m3u8")
    made._headers = CIMultiDictProxy(headers)  # it would not take bytes that are no UTF-8, which a client may send
    return made


async def started(database: Database, seconds: float = 15) -> Viewers:
    viewers = Viewers(Channels(), database, address_of, seconds)
    await viewers.start()
    return viewers


@pytest.fixture
async def viewers(database: Database) -> AsyncIterator[Viewers]:
    viewers = await started(database)
    yield viewers
    await viewers.close()


async def test_a_cookie_of_ours_is_one_viewer_wherever_it_comes_from(viewers: Viewers) -> None:
    cookie = viewers.issue(request())
    assert cookie is not None
    key = viewers.viewer_of(request(cookie=f"viewer={cookie}"))
    for headers in (f"a=b; viewer={cookie}", f"viewer={cookie}; other=1", f"a=viewer;viewer={cookie}"):
        assert viewers.viewer_of(request("198.51.100.7", "another", headers)) == key
    assert key != viewers.viewer_of(request())
    assert viewers.issue(request(cookie=f"viewer={cookie}")) is None


async def test_one_that_we_did_not_sign_is_no_viewer_of_its_own(viewers: Viewers) -> None:
    anonymous = viewers.viewer_of(request())
    cookie = viewers.issue(request()) or ""
    name, _, mac = cookie.partition(".")
    for made_up in ("x", "x.", ".", f".{mac}", name, f"{name}x.{mac}", f"{name}.{mac[:-1]}", f"{name}.{mac}x", "ä.ö",
                    "x" * 64, "x" * 5000, "a.b.c", "\udcff.\udcff"):  # fmt: skip
        assert viewers.viewer_of(request(cookie=f"viewer={made_up}")) == anonymous
    assert viewers.viewer_of(request(cookie=f"noviewer={cookie}")) == anonymous


async def test_all_nodes_know_a_viewer_by_the_same_key(database: Database) -> None:
    """Also when they start at the same moment."""
    first, second = await asyncio.gather(started(database), started(database))
    for seen in (request(), request("2001:db8::1", "phone"), request(cookie=f"viewer={first.issue(request())}")):
        assert first.viewer_of(seen) == second.viewer_of(seen)
    await asyncio.gather(first.close(), second.close())


async def test_an_address_has_few_keys_without_cookies(viewers: Viewers) -> None:
    keys = {viewers.viewer_of(request(agent=f"player {number}")) for number in range(2000)}
    assert 2 < len(keys) <= MOST_AGENTS
    # a household has 64 bits of IPv6
    one = {viewers.viewer_of(request(f"2001:db8:1:2::{number:x}")) for number in range(100)}
    assert len(one) == 1
    assert one != {viewers.viewer_of(request("2001:db8:1:3::1"))}
    assert viewers.viewer_of(request(agent="b\udcffd bytes")).count("-") == 1


async def test_a_key_does_not_give_the_address_away(viewers: Viewers) -> None:
    assert "192.0.2" not in viewers.viewer_of(request())


async def test_an_address_is_given_few_cookies_at_once(viewers: Viewers) -> None:
    given = [viewers.issue(request()) for _ in range(COOKIES_AT_ONCE + 50)]
    assert sum(cookie is not None for cookie in given) == COOKIES_AT_ONCE
    assert viewers.issue(request("198.51.100.7")) is not None


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "VIEWER_SECONDS": "5"}


async def get(http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> int:
    async with http.get(url, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_what_is_counted_on_a_real_server(streamer: User, server: ServerProcess) -> None:
    started = await streamer.start()
    id, hls = started["id"], started["playback"]["hls"]
    await streamer.push(started["ingest"]["rtmp"])
    await streamer.until(id, is_state("live"))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        # names that do not exist give nobody anything
        for number in range(20):
            made_up = {"Cookie": f"viewer=x{number}", "User-Agent": f"agent {number}"}
            assert await get(http, hls.replace("index", f"none{number}"), made_up) == 404
        assert (await streamer.show(id))["viewers"] == 0

        async def play(cookie: str) -> None:
            assert await get(http, hls, {"Cookie": f"viewer={cookie}", "User-Agent": "one player"}) == 200

        await segments(http, hls, 1)
        await streamer.until(id, lambda shown: shown["viewers"] == 0)  # VIEWER_SECONDS after it asked last
        await asyncio.gather(*(play(f"made-up-{number}") for number in range(200)))
        assert (await streamer.show(id))["viewers"] == 1

        cookies = []
        for _ in range(3):
            async with http.post(f"{server.url}/api/v1/live/{id}/join") as answer:
                assert answer.status == 200
                cookies.append(SimpleCookie(answer.headers["Set-Cookie"])["viewer"].value)
        await asyncio.gather(*(play(cookie) for cookie in cookies * 5))
        assert (await streamer.show(id))["viewers"] == 4
        await eventually(lambda: _nobody(streamer, id), within=60, every=0.1)


async def _nobody(streamer: User, id: str) -> bool:
    return bool((await streamer.show(id))["viewers"] == 0)
