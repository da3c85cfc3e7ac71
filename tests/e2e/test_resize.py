"""A sender by WebRTC that changes the size of its picture over and over: players in Chromium play on."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request

from playwright.async_api import Browser

from tests.e2e.place import Place
from tests.e2e.test_dash import MODULES, PLAYERS
from tests.e2e.test_renditions import HLS, empty
from tests.support import eventually

WATCHED = """() => {
    const video = document.querySelector('video');
    const seen = window.seen = { sizes: [], jumps: 0, at: 0 };
    video.addEventListener('resize', () => seen.sizes.push(video.videoWidth));
    video.addEventListener('timeupdate', () => { seen.at = video.currentTime; });
    video.addEventListener('seeking', () => {
        if (seen.sizes.length > 1 && video.currentTime > seen.at) seen.jumps += 1;
    });
}"""
TOLD = """() => {
    const { buffered, currentTime, readyState } = document.querySelector('video');
    const ranges = [...Array(buffered.length).keys()].map((n) => [buffered.start(n), buffered.end(n)]);
    return { ...seen, buffered: ranges, currentTime, readyState, failed: window.failed ?? null };
}"""
PLAYED = "seen.sizes.length >= 5 && document.querySelector('video').currentTime > 6 || !!window.failed"
"""By then each size was shown more than once."""


async def test_players_play_over_changes_of_size(browser: Browser, place: Place) -> None:
    person = await place.register("resizer")
    started = await place.call("POST", "/live/start", {"title": "Resized"}, person.access_token)
    media = f"{place.http}/live/{started['id']}/p"
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.whip_publisher", started["ingest"]["whip"], started["stream_key"],
        "--resize", "1.4",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:

        async def begun() -> bool:
            return bool((await place.call("GET", f"/live/{started['id']}"))["state"] == "live")

        await eventually(begun, every=0.1)
        hls = await empty(browser, place, MODULES / "hls.js/dist/hls.min.js")
        dash = await empty(browser, place, PLAYERS["dash.js"][0])
        # a manifest has closed segments, a playlist waits for the first part
        await eventually(lambda: status(f"{media}/index.mpd"), every=0.1)
        for page, start, name in ((hls, HLS, "index.m3u8"), (dash, PLAYERS["dash.js"][1], "index.mpd")):
            await page.evaluate(WATCHED)
            await page.evaluate(start, f"{media}/{name}")
        for page in (hls, dash):
            try:
                await page.wait_for_function(PLAYED, timeout=60_000)
            finally:
                told = await page.evaluate(TOLD)
            # no hole in what it has, nothing was jumped over, and nothing failed
            told["page"] = "hls.js" if page is hls else "dash.js"
            assert told["failed"] is None
            assert len(told["buffered"]) == 1, told
            assert told["jumps"] == 0, told
            assert set(told["sizes"]) == {320, 192}, told
    finally:
        publisher.kill()
        await publisher.wait()


async def status(url: str) -> bool:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    return await asyncio.to_thread(ask)
