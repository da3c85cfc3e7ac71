"""From a file in the store to playlists, by real jobs and the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.server.streaming.videos.conftest import Studio


async def test_a_file_becomes_playable_and_then_ready(studio: Studio, clip: Callable[[float], Path]) -> None:
    ada = await studio.person("ada")
    id = await studio.bring(ada, clip(4))
    seen = await studio.until(ada, id, "ready")
    assert seen["progress"] == 1
    assert [one["name"] for one in seen["renditions"]] == ["240p", "360p"]
    assert seen["duration"] == 4
    assert seen["facts"]["width"] == 640
    names = await studio.names(id)
    assert {"source", "index.m3u8", "index.mpd", "a.m3u8", "v-240p.m3u8", "v-240p-0.m4s"} <= names
    playlist = (await studio.objects.get(f"videos/{id}/index.m3u8") or b"").decode()
    assert playlist.count("#EXT-X-STREAM-INF") == 2
