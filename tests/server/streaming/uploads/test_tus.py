"""tus 1.0.0, header by header: what it promises, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from tests.server.streaming.uploads.conftest import MEBI, PATH, Yard, film, said
from tests.support import eventually


def sha1(data: bytes) -> str:
    return f"sha1 {base64.b64encode(hashlib.sha1(data).digest()).decode()}"


async def test_a_file_in_two_goes(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(3 * MEBI)
    meta = said(title="Höhe", description="What\nwe saw", visibility="unlisted", filename="x.mp4")
    begun = await yard.tus(ana, "POST", Upload_Length=len(data), Upload_Metadata=meta)
    assert (begun.status, begun.headers["Tus-Resumable"], begun.offset) == (201, "1.0.0", 0)
    assert begun.headers["Upload-Expires"].endswith("GMT")
    path = begun.headers["Location"]
    video = await yard.video_of(path)
    shown = await ana.call("GET", f"/api/v1/videos/{video}")
    assert (shown["title"], shown["description"], shown["visibility"]) == ("Höhe", "What\nwe saw", "unlisted")
    assert (shown["state"], shown["progress"]) == ("uploading", 0)

    first = await yard.patch(ana, path, 0, data[:MEBI])
    assert (first.status, first.offset) == (204, MEBI)
    asked = await yard.tus(ana, "HEAD", path)
    assert (asked.status, asked.offset, asked.headers["Upload-Length"]) == (200, MEBI, str(len(data)))
    assert (asked.headers["Upload-Metadata"], asked.headers["Cache-Control"]) == (meta, "no-store")
    last = await yard.patch(ana, path, MEBI, data[MEBI:])
    assert (last.status, last.offset) == (204, len(data))
    await yard.arrived(video, data)
    assert await yard.head(ana, path) == len(data)
    again = await yard.patch(ana, path, len(data), b"more")
    assert (again.status, again.code) == (409, "upload_complete")
    ended = await yard.tus(ana, "DELETE", path)
    assert (ended.status, ended.code) == (409, "upload_complete")
    assert await yard.state(video) == "processing"


async def test_what_is_spoken(yard: Yard) -> None:
    answer = await yard.tus(None, "OPTIONS", Tus_Resumable=None)
    assert answer.status == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "20000000000"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,sha512"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
        "concatenation",
    }  # fmt: skip


@pytest.fixture
def pages(settings: dict[str, Any]) -> None:
    settings["cors_origins"] = "https://app.example.org"


@pytest.mark.usefixtures("pages")
async def test_pages_of_other_origins(yard: Yard) -> None:
    ana = await yard.person("ana")
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "PATCH"}
    for path in (PATH, f"{PATH}/0190163d-8694-739b-aea5-966c26f8ad91"):
        async with yard.place.client.options(path, headers=asked) as answer:
            allowed = answer.headers["Access-Control-Allow-Headers"]
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
            assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
            assert {"Upload-Offset", "Tus-Resumable", "Upload-Metadata"} <= set(allowed.split(", "))
    begun = await yard.tus(ana, "POST", Upload_Length=10, Origin="https://app.example.org")
    exposed = set(begun.headers["Access-Control-Expose-Headers"].split(", "))
    assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Expires", "Tus-Resumable"} <= exposed


async def test_the_first_bytes_with_the_beginning(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(50_000)
    begun = await yard.tus(ana, "POST", data=data[:9000], Upload_Length=len(data))
    assert (begun.status, begun.offset) == (201, 9000)
    path = begun.headers["Location"]
    done = await yard.patch(ana, path, 9000, data[9000:])
    assert done.offset == len(data)
    await yard.arrived(await yard.video_of(path), data)
    wrong = await yard.tus(ana, "POST", data=b"x", Upload_Length=5, Content_Type="text/plain")
    assert (wrong.status, wrong.code) == (415, "unsupported_media_type")
    assert await yard.rows() == 1


async def test_a_length_that_is_told_later(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(30_000)
    begun = await yard.tus(ana, "POST", Upload_Defer_Length="1")
    path = begun.headers["Location"]
    assert (await yard.patch(ana, path, 0, data[:20_000])).offset == 20_000
    asked = await yard.tus(ana, "HEAD", path)
    assert (asked.headers["Upload-Defer-Length"], "Upload-Length" in asked.headers) == ("1", False)
    short = await yard.patch(ana, path, 20_000, b"x", Upload_Length=19_000)
    assert (short.status, short.code) == (413, "upload_too_large")
    done = await yard.patch(ana, path, 20_000, data[20_000:], Upload_Length=30_000)
    assert (done.status, done.offset) == (204, 30_000)
    await yard.arrived(await yard.video_of(path), data)


async def test_checksums(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(2 * MEBI)
    path = await yard.begin(ana, len(data))
    wrong = await yard.patch(ana, path, 0, data[:MEBI], Upload_Checksum=sha1(b"other"))
    assert (wrong.status, wrong.code) == (460, "wrong_checksum")
    assert await yard.head(ana, path) == 0
    assert (await yard.patch(ana, path, 0, data[:MEBI], Upload_Checksum=sha1(data[:MEBI]))).offset == MEBI
    for text in ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha1 !!!", "sha1", "sha256 " + sha1(b"x").partition(" ")[2]):
        refused = await yard.patch(ana, path, MEBI, data[MEBI:], Upload_Checksum=text)
        assert (refused.status, refused.code) == (400, "bad_upload"), text
    rest = f"sha512 {base64.b64encode(hashlib.sha512(data[MEBI:]).digest()).decode()}"
    assert (await yard.patch(ana, path, MEBI, data[MEBI:], Upload_Checksum=rest)).status == 204
    await yard.arrived(await yard.video_of(path), data)


async def test_parts_at_once(yard: Yard) -> None:
    """Three connections, one video; its parts are gone afterwards."""
    ana, bob, data = await yard.person("ana"), await yard.person("bob"), film(MEBI)
    cuts = [0, 3000, 600_000, len(data)]
    paths = [await yard.begin(ana, end - begin, Upload_Concat="partial") for begin, end in pairwise(cuts)]
    final = "final;" + " ".join(["https://example.org" + paths[0], *paths[1:]])
    early = await yard.tus(ana, "POST", Upload_Concat=final)
    assert (early.status, early.code) == (409, "upload_not_complete")
    done = await asyncio.gather(
        *(yard.patch(ana, path, 0, data[cuts[n] : cuts[n + 1]]) for n, path in enumerate(paths))
    )
    assert [answer.status for answer in done] == [204, 204, 204]
    asked = await yard.tus(ana, "HEAD", paths[1])
    assert asked.headers["Upload-Concat"] == "partial"
    assert await yard.place.sql("select count(*) from videos") == 0

    stolen = await yard.tus(bob, "POST", Upload_Concat=final)
    assert (stolen.status, stolen.code) == (404, "no_such_upload")
    wrong = await yard.tus(ana, "POST", Upload_Concat="final;" + " ".join(reversed(paths)))
    assert (wrong.status, wrong.code) == (415, "not_a_video")
    joined = await yard.tus(ana, "POST", Upload_Concat=final, Upload_Metadata=said(title="Joined"))
    assert joined.status == 201
    path = joined.headers["Location"]
    video = await yard.video_of(path)
    asked = await yard.tus(ana, "HEAD", path)
    assert asked.headers["Upload-Concat"].startswith("final;")
    assert asked.offset == len(data)
    refused = await yard.patch(ana, path, len(data), b"x")
    assert (refused.status, refused.code) == (403, "final_upload")
    await yard.arrived(video, data)
    await eventually(lambda: yard.keys_are([], "uploads/"))

    async def parts_gone() -> bool:
        return await yard.rows() == 1

    await eventually(parts_gone)
    again = await yard.tus(ana, "POST", Upload_Concat=final)
    assert again.status == 404


async def test_taken_back(yard: Yard) -> None:
    ana = await yard.person("ana")
    path = await yard.begin(ana, 50_000)
    video = await yard.video_of(path)
    await yard.patch(ana, path, 0, film(20_000))
    assert (await yard.tus(ana, "DELETE", path)).status == 204
    assert (await yard.tus(ana, "HEAD", path)).status == 404
    assert await yard.state(video) is None
    await eventually(lambda: yard.keys_are([]))


async def test_where_only_post_goes_through(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(20_000)
    path = await yard.begin(ana, len(data))
    done = await yard.tus(ana, "POST", path, data[:9000], Upload_Offset=0, X_HTTP_Method_Override="PATCH")
    assert (done.status, done.offset) == (204, 9000)
    asked = await yard.tus(ana, "POST", path, X_HTTP_Method_Override="HEAD")
    assert asked.offset == 9000
    wrong = await yard.tus(ana, "POST", path, X_HTTP_Method_Override="GET")
    assert (wrong.status, wrong.code) == (400, "bad_upload")
    assert (await yard.tus(ana, "POST", path, X_HTTP_Method_Override="DELETE")).status == 204
    assert (await yard.tus(ana, "HEAD", path)).status == 404


async def test_headers_that_cannot_be(yard: Yard) -> None:
    ana = await yard.person("ana")
    path = await yard.begin(ana, 5000)
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("POST", PATH, {"Tus_Resumable": None, "Upload_Length": 5}, 412, "tus_version"),
        ("POST", PATH, {"Tus_Resumable": "0.2.2", "Upload_Length": 5}, 412, "tus_version"),
        ("POST", PATH, {}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": "-1"}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": "1e3"}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": "0"}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": "9" * 30}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Defer_Length": 1}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Defer_Length": 2}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": 20_000_000_001}, 413, "upload_too_large"),
        ("POST", PATH, {"Upload_Length": 15_000_000_000}, 409, "quota_reached"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": "title !"}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": "title /w=="}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": "title eA==,title eA=="}, 400, "bad_upload"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": said(title="x" * 141)}, 422, "invalid_request"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": said(title="a\0b")}, 422, "invalid_request"),
        ("POST", PATH, {"Upload_Length": 5, "Upload_Metadata": said(visibility="all")}, 422, "invalid_request"),
        *(
            ("POST", PATH, {"Upload_Concat": text}, 400, "bad_upload")
            for text in ("", "partially", "final", "final;", "final;/x/0190163d-8694-739b-aea5-966c26f8ad91",
                         f"final;{PATH}/x")
        ),
        ("HEAD", path, {"Tus_Resumable": None}, 412, ""),
        ("PATCH", path, {"Tus_Resumable": "2"}, 412, "tus_version"),
        ("PATCH", path, {}, 400, "bad_upload"),
        ("PATCH", path, {"Upload_Offset": "x"}, 400, "bad_upload"),
        ("PATCH", path, {"Upload_Offset": 7}, 409, "wrong_offset"),
        ("PATCH", path, {"Upload_Offset": 0, "Content_Type": "video/mp4"}, 415, "unsupported_media_type"),
        ("PATCH", path, {"Upload_Offset": 0, "Upload_Length": 6000}, 409, "wrong_offset"),
        ("DELETE", path, {"Tus_Resumable": None}, 412, "tus_version"),
    ]  # fmt: skip
    for method, where, headers, status, code in cases:
        answer = await yard.tus(ana, method, where, b"x" if method == "PATCH" else None, **headers)
        assert answer.status == status, (method, headers, answer.body)
        assert not code or answer.code == code, (method, headers, answer.body)
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert status != 412 or answer.headers["Tus-Version"] == "1.0.0"
    assert await yard.rows() == 1
    assert await yard.head(ana, path) == 0


async def test_no_more_than_was_said(yard: Yard) -> None:
    """With a length that is known before, and without: nothing of the request is kept."""
    ana, data = await yard.person("ana"), film(50_000)

    async def chunked() -> Any:
        yield data

    path = await yard.begin(ana, 40_000)
    for body in (data, chunked()):
        answer = await yard.patch(ana, path, 0, body)
        assert (answer.status, answer.code) == (413, "upload_too_large")
        assert await yard.head(ana, path) == 0


async def test_others_uploads_are_not_there(yard: Yard) -> None:
    ana, bob = await yard.person("ana"), await yard.person("bob")
    path = await yard.begin(ana, 5000)
    for method in ("HEAD", "DELETE"):
        assert (await yard.tus(bob, method, path)).status == 404
    assert (await yard.patch(bob, path, 0, b"x")).code == "no_such_upload"
    assert (await yard.tus(None, "HEAD", path)).status == 401
    assert await yard.head(ana, path) == 0


async def test_two_connections_at_once(yard: Yard) -> None:
    ana, data = await yard.person("ana"), film(2 * MEBI)
    path = await yard.begin(ana, len(data))
    going, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield data[:MEBI]
        going.set()
        await ended.wait()
        yield data[MEBI:]

    first = asyncio.create_task(yard.patch(ana, path, 0, slow()))
    await going.wait()
    await eventually(lambda: yard.wiring.uploads.writing == 1)
    second = await yard.patch(ana, path, 0, data)
    assert (second.status, second.code) == (423, "upload_locked")
    ended.set()
    assert (await first).offset == len(data)
    await yard.arrived(await yard.video_of(path), data)


async def test_taken_back_while_it_comes(yard: Yard) -> None:
    """Whoever brings it is told, and nothing stays."""
    ana, data = await yard.person("ana"), film(2 * MEBI)
    path = await yard.begin(ana, len(data))
    going, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield data[:MEBI]
        going.set()
        await ended.wait()
        yield data[MEBI:]

    first = asyncio.create_task(yard.patch(ana, path, 0, slow()))
    await going.wait()
    await eventually(lambda: yard.wiring.uploads.writing == 1)
    assert (await yard.tus(ana, "DELETE", path)).status == 204
    ended.set()
    answer = await first
    assert (answer.status, answer.code) == (410, "upload_gone")
    await eventually(lambda: yard.keys_are([]))


async def test_signed_out_while_it_comes(yard: Yard) -> None:
    """Nothing more is taken; what was recorded is there for the next session."""
    ana, data = await yard.person("ana"), film(2 * MEBI)
    path = await yard.begin(ana, len(data))
    going = asyncio.Event()

    async def dripping() -> Any:
        yield data[:MEBI]
        going.set()
        for at in range(MEBI, len(data), 1024):
            yield data[at : at + 1024]
            await asyncio.sleep(0.02)

    first = asyncio.create_task(yard.patch(ana, path, 0, dripping()))
    await going.wait()
    await eventually(lambda: yard.wiring.uploads.writing == 1)
    assert await yard.wiring.identity.end_sessions(UUID(ana.id), "a test") == 1
    answer = await first
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert yard.wiring.uploads.writing == 0
    assert await yard.place.sql("select received from uploads") < len(data)


async def test_its_time_is_over(yard: Yard) -> None:
    ana = await yard.person("ana")
    paths = [await yard.begin(ana, 50_000), await yard.begin(ana, 50_000, Upload_Concat="partial")]
    video = await yard.video_of(paths[0])
    for path in paths:
        await yard.patch(ana, path, 0, film(20_000))
    kept = await yard.begin(ana, 9)
    for path in paths:
        await yard.place.sql("update uploads set expires_at = now() where id = $1", UUID(path.rpartition("/")[2]))
    await yard.wiring.finishing.sweep()
    assert (await yard.tus(ana, "HEAD", paths[0])).status == 410
    gone = await yard.patch(ana, paths[0], 20_000, b"x")
    assert (gone.status, gone.code) == (410, "upload_gone")
    assert (await yard.tus(ana, "HEAD", paths[1])).status == 404
    assert await yard.state(video) is None
    assert await yard.head(ana, kept) == 0
    await eventually(lambda: yard.keys_are([]))


async def test_its_video_was_deleted(yard: Yard) -> None:
    ana = await yard.person("ana")
    path = await yard.begin(ana, 50_000)
    await yard.patch(ana, path, 0, film(20_000))
    await ana.call("DELETE", f"/api/v1/videos/{await yard.video_of(path)}")
    assert (await yard.tus(ana, "HEAD", path)).status == 410
    await yard.wiring.finishing.sweep()
    assert await yard.rows() == 0
    await eventually(lambda: yard.keys_are([]))
