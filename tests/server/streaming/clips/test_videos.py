"""Clips and trims of videos, by real jobs and the real engine, and who may make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.identity.privacy.place import Person
from tests.server.streaming.clips.conftest import RATE, counted, shown
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually

SAID = "00:00:00.500 --> 00:00:01.500\nFirst.\n\n00:00:05.000 --> 00:00:06.000\nLater.\n"


async def _clip(person: Person, path: str, body: dict[str, Any], *, expect: int = 202) -> Any:
    return await person.call("POST", f"/api/v1/{path}/clips", body, expect=expect)


async def test_a_clip_of_a_video_is_exact_and_a_video_of_its_own(
    studio: Studio, numbers: Callable[[float], Path]
) -> None:
    ada, ben = await studio.person("ada"), await studio.person("ben")
    source = await studio.bring(ada, numbers(8))
    await studio.until(ada, source, "ready")
    made = await _clip(ben, f"videos/{source}", {"from": 1.48, "to": 6.2, "title": "The best"})
    seen = await studio.until(ben, made["id"], "ready")
    assert (seen["title"], seen["owner"]["username"], seen["visibility"]) == ("The best", "ben", "public")
    assert seen["clip_of"] == {"kind": "video", "id": source, "start": 1.48, "end": pytest.approx(6.2, abs=0.01)}
    assert seen["duration"] == pytest.approx(118 / RATE, abs=0.001)
    assert [one["name"] for one in seen["renditions"]] == ["240p"]
    assert seen["thumbnails"]
    assert seen["storyboard"]
    found = await shown(seen["playback"]["hls"])
    assert found["numbers"] == list(range(37, 155))
    assert [at - found["times"][0] for at in found["beeps"]] == pytest.approx([0.52, 1.52, 2.52, 3.52, 4.52], abs=0.03)
    assert await counted(seen["playback"]["dash"]) == 118

    listed = await ben.call("GET", f"/api/v1/videos/{source}/clips")
    assert [(one["video"]["id"], one["start"]) for one in listed["items"]] == [(made["id"], 1.48)]
    assert [one["source_id"] for one in (await ben.call("GET", "/api/v1/clips/mine"))["items"]] == [source]

    # the source goes, the clip stays; and a clip can be cut again
    again = await _clip(ben, f"videos/{made['id']}", {"from": 1.0, "to": 2.0})
    await studio.until(ben, again["id"], "ready")
    await ada.call("DELETE", f"/api/v1/videos/{source}")
    seen = await studio.until(ben, again["id"], "ready")
    assert (await shown(seen["playback"]["hls"]))["numbers"] == list(range(62, 87))
    # who had the source may have its clips deleted
    await ada.call("DELETE", f"/api/v1/clips/{again['id']}", expect=403)
    await ada.call("DELETE", f"/api/v1/clips/{made['id']}")
    await ben.call("GET", f"/api/v1/videos/{made['id']}", expect=404)


async def test_a_trim_keeps_what_the_video_is_to_people(studio: Studio, numbers: Callable[[float], Path]) -> None:
    ada, ben = await studio.person("ada"), await studio.person("ben")
    id = await studio.bring(ada, numbers(8))
    await studio.until(ada, id, "ready")
    await ben.call("POST", f"/api/v1/videos/{id}/like")
    await ada.call("PUT", f"/api/v1/videos/{id}/captions/en", {"text": SAID, "label": "English"})
    chapters = [{"start": 0, "title": "One"}, {"start": 2, "title": "Two"}, {"start": 5, "title": "Three"}]
    before = await ada.call("PUT", f"/api/v1/videos/{id}", {"chapters": chapters})
    old = await shown(before["playback"]["hls"])
    assert len(old["numbers"]) == 8 * RATE
    path = f"/api/v1/videos/{id}/trim"
    for keep in ([{"from": 3, "to": 2}], [{"from": 2, "to": 4}, {"from": 3, "to": 5}], [{"from": 0, "to": 9}]):
        assert (await ada.call("POST", path, {"keep": keep}, expect=422))["code"] == "bad_stretch"
    await ben.call("POST", path, {"keep": [{"from": 1, "to": 2}]}, expect=403)
    keep = [{"from": 0.48, "to": 2.2}, {"from": 4.6, "to": 7.0}]
    draft = await ada.call("POST", path, {"keep": keep}, expect=202)
    await ada.call("POST", path, {"keep": keep}, expect=409)

    async def trimmed() -> Any:
        seen = await ada.call("GET", f"/api/v1/videos/{id}")
        assert seen["replacement"] is None or seen["replacement"]["state"] != "failed", seen["replacement"]
        assert seen["duration"] == pytest.approx((43 + 60) / RATE, abs=0.01)
        return seen

    seen = await eventually(trimmed, within=60, every=0.1, what="the video is trimmed")
    assert (seen["likes"], seen["state"], seen["clip_of"]) == (1, "ready", None)
    assert [one["name"] for one in seen["renditions"]] == ["240p"]
    assert [(one["title"], one["start"]) for one in seen["chapters"]] == [
        ("One", 0),
        ("Two", pytest.approx(1.52, abs=0.01)),
        ("Three", pytest.approx(2.12, abs=0.01)),
    ]
    text = (await ada.call("GET", f"/api/v1/videos/{id}/captions/en"))["text"]
    assert "00:00:00.020 --> 00:00:01.020\nFirst." in text
    assert "00:00:02.120 --> 00:00:03.120\nLater." in text
    assert seen["thumbnails"]
    wanted = [*range(12, 55), *range(115, 175)]

    async def played() -> bool:
        return bool((await shown(seen["playback"]["hls"]))["numbers"] == wanted)

    await eventually(played, within=20, every=0.5, what="the new playlists")
    # whoever watches the old file goes on with it; the uploaded file is gone
    names = await studio.names(id)
    assert "v-240p-1.m4s" in names
    assert "source" not in names
    await ada.call("GET", f"/api/v1/videos/{draft['id']}", expect=404)


async def test_who_may_make_clips_of_what(studio: Studio) -> None:
    ada, ben, eve = [await studio.person(name) for name in ("ada", "ben", "eve")]
    id = await studio.ready(ada)
    body = {"from": 1.0, "to": 5.0}

    async def allowed(person: Person) -> bool:
        seen: dict[str, Any] = await person.call("GET", f"/api/v1/videos/{id}/clips/range")
        return bool(seen["allowed"])

    assert [await allowed(one) for one in (ada, ben)] == [True, True]
    await ada.call("PUT", "/api/v1/clips/rule", {"who": "followers"})
    await ben.call("POST", "/api/v1/follows/follow", {"user_id": ada.id})
    assert [await allowed(one) for one in (ada, ben, eve)] == [True, True, False]
    assert (await _clip(eve, f"videos/{id}", body, expect=403))["code"] == "clips_not_allowed"
    rule = await ada.call("PUT", f"/api/v1/videos/{id}/clips/rule", {"who": "owner"})
    assert rule == {"who": "owner", "holds": "owner"}
    assert [await allowed(one) for one in (ada, ben)] == [True, False]
    rule = await ada.call("PUT", f"/api/v1/videos/{id}/clips/rule", {"who": None})
    assert rule == {"who": None, "holds": "followers"}
    await ben.call("PUT", f"/api/v1/videos/{id}/clips/rule", {"who": "everybody"}, expect=403)
    # a clip of what is encrypted would be a plain copy
    await ada.call("PUT", f"/api/v1/videos/{id}", {"protection": "aes-128"})
    assert [await allowed(one) for one in (ada, ben)] == [True, False]
    await ada.call("PUT", f"/api/v1/videos/{id}", {"protection": "none"})
    assert await allowed(ben)
    # never wider than its source
    await ada.call("PUT", f"/api/v1/videos/{id}", {"visibility": "unlisted"})
    wide = {**body, "visibility": "public"}
    assert (await _clip(ben, f"videos/{id}", wide, expect=409))["code"] == "wider_than_source"
    made = await _clip(ben, f"videos/{id}", body)
    shown = await ben.call("GET", f"/api/v1/videos/{made['id']}")
    assert shown["visibility"] == "unlisted"
    await ben.call("PUT", f"/api/v1/videos/{made['id']}", {"visibility": "public"}, expect=409)
    await ada.call("PUT", f"/api/v1/videos/{id}", {"visibility": "followers"})
    assert (await ben.call("GET", f"/api/v1/videos/{made['id']}"))["visibility"] == "private"
    assert (await _clip(ben, f"videos/{id}", body, expect=403))["code"] == "clips_not_allowed"
    # what was never there fails with a sentence, and is not tried for ever
    seen = await studio.until(ben, made["id"], "failed")
    assert seen["error"]["code"] == "source_gone"
    await ben.call("POST", f"/api/v1/videos/{made['id']}/retry", expect=202)
    assert (await studio.until(ben, made["id"], "failed"))["error"]["code"] == "source_gone"


@pytest.mark.parametrize("settings", [{"clip_longest": 3.0, "clips_per_hour": 2}])
async def test_limits_and_stretches_that_cannot_be(studio: Studio) -> None:
    ada = await studio.person("ada")
    id = await studio.ready(ada)
    for body, status in (
        ({"from": 5.0, "to": 5.0}, 422),
        ({"from": 99.99, "to": 200.0}, 422),
        ({"from": 0.0, "to": 3.5}, 422),
        ({"from": 0.0}, 422),
        ({"from": 0.0, "to": 3.0}, 202),
        ({"from": 0.0, "to": 3.0}, 202),
        ({"from": 0.0, "to": 3.0}, 429),
    ):
        await _clip(ada, f"videos/{id}", body, expect=status)
