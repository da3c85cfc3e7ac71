"""Following over HTTP: once and for all, counted, listed as far as it is shown, and gone with an account."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.settings import SettingError, Settings
from server.wiring.choices import follows_most
from tests.server.identity.privacy.place import Person, Place

FOLLOW, UNFOLLOW = "/api/v1/follows/follow", "/api/v1/follows/unfollow"


async def follow(who: Person, whom: Person, expect: int = 200) -> Any:
    return await who.call("POST", FOLLOW, {"user_id": whom.id}, expect=expect)


async def names(here: Place, what: str, whom: Person, token: str = "") -> list[str]:
    page = await here.call("GET", f"/api/v1/follows/{what}?user_id={whom.id}", token=token)
    return [one["username"] for one in page["items"]]


async def counts(here: Place, whom: Person) -> tuple[int, int]:
    shown = await here.call("GET", f"/api/v1/users/{whom.name}")
    state = await here.call("GET", f"/api/v1/follows/{whom.id}")
    assert (shown["followers"], shown["following"]) == (state["followers"], state["following"])
    return shown["followers"], shown["following"]


async def test_following_is_done_once_counted_listed_and_undone(here: Place) -> None:
    ada, bob, eve = [await here.register(name) for name in ("ada", "bob", "eve")]
    first = await follow(bob, ada)
    assert (await follow(bob, ada)) == first
    # twenty at once are one
    answers = await asyncio.gather(*(follow(eve, ada) for _ in range(20)))
    assert len({answer["since"] for answer in answers}) == 1
    assert await counts(here, ada) == (2, 0)
    assert await counts(here, bob) == (0, 1)
    state = await bob.call("GET", f"/api/v1/follows/{ada.id}")
    assert (state["since"], state["follows_you_since"]) == (first["since"], None)
    assert (await ada.call("GET", f"/api/v1/follows/{bob.id}"))["follows_you_since"] == first["since"]
    assert await names(here, "followers", ada) == ["eve", "bob"]
    assert await names(here, "following", bob) == ["ada"]
    own = await ada.call("GET", "/api/v1/follows/followers?limit=1")
    assert ([one["username"] for one in own["items"]], own["next_cursor"] is not None) == (["eve"], True)
    rest = await ada.call("GET", f"/api/v1/follows/followers?limit=1&cursor={own['next_cursor']}")
    assert ([one["username"] for one in rest["items"]], rest["next_cursor"]) == (["bob"], None)
    for _ in range(2):
        await bob.call("DELETE", f"{UNFOLLOW}?user_id={ada.id}", expect=204)
    assert await counts(here, ada) == (1, 0)
    await ada.call("DELETE", f"/api/v1/follows/followers/{eve.id}", expect=204)
    assert await counts(here, ada) == (0, 0)
    assert await counts(here, eve) == (0, 0)


async def test_what_is_refused(here: Place) -> None:
    ada, bob, *others = [await here.register(name) for name in ("ada", "bob", "cid", "dan", "eve")]
    assert (await follow(ada, ada, expect=409))["code"] == "not_yourself"
    nobody = {"user_id": "0192f0c1-7e2a-7c3b-9d4e-5f6a7b8c9d0e"}
    assert (await ada.call("POST", FOLLOW, nobody, expect=404))["code"] == "no_such_person"
    await here.call("GET", f"/api/v1/follows/{nobody['user_id']}", expect=404)
    await here.call("GET", f"/api/v1/follows/followers?user_id={nobody['user_id']}", expect=404)
    await here.call("GET", "/api/v1/follows/followers", expect=401)
    await ada.call("DELETE", f"{UNFOLLOW}?user_id={nobody['user_id']}", expect=204)
    await ada.call("POST", FOLLOW, {"user_id": "me"}, expect=422)
    await ada.call("GET", "/api/v1/follows/followers?cursor=made-up", expect=400)
    for other in others:
        await follow(ada, other)
    refused = await follow(ada, bob, expect=409)
    assert (refused["code"], refused["most"]) == ("follows_too_many", 3)
    assert await here.sql("select count(*) from follows") == 3
    await follow(ada, others[0])  # whom one follows already, one may


async def test_a_private_profile_takes_no_new_followers_and_shows_no_lists(here: Place) -> None:
    ada, bob, eve = [await here.register(name) for name in ("ada", "bob", "eve")]
    await follow(bob, ada)
    await ada.call("PUT", "/api/v1/users/me/privacy", {"profile": "private"})
    assert (await follow(eve, ada, expect=403))["code"] == "takes_no_followers"
    await follow(bob, ada)
    assert await names(here, "followers", ada, ada.token) == ["bob"]
    for token in ("", bob.token):
        refused = await here.call("GET", f"/api/v1/follows/followers?user_id={ada.id}", token=token, expect=403)
        assert refused["code"] == "list_not_shown"
    await ada.call("PUT", "/api/v1/users/me/privacy", {"profile": "followers"})
    assert await names(here, "followers", ada, bob.token) == ["bob"]
    await here.call("GET", f"/api/v1/follows/followers?user_id={ada.id}", token=eve.token, expect=403)


async def test_who_leaves_vanishes_comes_back_and_is_erased(here: Place) -> None:
    ada, bob, eve = [await here.register(name) for name in ("ada", "bob", "eve")]
    for who, whom in ((ada, bob), (bob, ada), (eve, ada)):
        await follow(who, whom)
    left = await bob.call("DELETE", "/api/v1/users/me", expect=202)
    assert left["due_at"]
    assert await counts(here, ada) == (1, 0)
    assert await names(here, "followers", ada) == ["eve"]
    assert await names(here, "following", ada) == []
    await here.call("GET", f"/api/v1/follows/{bob.id}", expect=404)
    assert (await follow(eve, bob, expect=404))["code"] == "no_such_person"
    leaving = await here.sign_in("bob", expect=403)
    await here.call("POST", "/api/v1/users/me/restore", {"token": leaving["restore"]}, expect=204)
    assert await counts(here, ada) == (2, 1)
    assert await names(here, "followers", ada) == ["eve", "bob"]
    bob.token = (await here.sign_in("bob"))["access_token"]
    await bob.call("DELETE", "/api/v1/users/me", expect=202)
    await here.sql("update departures set due_at = now() - interval '1 second'")
    await here.due("identity.erase")
    assert await counts(here, ada) == (1, 0)
    assert await here.sql("select count(*) from follows") == 1
    assert await here.sql("select count(*) from follow_people") == 2


def test_numbers_by_tier() -> None:
    assert follows_most(Settings(follows_most="pro=7")) == {
        "free": 2000, "basic": 5000, "pro": 7, "enterprise": 10_000,
    }  # fmt: skip
    for wrong in ("gold=1", "free=many", "free=-1"):
        with pytest.raises(SettingError, match="FOLLOWS_MOST"):
            follows_most(Settings(follows_most=wrong))
