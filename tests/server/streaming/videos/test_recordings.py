"""What was broadcast becomes a video: encoders push by RTMP to a real server, and real programs read what it is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.server.streaming.conftest import ENCODE, ServerProcess, User
from tests.support import eventually

LARGE = [*ENCODE[:-4], "-vf", "scale=640:360", *ENCODE[-4:]]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "VOD_PRESET": "ultrafast", "RECONNECT_WINDOW": "30"}


async def _broadcast(streamer: User, *pushes: tuple[float, list[str]], **more: Any) -> str:
    """Pushed one after the other, each by a new connection; not ended yet."""
    started = await streamer.start("The evening", **more)
    id: str = started["id"]
    for seconds, encode in pushes:
        push = await streamer.push(started["ingest"]["rtmp"], seconds=seconds, encode=encode)
        await push.communicate()
        await streamer.until(id, lambda seen: seen["state"] == "interrupted")
    return id


async def _ready(streamer: User, id: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        seen: dict[str, Any] = await streamer.call("GET", f"/api/v1/videos/{id}")
        assert seen["state"] != "failed", seen
        return seen if seen["state"] == "ready" else None

    found: dict[str, Any] = await eventually(there, within=120, every=0.2, what="the video is ready")
    return found


async def _probe(url: str) -> dict[str, Any]:
    program = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-of", "json", "-count_packets", "-show_streams", "-show_format", url,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await program.communicate()
    assert program.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, url
        return await answer.text()


async def test_a_recording_of_two_sessions_becomes_a_video(
    server: ServerProcess, streamer: User, http: aiohttp.ClientSession
) -> None:
    """640x360, then 320x180 by a second connection: one video, whose recorded segments are the broadcast's own."""
    id = await _broadcast(streamer, (4, LARGE), (3, ENCODE), visibility="unlisted")
    shown = await streamer.call("POST", "/api/v1/live/end", {"stream_id": id})
    video = (await streamer.show(id))["video"]
    assert video is not None, "its row is there as soon as the broadcast has ended"
    again = await streamer.call("POST", f"/api/v1/live/{id}/video", expect=202)
    assert again["id"] == video, "there is one video of a broadcast"

    seen = await _ready(streamer, video)
    assert (seen["title"], seen["visibility"], seen["broadcast_id"], seen["views"]) == (
        "The evening", "unlisted", id, 0,
    )  # fmt: skip
    assert seen["duration"] == pytest.approx(shown["recording"]["duration"], abs=0.1)
    assert [one["name"] for one in seen["renditions"]] == ["240p", "360p"]
    assert [one["height"] for one in seen["renditions"]] == [240, 360]
    assert seen["thumbnails"]
    assert seen["storyboard"]

    base = seen["playback"]["hls"].removesuffix("index.m3u8")
    top, low = await _text(http, f"{base}v-360p.m3u8"), await _text(http, f"{base}v-240p.m3u8")
    assert top.count("#EXT-X-DISCONTINUITY") == low.count("#EXT-X-DISCONTINUITY") == 1
    assert top.count("#EXT-X-MAP") == 2
    assert (await _text(http, seen["playback"]["dash"])).count("<Period") == 2
    live = shown["recording"]["hls"].removesuffix("recording.m3u8")
    async with http.get(f"{base}v-360p-0.m4s") as copied, http.get(f"{live}v-0.m4s") as recorded:
        assert await copied.read() == await recorded.read(), "not encoded again"

    whole = await _probe(f"{base}v-240p.m3u8")
    assert float(whole["format"]["duration"]) == pytest.approx(seen["duration"], abs=0.2)
    assert int(whole["streams"][0]["nb_read_packets"]) == pytest.approx(7 * 30, abs=8)
    both = await _probe(seen["playback"]["hls"])
    assert {stream["codec_name"] for stream in both["streams"]} == {"h264", "aac"}
    dash = await _probe(seen["playback"]["dash"])
    assert {stream["codec_name"] for stream in dash["streams"]} == {"h264", "aac"}

    # either lives without the other
    await streamer.call("DELETE", f"/api/v1/live/{id}", expect=204)
    left = await streamer.call("GET", f"/api/v1/videos/{video}")
    assert left["broadcast_id"] is None
    async with http.get(f"{base}v-360p-1.m4s") as answer:
        assert answer.status == 200
    gone = await streamer.call("DELETE", f"/api/v1/videos/{video}")
    assert gone["freed_bytes"] > 0

    def files() -> bool:
        return not list((server.folder / "objects" / "videos").glob(f"{video}/*"))

    async def no_files() -> bool:
        return await asyncio.to_thread(files)

    await eventually(no_files, what="its files are gone")
