"""What a video's owner alone gets: how far it is, over the channel; his data; and its end with him."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import msgspec
import pytest

from realtime.rules import Action, Refused
from server.streaming.videos.personal import VideosData
from server.streaming.videos.progress import ProgressChannels
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually


class Who:
    def __init__(self, id: str) -> None:
        self.user_id = UUID(id)
        self.username = "somebody"


class Held:
    """The hub, as far as it is asked: which channels somebody holds, and what is told there."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.told: list[tuple[str, Any]] = []

    def holders(self, name: str) -> int:
        return int(name in self.names)

    def state(self, name: str, data: Any) -> None:
        self.told.append((name, data))


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_progress_is_told_to_its_owner_when_it_changes(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    id = await studio.begin(ada, "On its way")
    name = f"video:{id}"
    held = Held()
    channels = ProgressChannels(studio.wiring.database, held)
    for who, channel in (
        (None, name),
        (Who(bob.id), name),
        (Who(ada.id), f"video:{UUID(int=1)}"),
        (Who(ada.id), "video:x"),
    ):
        with pytest.raises(Refused):
            await channels.authorize(who, channel, Action.SUBSCRIBE)
    with pytest.raises(Refused):
        await channels.authorize(Who(ada.id), name, Action.PUBLISH)
    await channels.authorize(Who(ada.id), name, Action.SUBSCRIBE)
    held.names.add(name)
    await channels.look()
    first = {"state": "uploading", "progress": 0.0, "error": None, "renditions": []}
    assert held.told == [(name, first)]
    assert await channels.state(name) == first
    await channels.look()
    assert len(held.told) == 1  # nothing has changed
    async with studio.wiring.database.transaction() as conn:
        await studio.wiring.vod.videos.arriving(conn, UUID(id), 0.5)
        await studio.wiring.vod.videos.arriving(conn, UUID(id), 0.25)
    await channels.look()
    assert held.told[-1][1]["progress"] == 0.5  # it never goes back
    await studio.fail(id)
    await channels.look()
    assert held.told[-1][1]["error"] == {"code": "damaged", "message": "It is damaged."}
    held.names.clear()
    await channels.look()
    held.names.add(name)
    await channels.look()
    assert len(held.told) == 3  # who has left is not told


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_a_person_takes_his_videos_along_and_leaves_none(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    id, other = await studio.ready(ada), await studio.ready(bob)
    await studio.objects.put(f"videos/{id}/source", b"a film", "video/mp4")
    await ada.call("PUT", f"/api/v1/videos/{id}/captions/en", {"text": "00:00.000 --> 00:01.000\nHi\n"})
    await ada.call("POST", f"/api/v1/videos/{other}/like")
    data = VideosData(studio.wiring.database, studio.objects, studio.wiring.jobs, "https://videos.example.org")
    kept: dict[str, bytes] = {}
    async for item in data.export(UUID(ada.id), media=True):
        out = io.BytesIO()
        async for piece in item.content:
            out.write(piece)
        kept[item.name] = out.getvalue()
    assert kept[f"media/{id}/source"] == b"a film"
    (video,) = msgspec.json.decode(kept["videos/videos.json"])
    assert video["url"] == f"https://videos.example.org/api/v1/videos/{id}"
    assert [one["language"] for one in video["captions"]] == ["en"]
    assert [one["video_id"] for one in msgspec.json.decode(kept["videos/likes.json"])] == [other]

    async with studio.wiring.database.transaction() as conn:
        await data.suspend(conn, UUID(ada.id))
    await bob.call("GET", f"/api/v1/videos/{id}", expect=404)
    feed = await studio.place.call("GET", "/api/v1/videos/feed")
    assert [one["id"] for one in feed["items"]] == [other]
    async with studio.wiring.database.transaction() as conn:
        await data.resume(conn, UUID(ada.id))
    await bob.call("GET", f"/api/v1/videos/{id}")

    await data.erase(UUID(ada.id))
    await bob.call("GET", f"/api/v1/videos/{id}", expect=404)
    assert (await bob.call("GET", f"/api/v1/videos/{other}"))["likes"] == 0

    async def empty() -> bool:
        return not await studio.names(id)

    await eventually(empty, what="its objects are gone")
