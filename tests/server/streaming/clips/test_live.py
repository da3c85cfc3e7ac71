"""Clips of what is on air and of its recording: an encoder pushes by RTMP to a real server."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from tests.server.streaming.clips.conftest import BEEPS, COUNTER, RATE, counted, shown
from tests.server.streaming.conftest import ServerProcess, User
from tests.support import eventually

PUSH = [
    "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", COUNTER, "-f", "lavfi", "-i", BEEPS,
    "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-sc_threshold", "0", "-c:a", "aac", "-f", "flv",
]  # fmt: skip


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "VOD_PRESET": "ultrafast", "RECONNECT_WINDOW": "60", "JOB_HEARTBEAT": "2"}


async def _push(streamer: User, url: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(*PUSH, url, stderr=asyncio.subprocess.PIPE)
    streamer.pushes.append(process)
    return process


async def _until(user: User, id: str, state: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        seen: dict[str, Any] = await user.call("GET", f"/api/v1/videos/{id}")
        assert seen["state"] != "failed", (seen["error"], user.server.log)
        return seen if seen["state"] == state else None

    found: dict[str, Any] = await eventually(there, within=60, every=0.1, what=f"the clip is {state}")
    return found


async def test_clips_of_what_is_on_air_and_of_its_recording(
    server: ServerProcess, streamer: User, http: aiohttp.ClientSession
) -> None:
    started = await streamer.start("The match")
    id: str = started["id"]
    path = f"/api/v1/live/{id}/clips"
    await streamer.call("POST", path, {"last": 5.0}, expect=409)
    push = await _push(streamer, started["ingest"]["rtmp"])

    async def long_enough() -> dict[str, Any] | None:
        async with http.get(server.url + path + "/range") as answer:
            seen: dict[str, Any] = await answer.json()
        return seen if answer.status == 200 and seen["to"] - seen["from"] > 5 else None

    seen = await eventually(long_enough, within=60, every=0.2, what="there is something to clip")
    assert (seen["live"], seen["allowed"]) == (True, False)
    begun = datetime.fromisoformat((await streamer.show(id))["started_at"])
    assert abs((datetime.fromisoformat(seen["origin"]) - begun).total_seconds()) < 5
    # to a moment that is not recorded yet
    start, end = seen["from"] + 1.0, seen["to"] + 2.0
    made = await streamer.call("POST", path, {"from": start, "to": end, "title": "That goal"}, expect=202)
    for body in ({"from": 0, "to": 1000}, {"from": end + 100, "to": end + 101}, {"last": 0}):
        assert (await streamer.call("POST", path, body, expect=422))["code"] == "bad_stretch"
    await streamer.call("POST", path, {"last": 2, "from": 1, "to": 2}, expect=422)
    clip = await _until(streamer, made["id"], "ready")
    assert clip["clip_of"]["kind"] == "broadcast"
    assert clip["thumbnails"]
    found = await shown(clip["playback"]["hls"])
    numbers = found["numbers"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) == pytest.approx((end - start) * RATE, abs=1)
    assert clip["duration"] == pytest.approx(len(numbers) / RATE, abs=0.01)
    times = [at - found["times"][0] for at in found["times"]]
    assert times == pytest.approx([n / RATE for n in range(len(numbers))], abs=0.002)
    sounds = [(n - numbers[0]) / RATE for n in numbers if n % RATE == 0]
    beeps = [at - found["times"][0] for at in found["beeps"]]
    assert [at for at in beeps if at > 0.1] == pytest.approx([at for at in sounds if at > 0.1], abs=0.04)
    assert await counted(clip["playback"]["dash"]) == len(numbers)
    (told,) = [one["detail"] for one in clip["events"] if one["kind"] == "cut"]
    anew = int(told.rpartition(": ")[2].split(", ")[1].split()[0])
    assert anew <= 2 * 2 * RATE, "the two edges at most"

    # killed in the middle of it, and begun again
    await streamer.call("POST", path, {"last": 3.0, "title": "Once more"}, expect=202)
    made = await streamer.call("POST", path, {"last": 3.0, "title": "Once more"}, expect=202)
    await server.restart(signal.SIGKILL)
    await push.wait()
    again = await _until(streamer, made["id"], "ready")
    found = await shown(again["playback"]["hls"])
    assert found["numbers"] == list(range(found["numbers"][0], found["numbers"][0] + len(found["numbers"])))
    assert len(found["numbers"]) == pytest.approx(3 * RATE, abs=2)

    # of the recording, by somebody else; the broadcast goes, the clip stays
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": id})
    whole = await streamer.call("GET", path + "/range")
    assert not whole["live"]
    made = await streamer.call("POST", path, {"from": 0.2, "to": 1.0}, expect=202)
    await _until(streamer, made["id"], "ready")
    assert len((await streamer.call("GET", path))["items"]) == 4
    await streamer.call("DELETE", f"/api/v1/live/{id}", expect=204)
    found = await shown((await _until(streamer, made["id"], "ready"))["playback"]["hls"])
    assert found["numbers"] == list(range(found["numbers"][0], found["numbers"][0] + 20))
