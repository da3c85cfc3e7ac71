"""A broadcast with Opus in real players: they choose what costs nothing, and can change to AAC and back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route

from tests.e2e.place import Place, Window
from tests.e2e.test_dash import MODULES, PLAYERS
from tests.support import eventually

ENCODER = Path(__file__).parents[1] / "media" / "ingest" / "opus_encoder.py"
HLS = """(url) => {
    window.player = new Hls({lowLatencyMode: true});
    const video = document.querySelector('video');
    window.asked = [];
    player.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.failed = data.details; });
    player.on(Hls.Events.FRAG_LOADED, (_, data) => asked.push(data.part?.relurl ?? data.frag.relurl ?? ''));
    player.loadSource(url);
    player.attachMedia(video);
    video.play();
}"""


@contextlib.asynccontextmanager
async def opus(place: Place) -> AsyncIterator[str]:
    """The id of a live broadcast with H.264 and Opus."""
    person = await place.register("opus")
    started: Any = await place.call("POST", "/live/start", {"title": "Opus"}, person.access_token)
    process = await asyncio.create_subprocess_exec(sys.executable, str(ENCODER), started["ingest"]["rtmp"], "300")
    try:

        async def live() -> bool:
            return bool((await place.call("GET", f"/live/{started['id']}"))["state"] == "live")

        await eventually(live, within=60)
        yield started["id"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def empty(browser: Browser, place: Place, library: Path) -> Page:
    """A page of the same host without our policy, with the library in it."""
    page = await browser.new_page()

    async def blank(route: Route) -> None:
        body = '<!doctype html><div class="player"><video muted></video></div>'
        await route.fulfill(body=body, content_type="text/html")

    await page.route("**/blank", blank)
    await page.goto(f"{place.http}/blank")
    await page.add_script_tag(path=str(library))
    return page


async def test_players_change_between_opus_and_aac(browser: Browser, place: Place) -> None:
    async with opus(place) as id:
        page = await empty(browser, place, MODULES / "hls.js/dist/hls.min.js")
        await page.evaluate(HLS, f"{place.http}/live/{id}/p/index.m3u8")
        seen = Window(page)
        await seen.plays(beyond=0.5, within=60)
        codecs = await page.evaluate("player.levels.map((level) => level.audioCodec)")
        assert codecs == ["opus", "mp4a.40.2"]
        chosen = await page.evaluate("player.levels[player.loadLevel].audioCodec")
        for codec in ("mp4a.40.2", "opus", "mp4a.40.2"):
            place_of = codecs.index(codec)
            await page.evaluate("(level) => { asked.length = 0; player.currentLevel = level; }", place_of)
            letter = "a-aac" if codec != "opus" else "a-"
            await page.wait_for_function(
                "(letter) => asked.some((name) => name.startsWith(letter))"
                " && player.levels[player.currentLevel]?.audioCodec === player.levels[player.loadLevel].audioCodec",
                arg=letter,
                timeout=60_000,
            )
            await seen.plays(beyond=0.5, within=60)
            assert await page.evaluate("window.failed") is None
        assert chosen == "opus"  # what is there anyway

        # while AAC is being made the manifest has it too; a DASH player plays beside the other
        library, start = PLAYERS["shaka"]
        other = await empty(browser, place, library)
        await other.evaluate(start, f"{place.http}/live/{id}/p/index.mpd")
        try:
            await Window(other).plays(beyond=0.5, within=60)
        finally:
            assert await other.evaluate("window.failed") is None
        found = await other.evaluate("player.getVariantTracks().map((track) => track.audioCodec).sort()")
        assert found == ["mp4a.40.2", "opus"]
        await other.evaluate(
            """() => {
                player.configure({abr: {enabled: false}});
                const now = player.getVariantTracks().find((track) => track.active);
                player.selectVariantTrack(player.getVariantTracks().find((t) => t.audioCodec !== now.audioCodec), true);
            }"""
        )
        await Window(other).plays(beyond=0.5, within=60)
        assert await other.evaluate("window.failed") is None
