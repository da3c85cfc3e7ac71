"""From a file in the store to playlists, by real jobs and the real engine."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from media.transcode.encoders import FAMILIES
from media.vod.errors import EngineFailed
from tests.conftest import S3
from tests.server.streaming.conftest import ServerProcess
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually

SAID = "00:00:01.000 --> 00:00:02.000\nHello.\n"


class WorkerProcess(ServerProcess):
    """`python -m server.worker`."""

    arguments = ("-m", "server.worker")


@pytest.mark.parametrize("settings", [{"video_encoder": "auto"}])
async def test_a_file_becomes_playable_and_then_ready(studio: Studio, clip: Callable[[float], Path]) -> None:
    ada = await studio.person("ada")
    id = await studio.bring(ada, clip(4))
    await ada.call("PUT", f"/api/v1/videos/{id}/captions/en", {"text": SAID, "label": "English"})
    seen = await studio.until(ada, id, "ready")
    assert seen["progress"] == 1
    assert studio.wiring.vod.describe()["encoder"] in ("software", *FAMILIES)  # tried, and one of them did it
    assert [one["name"] for one in seen["renditions"]] == ["240p", "360p"]
    assert seen["duration"] == 4
    assert (seen["facts"]["width"], seen["facts"]["video_codec"]) == (640, "h264")
    assert seen["published_at"] is not None
    assert seen["thumbnails"]
    assert seen["storyboard"].endswith("/story.vtt")
    names = await studio.names(id)
    made = {"index.m3u8", "index.mpd", "a.m3u8", "v-240p.m3u8", "v-240p-init.mp4", "v-240p-0.m4s", "text-en.vtt"}
    assert made | {"source"} <= names
    sizes = [size async for key, size in studio.objects.list(f"videos/{id}/") if key[-4:] in (".m4s", ".mp4", ".jpg")]
    assert 0 < seen["stored_bytes"] <= sum(sizes) * 2
    playlist = await _text(studio, id, "index.m3u8")
    assert playlist.count("#EXT-X-STREAM-INF") == playlist.count(',SUBTITLES="text"') + playlist.count(
        ':SUBTITLES="text"'
    )
    assert 'LANGUAGE="en"' in playlist
    assert "text-en.vtt" in await _text(studio, id, "text-en.m3u8")
    assert 'lang="en"' in await _text(studio, id, "index.mpd")

    # captions of a video that is ready: its playlists are written again, and its segments are not
    before = await studio.objects.get(f"videos/{id}/v-240p-0.m4s")
    await ada.call("DELETE", f"/api/v1/videos/{id}/captions/en", expect=204)

    async def without() -> bool:
        there = await studio.names(id)
        return "text-en.vtt" not in there and "SUBTITLES" not in await _text(studio, id, "index.m3u8")

    await eventually(without, what="the captions are gone")
    assert await studio.objects.get(f"videos/{id}/v-240p-0.m4s") == before
    assert (await ada.call("GET", f"/api/v1/videos/{id}"))["state"] == "ready"


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_what_a_job_that_comes_again_does(studio: Studio, clip: Callable[[float], Path]) -> None:
    """Each job by hand, and twice: out of order, after a failure, after a deletion."""
    ada = await studio.person("ada")
    id = await studio.bring(ada, clip(2))
    work = studio.wiring.vod.processing

    def task(name: str = "", run: int = 1) -> bytes:
        return b'{"id":"%s","run":%d,"name":"%s"}' % (id.encode(), run, name.encode())

    await work.probe_job(task(run=7))  # of a run that is not
    assert (await ada.call("GET", f"/api/v1/videos/{id}"))["facts"] is None
    await work.probe_job(task())
    await work.assemble_job(task())  # nothing is there to be listed
    assert (await ada.call("GET", f"/api/v1/videos/{id}"))["state"] == "processing"
    await work.piece_job(task("sound"))
    await work.piece_job(task("first"))
    await work.assemble_job(task())
    seen = await ada.call("GET", f"/api/v1/videos/{id}")
    assert (seen["state"], [one["name"] for one in seen["renditions"]]) == ("playable", ["240p"])
    assert 0 < seen["progress"] < 1
    stored = seen["stored_bytes"]
    await work.piece_job(task("first"))
    assert (await ada.call("GET", f"/api/v1/videos/{id}"))["stored_bytes"] == stored

    # what cannot be done fails the video, but what is there stays playable
    await work.given_up(task("chunk-0"), EngineFailed("The work on this video broke off."))
    seen = await ada.call("GET", f"/api/v1/videos/{id}")
    assert (seen["state"], seen["error"]["code"]) == ("failed", "engine_failed")
    assert seen["playback"] is not None
    await work.piece_job(task("chunk-0"))
    assert "v-360p-0.m4s" not in await studio.names(id)
    again = await ada.call("POST", f"/api/v1/videos/{id}/retry", expect=202)
    assert (again["state"], again["error"]) == ("playable", None)
    await ada.call("POST", f"/api/v1/videos/{id}/retry", expect=409)
    waiting = await studio.place.sql(
        "select count(*) from pgqueuer where entrypoint = 'videos.piece'"
        " and convert_from(payload, 'utf8')::json->>'run' = '2'"
    )
    assert waiting == 2  # stills and the other rung: what was done is not done again
    await work.piece_job(task("chunk-0", run=2))
    await work.given_up(task("stills", run=2), EngineFailed("There are none."))  # a video is one without stills
    await work.assemble_job(task(run=2))
    assert (await ada.call("GET", f"/api/v1/videos/{id}"))["state"] == "ready"

    await ada.call("DELETE", f"/api/v1/videos/{id}")
    for name in ("first", ""):
        await work.piece_job(task(name, run=2))
    await work.assemble_job(task(run=2))

    async def empty() -> bool:
        return not await studio.names(id)

    await eventually(empty, what="its objects are gone")


async def test_a_file_that_is_no_video_says_so(studio: Studio, tmp_path: Path) -> None:
    ada = await studio.person("ada")
    file = tmp_path / "film.mp4"
    file.write_text("#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n")
    id = await studio.bring(ada, file)
    seen = await studio.until(ada, id, "failed")
    assert seen["error"]["code"] == "not_a_video"
    assert [one["kind"] for one in seen["events"]] == ["failed"]
    await studio.place.call("GET", f"/api/v1/videos/{id}", expect=404)
    await studio.objects.delete([f"videos/{id}/source"])
    assert (await ada.call("POST", f"/api/v1/videos/{id}/retry", expect=409))["code"] == "source_gone"


@pytest.mark.parametrize("settings", [{"vod_scratch_bytes": 1000, "vod_children": 0}])
async def test_no_room_for_the_work_is_told(studio: Studio, clip: Callable[[float], Path]) -> None:
    ada = await studio.person("ada")
    id = await studio.bring(ada, clip(2))
    work = studio.wiring.vod.processing
    payload = b'{"id":"%s","run":1}' % id.encode()
    with pytest.raises(Exception, match="VOD_SCRATCH_BYTES") as full:
        await work.probe_job(payload)
    await work.given_up(payload, full.value)
    seen = await ada.call("GET", f"/api/v1/videos/{id}")
    assert (seen["state"], seen["error"]["code"]) == ("failed", "no_room")


@pytest.mark.parametrize("settings", [{"video_longest": "free=1", "video_quota_count": "free=2"}])
async def test_what_an_account_may_have(studio: Studio, clip: Callable[[float], Path]) -> None:
    ada = await studio.person("ada")
    videos = studio.wiring.vod.videos
    async with studio.wiring.database.transaction() as conn:
        left = await videos.check_quota(conn, UUID(ada.id), "free", 1000)
    id = await studio.bring(ada, clip(2), longest=left.seconds)
    seen = await studio.until(ada, id, "failed")
    assert seen["error"]["code"] == "too_long"
    async with studio.wiring.database.transaction() as conn:
        left = await videos.check_quota(conn, UUID(ada.id), "free")
        assert (left.videos, left.bytes) == (1, 10_000_000_000 - seen["source_bytes"])
        with pytest.raises(Exception, match="more bytes") as full:
            await videos.check_quota(conn, UUID(ada.id), "free", left.bytes + 1)
        assert full.value.code == "quota_reached"  # type: ignore[attr-defined]
        await videos.begin(conn, UUID(ada.id), title="Another")
        with pytest.raises(Exception, match="which is the most"):
            await videos.check_quota(conn, UUID(ada.id), "free")


@pytest.fixture
async def workers(
    tmp_path: Path, database_url: str, s3: S3
) -> AsyncIterator[tuple[dict[str, Any], Callable[[str], Awaitable[WorkerProcess]]]]:
    """Settings of a server that works on no video, and how to start processes that do, over the same S3 server."""
    store = {
        "s3_endpoint": s3.endpoint,
        "s3_bucket": s3.bucket,
        "s3_region": s3.region,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
    }
    started: list[WorkerProcess] = []

    async def start(name: str) -> WorkerProcess:
        environment = {
            **{key.upper(): value for key, value in store.items()},
            "DATABASE_URL": database_url,
            "DATABASE_POOL": "4",
            "DISK_MIN_FREE": "0",
            "REDIS_URL": "",
            "VOD_CHUNK_SECONDS": "4",
            "VOD_PRESET": "ultrafast",
            "JOB_HEARTBEAT": "3",
            "LOG_LEVEL": "warning",
        }
        worker = WorkerProcess(tmp_path / name, environment)
        started.append(worker)
        await worker.start()
        return worker

    yield store, start
    for worker in started:
        await worker.stop(signal.SIGKILL)


@pytest.mark.timeout(240)
async def test_a_killed_worker_loses_its_piece_alone(
    workers: tuple[dict[str, Any], Callable[[str], Awaitable[WorkerProcess]]],
    tmp_path: Path,
    database_url: str,
    clip: Callable[[float], Path],
) -> None:
    """Also: outputs in S3, chunks taken by two processes, progress that never goes back and is told on the channel."""
    from tests.server.identity.privacy.place import place  # noqa: PLC0415

    store, start = workers
    given = {"disk_min_free": 0, "vod_children": 0, "job_heartbeat": 3.0, **store}
    async with place(tmp_path / "var", database_url, **given) as started:
        studio = Studio(started, tmp_path)
        ada = await studio.person("ada")
        first = await start("first")
        id = await studio.bring(ada, clip(12))

        async def done() -> set[str]:
            rows = await studio.place.sql(
                "select array_agg(name) from video_chunks where result is not null and video_id = $1", UUID(id)
            )
            return set(rows or ())

        async def some() -> bool:
            return len(await done()) >= 1

        await eventually(some, within=60, every=0.05, what="a piece is done")
        await first.stop(signal.SIGKILL)
        kept = await done()
        stamps = await studio.place.sql(
            "select array_agg(result::text order by name) from video_chunks where name = any($1)", sorted(kept)
        )
        before = (await ada.call("GET", f"/api/v1/videos/{id}"))["progress"]
        await start("second")
        await start("third")
        seen = await studio.until(ada, id, "ready", within=150)
        assert seen["progress"] == 1 >= before
        assert stamps == await studio.place.sql(
            "select array_agg(result::text order by name) from video_chunks where name = any($1)", sorted(kept)
        )
        playlist = await _text(studio, id, "v-360p.m3u8")
        assert playlist.count("#EXTINF") == 3
        assert playlist.endswith("#EXT-X-ENDLIST\n")
        for number in range(3):
            assert f"v-240p-{number}.m4s" in await studio.names(id)


async def test_a_scratch_folder_of_a_dead_process_is_removed(studio: Studio, tmp_path: Path) -> None:
    from server.streaming.videos.scratch import Scratch  # noqa: PLC0415

    root = tmp_path / "scratch"
    left = root / "1-dead"
    left.mkdir(parents=True)
    (left / ".lock").touch()
    (left / "source-1").write_bytes(b"x" * 100)
    living = Scratch(root, studio.objects, most=100, least_free=0)
    await living.start()
    assert not left.exists()
    other = Scratch(root, studio.objects, most=100, least_free=0)
    await other.start()
    assert len(list(root.iterdir())) == 2  # the folder of a process that lives stays
    await other.close()
    await living.close()
    assert not list(root.iterdir())


@pytest.mark.parametrize("settings", [{"vod_children": 0}])
async def test_sources_are_kept_as_long_as_there_is_room(studio: Studio, tmp_path: Path) -> None:
    from server.streaming.videos.scratch import NoRoom, Scratch, SourceMissing  # noqa: PLC0415

    ids = [UUID(int=number + 1) for number in range(3)]
    for id in ids:
        await studio.objects.put(f"videos/{id}/source", bytes(40), "video/mp4")
    scratch = Scratch(tmp_path / "scratch", studio.objects, most=100, least_free=0)
    await scratch.start()
    async with scratch.source(ids[0], 1) as one, scratch.source(ids[1], 1) as two:
        assert (one.stat().st_size, two.stat().st_size) == (40, 40)
        with pytest.raises(NoRoom):
            async with scratch.source(ids[2], 1):
                pass
    async with scratch.source(ids[2], 1) as three:
        assert three.exists()
        assert not one.exists()  # the one used longest ago made room
    with pytest.raises(SourceMissing):
        async with scratch.source(UUID(int=9), 1):
            pass
    assert scratch.describe() == {"sources": 2, "bytes": 80, "most": 100}
    await scratch.close()


async def _text(studio: Studio, id: str, name: str) -> str:
    return (await studio.objects.get(f"videos/{id}/{name}") or b"").decode()
