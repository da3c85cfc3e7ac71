"""POST /videos/upload: one multipart request, whole or not at all."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.streaming.uploads.conftest import MEBI, Yard, film
from tests.support import eventually

LARGE = 60 * MEBI


async def test_fields_before_and_after_the_file(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(2 * MEBI)
    fields = [("title", "Höhe"), ("description", "What we saw"), ("visibility", "public")]
    before = await yard.form(ana, *fields, ("file", io.BytesIO(data)))
    assert before.status == 202
    assert set(before.body) == {"id", "state", "progress", "playback", "error"}
    assert before.body["playback"] is None
    await yard.arrived(before.body["id"], data)
    after = await yard.form(ana, ("file", io.BytesIO(data)), *fields)
    assert after.status == 202
    for id in (before.body["id"], after.body["id"]):
        shown = await ana.call("GET", f"/api/v1/videos/{id}")
        assert (shown["title"], shown["description"], shown["visibility"]) == ("Höhe", "What we saw", "public")
    alone = await yard.form(ana, ("file", io.BytesIO(data)))
    shown = await ana.call("GET", f"/api/v1/videos/{alone.body['id']}")
    assert (shown["title"], shown["visibility"]) == ("My holiday", "private")


async def test_what_is_refused_leaves_nothing(yard: Yard) -> None:
    ana = await yard.person("ana")
    data = film(20_000)

    def file(content: bytes = data) -> tuple[str, Any]:
        return "file", io.BytesIO(content)

    cases: list[tuple[list[tuple[str, Any]], int, str]] = [
        ([("title", "No file")], 422, "invalid_request"),
        ([file(b"")], 422, "invalid_request"),
        ([file(), file()], 422, "invalid_request"),
        ([file(), ("title", "x" * 141)], 422, "invalid_request"),
        ([("title", "x" * 2000), file()], 422, "invalid_request"),
        ([file(), ("visibility", "everybody")], 422, "invalid_request"),
        ([file(), ("title", "a"), ("title", "b")], 422, "invalid_request"),
        ([file(), ("colour", "red")], 422, "invalid_request"),
        ([file(b"#EXTM3U\nfile:///etc/passwd\n" * 300)], 415, "not_a_video"),
        ([file(b"\x89PNG\r\n\x1a\n")], 415, "not_a_video"),
        ([file(b"ffconcat version 1.0\nfile /etc/passwd\n")], 415, "not_a_video"),
    ]
    for parts, status, code in cases:
        answer = await yard.form(ana, *parts)
        assert (answer.status, answer.code) == (status, code), (parts, answer.body)
    head = {"Authorization": f"Bearer {ana.token}"}
    for kind, status in (("application/json", 415), ("multipart/form-data", 422)):
        async with yard.place.client.post(
            "/api/v1/videos/upload", data=b"{}", headers={**head, "Content-Type": kind}
        ) as answer:
            assert answer.status == status
    assert await yard.rows() == 0
    assert await yard.place.sql("select count(*) from videos") == 0
    assert await yard.keys() == []


async def test_what_is_no_video_is_refused_at_once(yard: Yard) -> None:
    """The answer comes while the client has most of it still to send; by tus the video says why."""
    ana = await yard.person("ana")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"GIF89a" + bytes(6000)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(20):
        refused = await yard.form(ana, ("file", endless()))
    assert (refused.status, refused.code) == (415, "not_a_video")
    path = await yard.begin(ana, 100 * MEBI)
    video = await yard.video_of(path)
    refused = await yard.patch(ana, path, 0, b"GIF89a" + bytes(6000))
    assert (refused.status, refused.code) == (415, "not_a_video")
    assert "MP4" in refused.body["detail"]
    shown = await ana.call("GET", f"/api/v1/videos/{video}")
    assert (shown["state"], shown["error"]["code"]) == ("failed", "not_a_video")
    assert await yard.rows() == 0
    assert await yard.keys() == []


async def test_a_connection_that_breaks_leaves_nothing(yard: Yard) -> None:
    ana = await yard.person("ana")
    going = asyncio.Event()

    async def breaks() -> AsyncIterator[bytes]:
        yield film(3 * MEBI)
        going.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(yard.form(ana, ("file", breaks())))
    await going.wait()
    await eventually(lambda: yard.wiring.uploads.writing == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await eventually(lambda: yard.wiring.uploads.writing == 0)

    async def nothing() -> bool:
        return await yard.rows() == 0 and await yard.keys() == []

    await eventually(nothing)
    assert await yard.place.sql("select count(*) from videos") == 0


async def test_a_key_makes_one_video(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(50_000)
    going, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield data[:30_000]
        going.set()
        await ended.wait()
        yield data[30_000:]

    first = asyncio.create_task(yard.form(ana, ("file", slow()), key="one"))
    await going.wait()
    await eventually(lambda: yard.wiring.uploads.writing == 1)
    twin = await yard.form(ana, ("file", slow()), key="one")
    assert (twin.status, twin.code) == (409, "idempotency_in_progress")
    ended.set()
    done = await first
    again = await yard.form(ana, ("file", slow()), key="one")
    assert (again.status, again.body["id"]) == (202, done.body["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await yard.form(ana, ("file", io.BytesIO(data)), key="one")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert await yard.place.sql("select count(*) from videos") == 1


@pytest.fixture
def narrow(settings: dict[str, Any]) -> None:
    settings.update(
        upload_window=0.4, upload_least_rate=100_000.0, uploads_per_account=1, uploads_at_once=2, uploads_unfinished=3,
        video_quota_bytes="2000000", upload_max_bytes=3_000_000,
    )  # fmt: skip


@pytest.mark.usefixtures("narrow")
async def test_limits(yard: Yard) -> None:
    ana, bob, eve = [await yard.person(name) for name in ("ana", "bob", "eve")]
    data = film(900_000)

    async def drip() -> AsyncIterator[bytes]:
        yield data[:20_000]
        for at in range(20_000, 900_000, 1000):
            yield data[at : at + 1000]
            await asyncio.sleep(0.05)

    # a drip of bytes holds no place for ever; by tus what came is kept
    slow = await yard.form(ana, ("file", drip()))
    assert (slow.status, slow.code) == (408, "too_slow")
    path = await yard.begin(ana, len(data))
    slow = await yard.patch(ana, path, 0, drip())
    assert (slow.status, slow.code) == (408, "too_slow")
    kept = await yard.head(ana, path)
    assert 20_000 <= kept < 900_000

    # room: what is begun counts before it is there
    full = await yard.tus(ana, "POST", Upload_Length=1_500_000)
    assert (full.status, full.code) == (409, "quota_reached")
    part = await yard.begin(ana, 1_000_000, Upload_Concat="partial")
    full = await yard.tus(ana, "POST", Upload_Length=200_000)
    assert (full.status, full.code) == (409, "quota_reached")
    await yard.tus(ana, "DELETE", part)
    large = await yard.form(ana, ("file", io.BytesIO(film(1_500_000))))
    assert (large.status, large.code) == (413, "upload_too_large")
    for _ in range(2):
        await yard.begin(ana, 10)
    many = await yard.tus(ana, "POST", Upload_Length=10)
    assert (many.status, many.code) == (429, "too_many_uploads")

    # at once
    ended = asyncio.Event()

    async def waits() -> AsyncIterator[bytes]:
        while not ended.is_set():
            yield b"\0\0\0\x18ftypisom" + bytes(8000)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(yard.form(who, ("file", waits()))) for who in (bob, eve)]
    await eventually(lambda: yard.wiring.uploads.writing == 2)
    full = await yard.patch(ana, path, kept, data[kept:])
    assert (full.status, full.code) == (503, "uploads_full")
    assert int(full.headers["Retry-After"]) > 0
    ended.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [202, 202]
    assert (await yard.patch(ana, path, kept, data[kept:])).status == 204
    await yard.arrived(await yard.video_of(path), data)


async def test_memory_stays_flat(yard: Yard, tmp_path: Path) -> None:
    """60 MB by a form and by tus: the process grows by less than 16 MB, client and all."""
    ana = await yard.person("ana")
    source = tmp_path / "large.mp4"
    source.write_bytes(film(LARGE))
    small = film(100_000)
    assert (await yard.form(ana, ("file", io.BytesIO(small)))).status == 202
    before, most = _resident(), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, _resident())
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    with source.open("rb") as file:
        answer = await yard.form(ana, ("file", file))
    assert answer.status == 202
    path = await yard.begin(ana, LARGE)
    with source.open("rb") as file:
        assert (await yard.tus(ana, "PATCH", path, file, Upload_Offset=0)).offset == LARGE
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert most - before < 16 * MEBI


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
