"""The MPD plays in dash.js and in Shaka Player, from the same files as HLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Route

from tests.e2e.place import Place, Window

MODULES = Path(__file__).parent.parent.parent / "node_modules"
PLAYERS = {
    "dash.js": (
        MODULES / "dashjs/dist/modern/umd/dash.all.min.js",
        """(url) => {
            window.player = dashjs.MediaPlayer().create();
            player.on('error', (event) => { window.failed = JSON.stringify(event.error ?? event); });
            player.initialize(document.querySelector('video'), url, true);
        }""",
    ),
    "shaka": (
        MODULES / "shaka-player/dist/shaka-player.compiled.js",
        # not awaited: the test waits for the picture, and not for ever
        """(url) => {
            shaka.polyfill.installAll();
            window.player = new shaka.Player();
            const video = document.querySelector('video');
            const failed = (error) => { window.failed = JSON.stringify(error); };
            player.addEventListener('error', (event) => failed(event.detail));
            player.attach(video).then(() => player.load(url)).then(() => video.play()).catch(failed);
        }""",
    ),
}


@pytest.mark.parametrize("name", sorted(PLAYERS))
async def test_the_mpd_plays(browser: Browser, place: Place, name: str) -> None:
    library, start = PLAYERS[name]
    assert library.is_file(), "run `npm ci --ignore-scripts`"
    demo = await place.demo()
    page = await browser.new_page()

    async def blank(route: Route) -> None:
        # a page of the same host without our policy, so that the library can be put into it
        await route.fulfill(
            body='<!doctype html><div class="player"><video muted></video></div>', content_type="text/html"
        )

    await page.route("**/blank", blank)
    await page.goto(f"{place.http}/blank")
    await page.add_script_tag(path=str(library))
    await page.evaluate(start, f"{place.http}/live/{demo}/p/index.mpd")
    try:
        await Window(page).plays(beyond=4, within=60)
    finally:
        failed = await page.evaluate("window.failed")
    assert failed is None
    video = page.locator("video")
    assert await video.evaluate("(video) => video.videoWidth") > 0
    assert await video.evaluate("(video) => video.webkitAudioDecodedByteCount") > 0
