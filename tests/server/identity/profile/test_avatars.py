"""Avatars over HTTP: taken by content, kept as new pictures under new names, and gone when they are replaced."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.identity.profile.avatars import CHECK_JOB
from tests.server.identity.privacy.place import Person, Place, picture, place

ME = "/api/v1/users/me"
RED, GREEN = picture(), picture((30, 160, 60))
TRUNCATED = RED[:-40]


@pytest.fixture
async def small(tmp_path: Path, database_url: str) -> AsyncIterator[Place]:
    """A server that takes pictures of 20 kB."""
    async with place(tmp_path, database_url, avatar_max_bytes=20_000) as started:
        yield started


async def stored(here: Place) -> list[str]:
    return [key async for key, _ in here.wiring.objects.list("avatars/")]


async def put(ada: Person, data: Any, *, expect: int = 200, **headers: str) -> Any:
    return await ada.call("PUT", ME + "/avatar", data=data, expect=expect, headers=headers)


async def test_an_avatar_is_set_shown_replaced_and_removed(here: Place) -> None:
    ada = await here.register("ada")
    first = (await put(ada, RED, **{"Content-Type": "text/html"}))["avatar"]  # what it claims to be does not matter
    for address, side in zip((first["small"], first["medium"], first["large"]), (64, 256, 512), strict=True):
        async with here.client.get(address) as answer:
            assert answer.status == 200
            assert answer.content_type == "image/webp"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            shown = await asyncio.to_thread(Image.open, io.BytesIO(await answer.read()))
            assert (shown.format, shown.size) == ("WEBP", (side, side))
            tag = answer.headers["ETag"]
        async with here.client.get(address, headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with here.client.head(address) as answer:
            assert (answer.status, answer.headers["ETag"]) == (200, tag)
    assert (await here.call("GET", "/api/v1/users/ada"))["avatar"] == first
    second = (await put(ada, GREEN))["avatar"]
    assert second["small"] != first["small"]
    await here.idle()
    assert len(await stored(here)) == 3
    await here.call("GET", first["small"], expect=404)
    await here.call("GET", second["small"])
    await ada.call("DELETE", ME + "/avatar", expect=204)
    await ada.call("DELETE", ME + "/avatar", expect=204)
    await here.idle()
    assert await stored(here) == []
    assert (await ada.call("GET", ME))["avatar"] is None


async def test_what_is_refused(small: Place) -> None:
    ada = await small.register("ada")
    for data, status, code in (
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not_a_picture"),
        (b"GIF8", 415, "not_a_picture"),
        (TRUNCATED, 422, "bad_picture"),
        (bytes(20_001), 413, "body_too_large"),
        (b"", 400, "malformed_body"),
    ):
        problem = await put(ada, data, expect=status, **{"Content-Type": "image/png"})
        assert problem["code"] == code

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(4096)

    # without a length, it is cut off when it is too long
    async with small.client.put(
        ME + "/avatar", data=endless(), headers={"Authorization": f"Bearer {ada.token}"}
    ) as answer:
        assert answer.status == 413
    await small.call("PUT", ME + "/avatar", data=RED, expect=401)
    for path in ("/avatars/x/64.webp", f"/avatars/{'a' * 32}/64.webp", f"/avatars/{'a' * 32}/65.webp",
                 f"/avatars/{'a' * 32}/..%2f64.webp", "/avatars/..%2f..%2fdeleted/64.webp"):  # fmt: skip
        await small.call("GET", path, expect=404)
    assert await stored(small) == []


async def test_two_at_once_leave_one(here: Place) -> None:
    ada = await here.register("ada")
    await asyncio.gather(*(put(ada, data) for data in (RED, GREEN, RED)))
    await here.idle()
    assert len(await stored(here)) == 3
    await here.call("GET", (await ada.call("GET", ME))["avatar"]["large"])


async def test_files_that_a_crash_has_left_are_deleted(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await here.register("ada")

    async def gone(*_: object) -> None:
        raise ConnectionResetError("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(here.wiring.avatars, "_set", gone)
        await put(ada, RED, expect=500)
    kept = (await put(ada, GREEN))["avatar"]
    assert len(await stored(here)) == 6
    await here.due(CHECK_JOB)
    assert len(await stored(here)) == 3
    await here.call("GET", kept["small"])
