"""What goes wrong in the middle: connections, processes, stores. The upload goes on, at least where it was told."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from server.streaming.uploads.service import FINISH_JOB
from storage.objects.s3_parts import PART
from tests.conftest import S3
from tests.server.streaming.conftest import ServerProcess, User, environment, http, new_user, server  # noqa: F401
from tests.server.streaming.uploads.conftest import MEBI, PATH, Yard, film
from tests.support import eventually


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, settings: dict[str, Any]) -> str:
    settings["upload_checkpoint"] = 0.001
    if request.param == "s3":
        settings.update(request.getfixturevalue("s3_settings"))
    return str(request.param)


@pytest.mark.usefixtures("store")
async def test_a_connection_that_breaks(yard: Yard) -> None:
    """What had come by then is kept; the next one goes on at once."""
    ana, data = await yard.person("ana"), film(7 * MEBI)
    path = await yard.begin(ana, len(data))

    async def breaks() -> AsyncIterator[bytes]:
        yield data[: 6 * MEBI]
        await asyncio.sleep(3600)

    task = asyncio.create_task(yard.patch(ana, path, 0, breaks()))
    await eventually(lambda: yard.wiring.uploads.writing == 1)

    await eventually(lambda: yard.wiring.uploads.received_bytes > 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await eventually(lambda: yard.place.sql("select writer is null from uploads"), what="nobody holds it")
    at = await yard.head(ana, path)
    assert 0 < at <= 6 * MEBI
    assert (await yard.patch(ana, path, at, data[at:])).offset == len(data)
    await yard.arrived(await yard.video_of(path), data)


@pytest.fixture
def in_s3(settings: dict[str, Any], s3_settings: dict[str, Any]) -> None:
    settings.update(s3_settings)


@pytest.mark.usefixtures("in_s3")
async def test_a_store_that_is_away(s3: S3, yard: Yard) -> None:
    """In the middle, and it forgets all that it had begun (rclone does)."""
    ana, data = await yard.person("ana"), film(2 * PART + 1000)
    path = await yard.begin(ana, len(data))
    video = await yard.video_of(path)
    assert (await yard.patch(ana, path, 0, data[: PART + 10])).offset == PART + 10
    s3.server.close()
    try:
        failed = await yard.patch(ana, path, PART + 10, data[PART + 10 :])
        assert (failed.status, failed.code) == (503, "unavailable")
        assert await yard.head(ana, path) == PART + 10
    finally:
        s3.server.start()
    assert (await yard.patch(ana, path, PART + 10, data[PART + 10 :])).offset == len(data)
    await yard.arrived(video, data)


async def test_a_store_that_has_lost_some(yard: Yard) -> None:
    """While it comes: it is told where to go on. When it was whole: the video says so."""
    ana, data = await yard.person("ana"), film(2 * MEBI)
    path = await yard.begin(ana, len(data))
    video = await yard.video_of(path)
    await yard.patch(ana, path, 0, data[:MEBI])
    await yard.wiring.objects.delete_prefix(f"videos/{video}/")
    refused = await yard.patch(ana, path, MEBI, data[MEBI:])
    assert (refused.status, refused.code, refused.body["offset"]) == (409, "wrong_offset", 0)
    assert await yard.head(ana, path) == 0
    assert (await yard.patch(ana, path, 0, data)).status == 204
    await yard.arrived(video, data)

    # as if the store had lost it before the job came to it
    path = await yard.begin(ana, len(data))
    video = await yard.video_of(path)
    id = UUID(path.rpartition("/")[2])
    await yard.place.sql("update uploads set state = 'full', received = length where id = $1", id)
    await yard.wiring.finishing.finish(id)
    shown = await ana.call("GET", f"/api/v1/videos/{video}")
    assert (shown["state"], shown["error"]["code"]) == ("failed", "upload_lost")


async def test_a_file_that_was_never_made_is_made_later(yard: Yard) -> None:
    """The job failed for good, or was lost: the sweep has it done."""
    ana, data = await yard.person("ana"), film(MEBI)
    path = await yard.begin(ana, len(data))
    id = UUID(path.rpartition("/")[2])
    await yard.patch(ana, path, 0, data[:-1])
    async with yard.wiring.database.transaction() as conn:
        await conn.execute("update uploads set length = received, state = 'full' where id = $1", id)
        await conn.execute("update uploads set expires_at = now() + interval '23 hours' where id = $1", id)
    await yard.wiring.finishing.sweep()
    await yard.arrived(await yard.video_of(path), data[:-1])
    # its job ends a moment after what it did is seen
    waiting = "select count(*) = 0 from pgqueuer where entrypoint = $1"
    await eventually(lambda: yard.place.sql(waiting, FINISH_JOB), what="the job is done")


async def test_what_nobody_knows_of_is_removed(yard: Yard) -> None:
    ana = await yard.person("ana")
    kept = await yard.begin(ana, 5000, Upload_Concat="partial")
    await yard.patch(ana, kept, 0, b"x" * 100)
    stray = "uploads/0190163d-8694-739b-aea5-966c26f8ad91/data"
    for key in (stray, "uploads/notes/data"):
        await yard.wiring.objects.put(key, b"x", "text/plain")
    assert await yard.wiring.finishing.orphans() == 1
    assert await yard.keys("uploads/") == sorted([f"uploads/{kept.rpartition('/')[2]}/data", "uploads/notes/data"])


async def test_a_person_leaves(yard: Yard, tmp_path: Path) -> None:
    from server.streaming.uploads.personal import UploadsData  # noqa: PLC0415
    from server.wiring.uploads import parts_of  # noqa: PLC0415

    ana, bob = await yard.person("ana"), await yard.person("bob")
    for who in (ana, bob):
        for headers in ({}, {"Upload_Concat": "partial"}):
            await yard.patch(who, await yard.begin(who, 50_000, **headers), 0, film(20_000))
    data = UploadsData(yard.wiring.database, parts_of(yard.wiring.objects, yard.wiring.settings))
    items = [item async for item in data.export(UUID(ana.id), media=True)]
    assert [item.name for item in items] == ["streaming/uploads.json"]
    told = b"".join([part async for part in items[0].content])
    assert told.count(b'"received": 20000') == 2
    await data.erase(UUID(ana.id))
    assert await yard.rows() == 2
    assert len(await yard.keys("")) == 2


async def test_kill_9_in_the_middle(server: ServerProcess, new_user: Any, http: aiohttp.ClientSession) -> None:  # noqa: F811
    """While bytes come: afterwards the upload is at what was told or beyond it, and goes on there."""
    ana: User = await new_user("ana")
    data = film(24 * MEBI)
    head = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {ana.token}"}
    bytes_follow = {**head, "Content-Type": "application/offset+octet-stream"}
    async with http.post(server.url + PATH, headers={**head, "Upload-Length": str(len(data))}) as answer:
        where = server.url + answer.headers["Location"]
    first = io.BytesIO(data[: 8 * MEBI])
    async with http.patch(where, data=first, headers={**bytes_follow, "Upload-Offset": "0"}) as answer:
        told = int(answer.headers["Upload-Offset"])
    assert told == 8 * MEBI
    going = asyncio.Event()

    async def rest() -> AsyncIterator[bytes]:
        for at in range(told, 20 * MEBI, 64 * 1024):
            yield data[at : at + 64 * 1024]
        going.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(
        http.patch(where, data=rest(), headers={**bytes_follow, "Upload-Offset": str(told)}).__aenter__()
    )
    await going.wait()
    await server.stop(signal.SIGKILL)
    await asyncio.gather(task, return_exceptions=True)
    await server.start()
    async with http.head(where, headers=head) as answer:
        assert answer.status == 200
        at = int(answer.headers["Upload-Offset"])
    assert told <= at <= 20 * MEBI
    last = io.BytesIO(data[at:])
    async with http.patch(where, data=last, headers={**bytes_follow, "Upload-Offset": str(at)}) as answer:
        # at once: the lease of the process that died is its own
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(data)))
    objects = server.folder / "objects"

    def made() -> bool:
        return any(path.read_bytes() == data for path in objects.glob("videos/*/source"))

    await eventually(made, every=0.2)
