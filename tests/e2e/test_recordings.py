"""A broadcast that has ended, as a video in the browser: two sessions of different sizes play through as one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.place import Place, encoder, window
from tests.support import eventually


@pytest.mark.timeout(300)
async def test_what_was_broadcast_plays_as_a_video(browser: Browser, place: Place, ffmpeg: str) -> None:
    owner = await place.register("keeps")
    started = await place.call("POST", "/live/start", {"title": "Two halves"}, owner.access_token)
    id, url = started["id"], started["ingest"]["rtmp"]

    async def state(wanted: str) -> Any:
        async def there() -> Any:
            shown = await place.call("GET", f"/live/{id}")
            return shown if shown["state"] == wanted else None

        return await eventually(there, within=60, what=f"the broadcast is {wanted}")

    for size in ("426x240", "320x180"):
        async with encoder(ffmpeg, url, size=size):
            await state("live")
            await asyncio.sleep(3)  # so much is recorded
        await state("interrupted")
    await place.call("POST", "/live/end", {"stream_id": id}, owner.access_token)

    context = await browser.new_context()
    watch = await window(context, f"{place.http}/watch/{id}")
    link = watch.page.get_by_role("link", name="Watch as a video")
    await expect(link).to_be_visible(timeout=60_000)
    await link.click()
    await expect(watch.page.get_by_role("heading", name="Two halves")).to_be_visible()
    # the size of each session is shown where it is, and the end is reached without a halt between them
    await watch.page.wait_for_function(
        "() => { const video = document.querySelector('.player video'); return video && video.videoHeight === 240; }",
        timeout=60_000,
    )
    await watch.page.wait_for_function(
        """() => {
            const video = document.querySelector('.player video');
            return video.videoHeight === 180 && video.currentTime > 4;
        }""",
        timeout=60_000,
    )
    await expect(watch.page.get_by_role("link", name="Chat replay")).to_have_attribute("href", f"/watch/{id}")
    assert watch.wrong == []
    await context.close()
