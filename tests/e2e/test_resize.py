"""A sender by WebRTC that changes the size of its picture over and over: players in Chromium play on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from playwright.async_api import Browser

from tests.e2e.place import Place
from tests.e2e.test_dash import MODULES, PLAYERS
from tests.e2e.test_renditions import HLS, empty
from tests.support import eventually

HLS_JS = MODULES / "hls.js/dist/hls.min.js"
WATCHED = """() => {
    const sizes = window.sizes = [];
    const video = document.querySelector('video');
    video.addEventListener('resize', () => sizes.push(video.videoWidth));
}"""
PLAYED = "sizes.length >= 5 && document.querySelector('video').currentTime > 5 || !!window.failed"
"""By then each size was shown more than once."""
WHOLE = """() => {
    const { buffered, duration } = document.querySelector('video');
    return !!window.failed || (buffered.length && buffered.end(buffered.length - 1) > duration - 0.5);
}"""
BUFFERED = """() => {
    const { buffered } = document.querySelector('video');
    return [...Array(buffered.length).keys()].map((n) => [buffered.start(n), buffered.end(n)]);
}"""


async def test_players_play_over_changes_of_size(browser: Browser, place: Place) -> None:
    person = await place.register("resizer")
    started: Any = await place.call("POST", "/live/start", {"title": "Resized"}, person.access_token)
    id = started["id"]
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.whip_publisher", started["ingest"]["whip"], started["stream_key"],
        "--resize", "1.4",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:

        async def begun() -> bool:
            return bool((await place.call("GET", f"/live/{id}"))["state"] == "live")

        await eventually(begun, within=60, every=0.1)
        page = await empty(browser, place, HLS_JS)
        await page.evaluate(WATCHED)
        await page.evaluate(HLS, f"{place.http}/live/{id}/p/index.m3u8")
        await page.wait_for_function(PLAYED, timeout=90_000)
        assert await page.evaluate("window.failed") is None
        assert set(await page.evaluate("sizes")) == {320, 192}
        await place.call("POST", "/live/end", {"stream_id": id}, person.access_token)
    finally:
        publisher.kill()
        await publisher.wait()

    async def recorded() -> Any:
        return (await place.call("GET", f"/live/{id}"))["recording"]

    recording = await eventually(recorded, within=60, every=0.2)
    listed = await page.evaluate(
        "async (url) => (await fetch(url)).text()", f"{place.http}/live/{id}/p/recording-v.m3u8"
    )
    assert listed.count("#EXT-X-MAP") >= 5
    assert "#EXT-X-DISCONTINUITY" not in listed
    dash, start = PLAYERS["dash.js"]
    for library, begin, url in ((HLS_JS, HLS, recording["hls"]), (dash, start, recording["dash"])):
        page = await empty(browser, place, library)
        await page.evaluate(begin, url)
        await page.wait_for_function(WHOLE, timeout=60_000)
        assert await page.evaluate("window.failed") is None
        # picture and sound without a hole, over all changes
        assert len(ranges := await page.evaluate(BUFFERED)) == 1, (url, ranges)
