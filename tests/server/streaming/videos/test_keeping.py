"""Which recordings become videos, and what the job does when things are not as they should be: by hand, with recordings
that are planted in the store."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from media.package.journal import Closed, Head, Init, PieceLine, SegmentLine, encode
from server.kit.ids import uuid7
from server.streaming.videos.jobs import DELETED_JOB, RECORDING_JOB
from server.streaming.videos.personal import VideosData
from server.streaming.videos.work_store import Task
from tests.server.identity.privacy.place import Person
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually

SECONDS = 2


async def _plant(studio: Studio, owner: Person, *, segments: int = 3, lacking: str = "") -> str:
    """A broadcast that has ended, with a recording whose segments are no media. lacking: a file that is not there."""
    id = uuid7()
    facts = {"duration": segments * SECONDS, "bytes": 100 * segments, "segments": segments}
    await owner.call("GET", "/api/v1/live/mine")
    async with studio.wiring.database.transaction() as conn:
        channel, _ = await studio.wiring.channels.prepare(conn, UUID(owner.id))
        await conn.execute(
            """insert into broadcasts (id, channel_id, title, visibility, state, started_at, ended_at, recording)
               values ($1, $2, 'The evening', 'unlisted', 'ended', now() - interval '1 minute', now(), $3)""",
            id,
            channel.id,
            msgspec.json.encode(facts).decode(),
        )
    lines: list[Any] = [Head(0.0, 4), Init("v-init-0.mp4", 0, "v", "avc1.64001f", 90_000, "x", 426, 240, 25.0)]
    for n in range(segments):
        piece = PieceLine(n * SECONDS * 90_000, SECONDS * 90_000, 90_000, 100, False, "v-init-0.mp4")
        lines.append(SegmentLine(n, 0, 0.0, float(n * SECONDS), False, 0.3, {"v": piece}))
    lines.append(Closed(segments))
    files = {f"v-{n}.m4s": bytes([n]) * 100 for n in range(segments)} | {"v-init-0.mp4": b"init"}
    files |= {"journal.jsonl": b"".join(encode(line) + b"\n" for line in lines)}
    for name, body in files.items():
        if name != lacking:
            await studio.objects.put(f"live/{id}/{name}", body, "video/mp4")
    return str(id)


async def _work(studio: Studio, video: str, *, run: int = 1) -> None:
    await studio.wiring.vod.processing.recording_job(msgspec.json.encode(Task(UUID(video), run)))


async def _waiting(studio: Studio) -> int:
    count = await studio.place.sql(
        "select count(*) from pgqueuer where entrypoint = $1 and execute_after > now()", RECORDING_JOB
    )
    return int(count)


async def _ended(studio: Studio, id: str) -> None:
    async with studio.wiring.database.transaction() as conn:
        await studio.wiring.keeping.ended(conn, UUID(id))


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_a_recording_on_its_way_is_waited_for(studio: Studio) -> None:
    ada = await studio.person("ada")
    id = await _plant(studio, ada, lacking="v-1.m4s")
    video = (await ada.call("POST", f"/api/v1/live/{id}/video", expect=202))["id"]
    assert (await ada.call("POST", f"/api/v1/live/{id}/video", expect=202))["id"] == video

    await _work(studio, video)
    assert await _waiting(studio) == 1, "it is looked for again"
    assert (await ada.call("GET", f"/api/v1/videos/{video}"))["state"] == "processing"

    await studio.objects.put(f"live/{id}/v-1.m4s", b"\1" * 100, "video/mp4")
    for _ in range(2):  # as after a crash: once more changes nothing
        await _work(studio, video)
        await studio.wiring.vod.processing.assemble_job(msgspec.json.encode(Task(UUID(video), 1)))
    seen = await ada.call("GET", f"/api/v1/videos/{video}")
    assert (seen["state"], seen["duration"], seen["visibility"]) == ("ready", 6, "unlisted")
    assert seen["source_bytes"] == 300, "what was sent is what counts"
    assert await studio.objects.get(f"videos/{video}/v-240p-1.m4s") == b"\1" * 100
    playlist = await ada.call("GET", "/videos/" + seen["playback"]["hls"].partition("/videos/")[2])
    assert b"v-240p.m3u8" in playlist
    data = VideosData(studio.wiring.database, studio.objects, studio.wiring.jobs, "http://here")
    taken = {item.name async for item in data.export(UUID(ada.id), media=True)}
    assert {f"media/{video}/{name}" for name in ("v-240p.m3u8", "v-240p-init-1.mp4", "v-240p-2.m4s")} <= taken
    freed = await ada.call("DELETE", f"/api/v1/videos/{video}")
    assert freed["freed_bytes"] == 300
    assert await studio.objects.get(f"live/{id}/v-1.m4s") == b"\1" * 100, "the recording is there still"
    assert (await ada.call("POST", f"/api/v1/live/{id}/video", expect=202))["id"] != video


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_a_recording_that_goes_meanwhile(studio: Studio) -> None:
    ada = await studio.person("ada")
    id = await _plant(studio, ada)
    video = (await ada.call("POST", f"/api/v1/live/{id}/video", expect=202))["id"]
    await studio.place.sql("update broadcasts set recording = null")
    await _work(studio, video)
    seen = await ada.call("GET", f"/api/v1/videos/{video}")
    assert (seen["state"], seen["error"]["code"]) == ("failed", "recording_gone")
    # and what was lost on the way for good is told after a day
    again = await _plant(studio, ada, lacking="v-2.m4s")
    lost = (await ada.call("POST", f"/api/v1/live/{again}/video", expect=202))["id"]
    await studio.place.sql("update broadcasts set ended_at = now() - interval '2 days'")
    await _work(studio, lost)
    assert (await ada.call("GET", f"/api/v1/videos/{lost}"))["error"]["code"] == "recording_lost"
    # once it is there it can be tried again
    await studio.objects.put(f"live/{again}/v-2.m4s", b"\2" * 100, "video/mp4")
    await ada.call("POST", f"/api/v1/videos/{lost}/retry", {}, expect=202)
    await _work(studio, lost, run=2)
    await studio.wiring.vod.processing.assemble_job(msgspec.json.encode(Task(UUID(lost), 2)))
    assert (await ada.call("GET", f"/api/v1/videos/{lost}"))["state"] == "ready"


@pytest.mark.parametrize("settings", [{"vod_children": 0, "video_quota_bytes": "free=700"}])
async def test_which_become_videos(studio: Studio) -> None:
    ada, ben = await studio.person("ada"), await studio.person("ben")
    first = await _plant(studio, ada)
    assert (await ada.call("GET", "/api/v1/live/channel")) == {"keep_as_videos": True}
    await ada.call("PUT", "/api/v1/live/channel", {"keep_as_videos": False})
    await _ended(studio, first)
    assert (await ada.call("GET", f"/api/v1/live/{first}"))["video"] is None
    await ada.call("PUT", "/api/v1/live/channel", {"keep_as_videos": True})
    await _ended(studio, first)
    await _ended(studio, first)
    video = (await ada.call("GET", f"/api/v1/live/{first}"))["video"]
    assert video is not None
    assert (await ben.call("GET", f"/api/v1/live/{first}"))["video"] is None, "it cannot be watched yet"

    await ben.call("POST", f"/api/v1/live/{first}/video", expect=403)
    await ben.call("POST", f"/api/v1/live/{uuid7()}/video", expect=404)
    await studio.place.sql("update broadcasts set state = 'live'")
    await ada.call("POST", f"/api/v1/live/{first}/video", expect=409)
    await studio.place.sql("update broadcasts set state = 'ended', recording = null")
    await ada.call("POST", f"/api/v1/live/{first}/video", expect=409)

    # there is room for two, and no video is no reason not to end
    for _ in range(2):
        last = await _plant(studio, ada)
        await _ended(studio, last)
    refused = await ada.call("POST", f"/api/v1/live/{last}/video", expect=409)
    assert refused["code"] == "quota_reached"
    shown = await ada.call("GET", f"/api/v1/live/{last}")
    assert shown["video"] is None
    assert shown["events"][0]["kind"] == "no_video"


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_a_video_that_is_deleted_while_it_is_copied_leaves_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await studio.person("ada")
    id = await _plant(studio, ada)
    video = (await ada.call("POST", f"/api/v1/live/{id}/video", expect=202))["id"]
    copy = studio.objects.copy

    async def deleted() -> bool:
        return not await studio.place.sql("select count(*) from pgqueuer where entrypoint = $1", DELETED_JOB)

    async def late(source: str, destination: str) -> bool:
        monkeypatch.setattr(studio.objects, "copy", copy)
        await ada.call("DELETE", f"/api/v1/videos/{video}")
        await eventually(deleted, what="the job of the deletion is done")
        return await copy(source, destination)

    monkeypatch.setattr(studio.objects, "copy", late)
    await _work(studio, video)
    assert await studio.names(video) == set()
    assert await studio.objects.get(f"live/{id}/v-1.m4s") == b"\1" * 100
