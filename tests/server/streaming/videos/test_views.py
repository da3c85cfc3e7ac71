"""Views, watch time and retention: what counts is what was delivered and had the time to be played."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from server.streaming.playback.watches import Watch, bucket_width, starts_of
from tests.server.identity.privacy.place import Person
from tests.server.streaming.videos.conftest import Studio
from tests.server.streaming.videos.test_playback import PLAYLIST, film

STARTS = starts_of(PLAYLIST.decode())


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"view_seconds": 8.0, "view_per_address": 3, "view_write_seconds": 3600.0}


class Player:
    """A browser: it keeps the cookie that it is given."""

    def __init__(self, studio: Studio, id: str, agent: str = "Browser") -> None:
        self._studio = studio
        self._id = id
        self._cookies: dict[str, str] = {}
        self._agent = agent

    async def load(self, *numbers: int, **headers: str) -> None:
        for number in numbers:
            path = f"/videos/{self._id}/p/v-240p-{number}.m4s"
            async with self._studio.place.client.session.get(
                self._studio.place.client.make_url(path), headers=self._headers(headers)
            ) as answer:
                assert answer.status in (200, 206, 304)

    async def tell(self, start: float, end: float, *, status: int = 200) -> None:
        async with self._studio.place.client.session.post(
            self._studio.place.client.make_url(f"/api/v1/videos/{self._id}/view"),
            json={"from": start, "to": end},
            headers=self._headers({}),
        ) as answer:
            assert answer.status == status, await answer.text()
            for morsel in answer.cookies.values():
                self._cookies[morsel.key] = morsel.value

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        return {"User-Agent": self._agent, **(cookies if self._cookies else {}), **more}


class Hours:
    """Time that passes when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        true = time.monotonic
        from server.streaming.playback import views  # noqa: PLC0415

        class Clock:
            @staticmethod
            def monotonic() -> float:
                return true() + self._ahead

        monkeypatch.setattr(views, "time", Clock)

    def pass_(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.fixture
async def seen(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> tuple[Studio, Person, str, Hours]:
    # the test client would keep cookies for all players
    studio.place.client.session._cookie_jar = aiohttp.DummyCookieJar()
    ann = await studio.person("ann")
    return studio, ann, await film(studio, ann), Hours(monkeypatch)


async def views_of(studio: Studio, owner: Person, id: str) -> int:
    await studio.wiring.views.write()
    return int((await owner.call("GET", f"/api/v1/videos/{id}"))["views"])


async def test_a_view_counts_once_and_reloads_add_nothing(seen: tuple[Studio, Person, str, Hours]) -> None:
    studio, ann, id, hours = seen
    player = Player(studio, id)
    await player.load(0, 1, 2)
    hours.pass_(5)
    await player.tell(0, 5)
    assert await views_of(studio, ann, id) == 0
    hours.pass_(5)
    await player.tell(5, 10)
    assert await views_of(studio, ann, id) == 1
    for _ in range(3):  # reloads
        await player.load(0, 1, 2)
        hours.pass_(10)
        await player.tell(0, 10)
    assert await views_of(studio, ann, id) == 1
    retention = await ann.call("GET", f"/api/v1/videos/{id}/retention")
    assert retention["bucket_seconds"] == 10
    assert retention["viewers"] == [1] + [0] * 9
    assert retention["watched_seconds"] == 40

    # after a restart, and on another node: who was counted is known
    views = studio.wiring.views
    views._watches.clear()
    await player.load(0, 1, 2)
    hours.pass_(10)
    await player.tell(0, 10)
    assert await views_of(studio, ann, id) == 1
    assert (await ann.call("GET", f"/api/v1/videos/{id}/retention"))["viewers"] == [1] + [0] * 9
    # the next day
    await studio.place.sql("update video_viewers set since = since - interval '2 days'")
    views._watches.clear()
    await player.load(0, 1, 2)
    hours.pass_(10)
    await player.tell(0, 10)
    assert await views_of(studio, ann, id) == 2


async def test_scripts_count_nothing(seen: tuple[Studio, Person, str, Hours]) -> None:
    studio, ann, id, hours = seen
    teller = Player(studio, id, "tells only")
    for start in range(0, 100, 10):
        hours.pass_(10)
        await teller.tell(start, start + 10)
    loader = Player(studio, id, "loads only")
    await loader.load(*range(25))
    hours.pass_(100)
    both = Player(studio, id, "loads all and tells all at once")
    await both.load(*range(25))
    for start in range(0, 100, 10):
        await both.tell(start, start + 10)
        await both.tell(0, 7)
    sparing = Player(studio, id, "loads a byte of each")
    await sparing.load(*range(25), Range="bytes=0-0")
    hours.pass_(20)
    await sparing.tell(0, 20)
    asking = Player(studio, id, "knows the tag of each")
    await asking.load(*range(25), **{"If-None-Match": "*"})
    hours.pass_(20)
    await asking.tell(0, 20)
    elsewhere = Player(studio, id, "says it played what it did not load")
    await elsewhere.load(0)
    hours.pass_(60)
    await elsewhere.tell(40, 90)
    assert await views_of(studio, ann, id) == 0
    await Player(studio, id).tell(-1, 5, status=422)


async def test_an_address_makes_so_many_views_and_no_more(seen: tuple[Studio, Person, str, Hours]) -> None:
    studio, ann, id, hours = seen
    players = [Player(studio, id, f"agent {number}") for number in range(6)]
    for player in players:
        await player.load(0, 1, 2)
        await player.tell(0, 1)
    hours.pass_(10)
    for player in players:
        await player.load(0, 1, 2)
        await player.tell(1, 11)
    assert await views_of(studio, ann, id) <= 3


async def test_retention_is_its_owners(seen: tuple[Studio, Person, str, Hours]) -> None:
    studio, ann, id, _ = seen
    bob = await studio.person("bob")
    await bob.call("GET", f"/api/v1/videos/{id}/retention", expect=403)
    empty = await ann.call("GET", f"/api/v1/videos/{id}/retention")
    assert empty == {"watched_seconds": 0, "bucket_seconds": 10, "viewers": [0] * 10}


def test_what_counts_of_a_stretch() -> None:
    watch = Watch(begun=0.0, used=0.0, segments={0, 1, 3})
    assert watch.played(0, 8, 8.0, STARTS) == 8
    assert watch.played(8, 16, 16.0, STARTS) == 4  # segment 2 was not delivered
    assert watch.buckets == 0b11
    assert watch.played(0, 4, 16.0, STARTS) == 4  # watched again is watched
    late = Watch(begun=0.0, used=0.0, segments=set(range(25)))
    assert late.played(0, 100, 10.0, STARTS) == 22  # twice as fast, and what was played before we heard
    assert late.played(22, 100, 10.0, STARTS) == 0
    assert late.played(99, 2000, 1000.0, STARTS) == 1
    assert late.played(5000, 6000, 1000.0, STARTS) == 0
    assert (bucket_width(100), bucket_width(7200)) == (10, 72)
