"""Videos that are encrypted, in the browser: our page by hls.js, other people's players by the manifest."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Route, expect

from tests.e2e.place import Person, Place, Window, window
from tests.e2e.test_dash import PLAYERS
from tests.e2e.test_videos import clip
from tests.support import eventually

LICENSES = {
    "dash.js": "player.setProtectionData({'org.w3.clearkey': {serverURL: license}});",
    "shaka": "player.configure({drm: {servers: {'org.w3.clearkey': license}}});",
}
"""What a page has to tell the player."""


async def film(place: Place, owner: Person, path: Path) -> str:
    """Uploaded by the form, and playable."""
    form = aiohttp.FormData()
    form.add_field("title", "Behind a lock")
    form.add_field("visibility", "public")
    form.add_field("file", await asyncio.to_thread(path.read_bytes), filename="a.mp4", content_type="video/mp4")
    headers = {"Authorization": f"Bearer {owner.access_token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{place.http}/api/v1/videos/upload", data=form, headers=headers) as answer,
    ):
        id = str((await answer.json())["id"])

    async def ready() -> bool:
        return bool((await place.call("GET", f"/videos/{id}", token=owner.access_token))["state"] == "ready")

    await eventually(ready, within=90, every=0.3, what="the video is ready")
    return id


async def choose(place: Place, owner: Person, id: str, scheme: str) -> dict[str, Any]:
    shown: dict[str, Any] = await place.call("PUT", f"/videos/{id}", {"protection": scheme}, owner.access_token)
    return shown


@pytest.mark.timeout(300)  # it encodes, on a machine that does much else
async def test_encrypted_videos_play_where_they_say(
    browser: Browser, place: Place, ffmpeg: str, tmp_path: Path
) -> None:
    owner = await place.register("locks")
    id = await film(place, owner, await clip(ffmpeg, tmp_path))
    context = await browser.new_context()
    await context.add_init_script(owner.session())

    # chosen in the editor, with a sentence what it is good for
    library = await window(context, f"{place.http}/studio/videos")
    row = library.page.locator(".library-list > li")
    await row.get_by_role("button", name="Edit").click()
    await expect(row.get_by_text("does not stop anyone who may watch from recording it")).to_be_visible()
    await row.get_by_label("Encryption").select_option("aes-128")
    await row.get_by_role("button", name="Save").click()
    await expect(row.get_by_text("Saved.")).to_be_visible()
    seen: list[str] = []
    watching = Window(await context.new_page())
    watching.page.on("request", lambda request: seen.append(f"{request.method} {request.url.rpartition('/')[2]}"))
    await watching.page.goto(f"{place.http}/video/{id}")
    await watching.plays()
    assert any(one.endswith(".key") for one in seen)
    assert not any(one == "POST license" for one in seen)

    # it changes while somebody watches: what he asks for next is of before, and he goes on with what is now
    asked, changed = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await changed.wait()
        await route.continue_()

    await watching.page.route("**/*-0.m4s", hold)
    seen.clear()
    await watching.page.reload()
    await asyncio.wait_for(asked.wait(), 30)
    await choose(place, owner, id, "clearkey")
    changed.set()
    await watching.plays()
    assert "POST license" in seen
    assert await watching.page.evaluate("Boolean(document.querySelector('.player video').mediaKeys)")
    assert library.wrong == watching.wrong == []
    await context.close()

    license = (await place.call("GET", f"/videos/{id}"))["playback"]["license"]
    for name in sorted(PLAYERS):
        library_file, start = PLAYERS[name]
        page = await browser.new_page()
        await page.route("**/blank", blank)
        await page.goto(f"{place.http}/blank")
        await page.add_script_tag(path=str(library_file))
        at = start.index("player.initialize" if name == "dash.js" else "player.attach")
        await page.evaluate(
            start[:at].replace("(url) =>", "([url, license]) =>") + LICENSES[name] + start[at:],
            [f"{place.http}/videos/{id}/p/index.mpd", license],
        )
        try:
            await Window(page).plays(beyond=1, within=60)
        finally:
            failed = await page.evaluate("window.failed")
        assert failed is None, name
        assert await page.evaluate("Boolean(document.querySelector('video').mediaKeys)"), name
        await page.close()


async def blank(route: Route) -> None:
    # a page of the same host without our policy, so that the libraries can be put into it
    await route.fulfill(body='<!doctype html><div class="player"><video muted></video></div>', content_type="text/html")
