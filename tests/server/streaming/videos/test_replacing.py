"""A new file in the place of a video's, by real uploads and the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from server.streaming.videos.jobs import OUTDATED_JOB
from tests.server.identity.privacy.place import Person
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually


async def _replace(ada: Person, id: str, file: Path | bytes, *, expect: int = 202) -> Any:
    body = file if isinstance(file, bytes) else await asyncio.to_thread(file.read_bytes)
    form = aiohttp.FormData()
    form.add_field("file", body, filename="new.mp4", content_type="video/mp4")
    client = ada.place.client
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with client.put(f"/api/v1/videos/{id}/file", data=form, headers=headers) as answer:
        text = await answer.text()
        assert answer.status == expect, text
        return await answer.json(content_type=None)


async def test_a_file_takes_the_place_of_another(studio: Studio, clip: Callable[[float], Path]) -> None:
    """What was made around the video stays; who watches the old file is not torn off; a bad file changes nothing."""
    ada, ben = await studio.person("ada"), await studio.person("ben")
    id = await studio.bring(ada, clip(2), title="The film")
    await ada.call("PUT", f"/api/v1/videos/{id}/captions/en", {"text": "00:00:00.100 --> 00:00:01.000\nHello.\n"})
    before = await studio.until(ada, id, "ready")
    await ben.call("POST", f"/api/v1/videos/{id}/like", {})
    old = before["playback"]["hls"].partition("/videos/")[2]
    playlist = (await ben.call("GET", f"/videos/{old}")).decode()
    assert "v-240p.m3u8" in playlist

    # what is no video is refused as it comes, and what cannot be decoded when it is looked at
    await _replace(ada, id, b"nothing of the kind" * 500, expect=415)
    broken = await _replace(ada, id, (await asyncio.to_thread(clip(2).read_bytes))[:6000])
    await studio.until(ada, broken["id"], "failed")
    seen = await ada.call("GET", f"/api/v1/videos/{id}")
    assert (seen["state"], seen["error"]) == ("ready", None)
    assert seen["replacement"]["id"] == broken["id"]
    assert seen["replacement"]["error"]["message"]
    assert seen["playback"] == before["playback"]

    # others see nothing of it
    assert (await ben.call("GET", f"/api/v1/videos/{id}"))["replacement"] is None
    await ben.call("GET", f"/api/v1/videos/{broken['id']}", expect=404)
    assert [one["id"] for one in (await ada.call("GET", "/api/v1/videos/mine"))["items"]] == [id]
    await _replace(ben, id, clip(4), expect=403)

    # the next one takes the place of the one that failed, and then that of the video's
    draft = await _replace(ada, id, clip(4))
    assert draft["id"] not in (id, broken["id"])
    await ada.call("GET", f"/api/v1/videos/{broken['id']}", expect=404)
    await _replace(ada, id, clip(4), expect=409)
    await ada.call("PUT", f"/api/v1/videos/{draft['id']}", {"publish_at": None}, expect=409)

    async def replaced() -> bool:
        shown: dict[str, Any] = await ada.call("GET", f"/api/v1/videos/{id}")
        assert shown["state"] == "ready"
        return shown["replacement"] is None and any(event["kind"] == "replaced" for event in shown["events"])

    await eventually(replaced, within=60, what="the new file is the video's")
    after = await ada.call("GET", f"/api/v1/videos/{id}")
    assert (after["duration"], after["likes"], after["title"]) == (4, 1, "The film")
    assert [one["language"] for one in after["captions"]] == ["en"]
    await ada.call("GET", f"/api/v1/videos/{draft['id']}", expect=404)

    async def played() -> str | None:
        listed: str = (await ben.call("GET", f"/videos/{old}")).decode()
        return listed if "v-240p.m3u8" not in listed and "text-en.m3u8" in listed else None

    listed = await eventually(played, within=20, what="the playlist is that of the new file")
    folder = old.rpartition("/")[0]
    mark = f"r{draft['id'].replace('-', '')[-6:]}"
    assert f"v-240p{mark}.m3u8" in listed
    assert "#EXTINF" in (await ben.call("GET", f"/videos/{folder}/v-240p{mark}.m3u8")).decode()
    assert await ben.call("GET", f"/videos/{folder}/v-240p{mark}-0.m4s")
    # those who watch the old one go on, also in another size
    assert await ben.call("GET", f"/videos/{folder}/v-360p.m3u8")
    assert await ben.call("GET", f"/videos/{folder}/v-360p-0.m4s")

    await studio.place.due(OUTDATED_JOB)

    async def gone() -> bool:
        names = await studio.names(id)
        return not any(name.startswith(("v-240p-", "v-240p.", "a-init", "a-0")) for name in names)

    await eventually(gone, what="the old segments are gone")
    assert f"v-240p{mark}-0.m4s" in await studio.names(id)
    assert await studio.names(draft["id"]) == set()


@pytest.mark.parametrize("settings", [{"vod_children": 0, "video_quota_count": "free=1"}])
async def test_what_a_file_on_its_way_counts(studio: Studio, clip: Callable[[float], Path]) -> None:
    """Not as another video, but with its bytes; and it goes with the video."""
    ada = await studio.person("ada")
    id = await studio.ready(ada)
    draft = await _replace(ada, id, clip(2))
    async with studio.wiring.database.acquire() as conn:
        left = await studio.wiring.vod.videos.quota(conn, UUID(ada.id), "free")
    assert left.videos == 0
    size = clip(2).stat().st_size
    held = await studio.place.sql("select sum(source_bytes) from videos where owner_id = $1", UUID(ada.id))
    assert held == 1000 + size
    assert draft["state"] in ("uploading", "processing")
    freed = await ada.call("DELETE", f"/api/v1/videos/{id}")
    assert freed["freed_bytes"] == 1500 + size
    assert await studio.place.sql("select count(*) from videos") == 0

    async def nothing() -> bool:
        return await studio.names(id) == set() and await studio.names(draft["id"]) == set()

    await eventually(nothing, what="nothing of either is left")
