"""What is handed out of videos, to whom, and how long: a whole server, its real database, its store."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from multidict import CIMultiDict
from yarl import URL

from server.streaming.playback.subjects import Kind
from server.streaming.visibility import Visibility
from tests.server.identity.privacy.place import Person
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually

SEGMENT = bytes(range(256)) * 16
PLAYLIST = b"#EXTM3U\n#EXT-X-MAP:URI=\"v-240p-init.mp4\"\n" + b"".join(
    b"#EXTINF:4.00000,\nv-240p-%d.m4s\n" % number for number in range(25)
)  # fmt: skip
REVOKED_WITHIN = 2.0


async def film(studio: Studio, owner: Person, visibility: Visibility = Visibility.PUBLIC) -> str:
    """100 s in 25 segments."""
    id = await studio.ready(owner, visibility=visibility)
    for name, body in (
        ("index.m3u8", PLAYLIST.replace(b"v-240p", b"a")),
        ("v-240p.m3u8", PLAYLIST),
        ("text-en.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n"),
        ("source", b"the uploaded file"),
        *((f"v-240p-{number}.m4s", SEGMENT) for number in range(25)),
    ):
        await studio.objects.put(f"videos/{id}/{name}", body, "application/octet-stream")
    return id


async def get(studio: Studio, path: str, **headers: str) -> tuple[int, CIMultiDict[str], bytes]:
    async with studio.place.client.get(path, headers=headers, allow_redirects=False) as answer:
        return answer.status, CIMultiDict(answer.headers), await answer.read()


async def folder_of(viewer: Person, id: str) -> str:
    """The path, with the viewer's grant, below which the files are."""
    hls = (await viewer.call("GET", f"/api/v1/videos/{id}"))["playback"]["hls"]
    return urlsplit(hls).path.rpartition("/")[0]


async def follow(follower: Person, whom: Person) -> None:
    await follower.call("POST", "/api/v1/follows/follow", {"user_id": whom.id})


async def test_a_public_file_is_cached_for_good_and_read_once_for_many(studio: Studio) -> None:
    id = await film(studio, await studio.person("ann"))
    path = f"/videos/{id}/p/v-240p-3.m4s"
    answers = await asyncio.gather(*(get(studio, path) for _ in range(40)))
    assert {(status, body) for status, _, body in answers} == {(200, SEGMENT)}
    assert studio.wiring.video_files.reads == 1
    headers = answers[0][1]
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Type"] == "video/iso.segment"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Accept-Ranges"] == "bytes"
    etag = headers["ETag"]
    assert not etag.startswith("W/")
    for asked, status in (
        (etag, 304),
        (f'"other", W/{etag}', 304),
        ("*", 304),
        ('"other"', 200),
    ):
        assert (await get(studio, path, **{"If-None-Match": asked}))[0] == status
    assert (await get(studio, path, **{"If-Match": '"other"'}))[0] == 412


RANGES = [
    ("bytes=0-0", 206, 0, 1),
    ("bytes=100-", 206, 100, 4096),
    ("bytes=-5", 206, 4091, 4096),
    ("bytes=-99999", 206, 0, 4096),
    ("bytes=4000-99999", 206, 4000, 4096),
    ("bytes=4096-", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
    ("bytes=5-2", 200, 0, 4096),
    ("bytes=0-1,5-6", 200, 0, 4096),
    ("lines=1-2", 200, 0, 4096),
    ("bytes=" + "9" * 400 + "-", 200, 0, 4096),
]


async def test_ranges(studio: Studio) -> None:
    id = await film(studio, await studio.person("ann"))
    path = f"/videos/{id}/p/v-240p-0.m4s"
    for asked, status, start, end in RANGES:
        got, headers, body = await get(studio, path, Range=asked)
        assert got == status, asked
        if status == 416:
            assert headers["Content-Range"] == "bytes */4096"
            continue
        assert body == SEGMENT[start:end], asked
        assert headers.get("Content-Range") == (f"bytes {start}-{end - 1}/4096" if status == 206 else None)
    stale = await get(studio, path, **{"Range": "bytes=0-0", "If-Range": '"of before"'})
    assert (stale[0], stale[2]) == (200, SEGMENT)


async def test_a_playlist_is_read_again_and_zipped_copies_have_an_etag_of_their_own(studio: Studio) -> None:
    id = await film(studio, await studio.person("ann"))
    path = f"/videos/{id}/p/index.m3u8"
    zipped = await get(studio, path, **{"Accept-Encoding": "gzip"})
    plain = await get(studio, path, **{"Accept-Encoding": "identity"})
    assert zipped[1]["Content-Encoding"] == "gzip"
    assert plain[2] == zipped[2]
    assert plain[1]["ETag"] != zipped[1]["ETag"]
    await studio.objects.put(f"videos/{id}/index.m3u8", b"#EXTM3U\n#new\n", "application/octet-stream")

    async def new() -> bool:
        return (await get(studio, path))[2] == b"#EXTM3U\n#new\n"

    await eventually(new, what="the new playlist")


HOSTILE = [
    "source",
    "..%2Fsource",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "v-240p-.m4s",
    "v-240p-00000000000.m4s",
    "V-240P-0.m4s",
    "index.m3u8%00.jpg",
    "index.m3u8%0A",
    "v-240p-%D9%A3.m4s",
    "thumb-own-xyz.webp",
    "text-en.srt",
    "index.html",
    "x" * 3000 + ".m4s",
]


async def test_only_names_of_ours_are_looked_for(studio: Studio) -> None:
    id = await film(studio, await studio.person("ann"))
    for name in HOSTILE:
        url = URL(str(studio.place.client.make_url(f"/videos/{id}/p/")) + name, encoded=True)
        async with studio.place.client.session.get(url, allow_redirects=False) as answer:
            assert answer.status == 404, name
    assert studio.wiring.video_files.reads == 0


async def test_what_is_not_there(studio: Studio) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann)
    for path in (
        f"/videos/{uuid4()}/p/index.m3u8",
        f"/videos/{id.upper()}/p/index.m3u8",
        "/videos/none/p/index.m3u8",
        f"/videos/{id}/p/v-240p-99.m4s",
        f"/videos/{id}/q/index.m3u8",
    ):
        assert (await get(studio, path))[0] == 404, path
    begun = await studio.begin(ann)
    assert (await get(studio, f"/videos/{begun}/p/index.m3u8"))[0] == 404


async def test_private_videos_are_for_their_owner(studio: Studio) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    id = await film(studio, ann, Visibility.PRIVATE)
    folder = await folder_of(ann, id)
    status, headers, _ = await get(studio, f"{folder}/v-240p-0.m4s")
    assert status == 200
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert (await get(studio, f"{folder}/index.m3u8"))[1]["Cache-Control"] == "private, no-cache"
    assert (await get(studio, f"/videos/{id}/p/index.m3u8"))[0] == 404
    await bob.call("GET", f"/api/v1/videos/{id}", expect=404)
    await studio.place.call("GET", f"/api/v1/videos/{id}", expect=404)


async def test_a_forged_or_foreign_grant_opens_nothing(studio: Studio) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann, Visibility.PRIVATE)
    other = await film(studio, ann, Visibility.PRIVATE)
    grant = (await folder_of(ann, id)).rpartition("/")[2]
    raw = bytearray(base64.urlsafe_b64decode(grant + "="))
    for place in (0, 8, 30, 45, len(raw) - 1):
        raw[place] ^= 1
        forged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
        raw[place] ^= 1
        assert (await get(studio, f"/videos/{id}/{forged}/index.m3u8"))[0] == 404, place
    last = chr(ord(grant[-1]) + 1)  # bits that a decoder does not look at
    for text in (grant[:-1] + last, grant + "A", grant[:-1], "A" * 75, "é" * 75):
        assert (await get(studio, f"/videos/{id}/{text}/index.m3u8"))[0] == 404, text
    assert (await get(studio, f"/videos/{other}/{grant}/index.m3u8"))[0] == 404
    live = studio.wiring.rights._grants.issue(Kind.LIVE, UUID(id), UUID(ann.id), uuid4())
    assert (await get(studio, f"/videos/{id}/{live}/index.m3u8"))[0] == 404


async def test_a_grant_is_good_for_its_time_and_its_holder(studio: Studio) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    id = await film(studio, ann, Visibility.PRIVATE)
    grants = studio.wiring.rights._grants
    now = time.time()
    for age, status in ((0, 200), (grants.seconds - 5, 200), (grants.seconds + 5, 403), (-1, 200), (-30, 403)):
        grants._clock = lambda age=age: now - age  # type: ignore[misc]
        made = grants.issue(Kind.VIDEO, UUID(id), UUID(ann.id), uuid4(), after=now)
        grants._clock = time.time
        assert (await get(studio, f"/videos/{id}/{made}/index.m3u8"))[0] == status, age
    signed_for_bob = grants.issue(Kind.VIDEO, UUID(id), UUID(bob.id), uuid4())
    assert (await get(studio, f"/videos/{id}/{signed_for_bob}/index.m3u8"))[0] == 403


async def lost(studio: Studio, path: str) -> float:
    """Seconds until it is refused."""
    began = time.monotonic()

    async def refused() -> float:
        assert (await get(studio, path))[0] in (403, 404)
        return time.monotonic() - began

    return float(await eventually(refused, within=10, every=0.02, what="the grant is void"))


async def test_followers_watch_while_they_follow(studio: Studio) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    id = await film(studio, ann, Visibility.FOLLOWERS)
    refused: dict[str, Any] = await bob.call("GET", f"/api/v1/videos/{id}", expect=403)
    assert refused["code"] == "followers_only"
    assert (await get(studio, f"/videos/{id}/p/index.m3u8"))[0] == 403
    await follow(bob, ann)
    path = f"{await folder_of(bob, id)}/v-240p-0.m4s"
    assert (await get(studio, path))[0] == 200
    # by another process, which tells nobody
    await studio.place.sql("delete from follows where follower_id = $1", UUID(bob.id))
    assert await lost(studio, path) < REVOKED_WITHIN


async def test_a_right_that_is_lost_is_lost_within_two_seconds(studio: Studio) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    await follow(bob, ann)
    films = [await film(studio, ann, Visibility.FOLLOWERS) for _ in range(4)]
    paths = [f"{await folder_of(bob, id)}/v-240p-0.m4s" for id in films]
    # as another process does it, which tells nobody
    for id, path, change in zip(
        films,
        paths,
        ("update videos set visibility = 'private'", "delete from videos", "update videos set suspended = true"),
        strict=False,
    ):
        assert (await get(studio, path))[0] == 200
        await studio.place.sql(f"{change} where id = $1", UUID(id))
        assert await lost(studio, path) < REVOKED_WITHIN, change
    assert (await get(studio, paths[3]))[0] == 200
    await studio.place.sql(
        "insert into session_revocations (session_id, at) select id, now() from sessions where user_id = $1",
        UUID(bob.id),
    )
    assert await lost(studio, paths[3]) < REVOKED_WITHIN


async def test_a_cache_in_front_asks_for_the_grant(studio: Studio) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann, Visibility.PRIVATE)
    folder = await folder_of(ann, id)
    assert (await get(studio, f"{folder}/grant?name=v-240p-0.m4s"))[0] == 204
    assert (await get(studio, f"/videos/{id}/p/grant"))[0] == 404


async def test_while_the_store_is_away_it_says_so(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage.objects import StoreError  # noqa: PLC0415

    id = await film(studio, await studio.person("ann"))

    async def away(key: str) -> bytes:
        raise StoreError("the store is away")

    monkeypatch.setattr(studio.objects, "get", away)
    status, headers, _ = await get(studio, f"/videos/{id}/p/v-240p-0.m4s")
    assert (status, headers["Retry-After"]) == (503, "1")
    monkeypatch.undo()
    assert (await get(studio, f"/videos/{id}/p/v-240p-0.m4s"))[0] == 200
