"""Going live from the studio with a camera of Chromium's own, and watching that with the short delay."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.e2e.owner import FAULTS
from tests.e2e.place import CHROMIUM_ARGUMENTS, Person, Place, Window, chromium, encoder, window
from tests.support import eventually

DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WIDTHS = (1280, 390)
SHOWS_LOW = """() => {
    const video = document.querySelector('.player video');
    return video.srcObject !== null && video.videoWidth > 0 && video.currentTime > 0.5;
}"""
HEARD = "() => document.querySelector('.player video').webkitAudioDecodedByteCount > 2000"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def equipped() -> AsyncIterator[Browser]:
    """A Chromium with a camera and a microphone, which it lets every page have."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=[*CHROMIUM_ARGUMENTS, *DEVICES])
        yield browser
        await browser.close()


class Studio:
    """Somebody before his studio. It is opened by the name localhost: cameras are for secure places."""

    def __init__(self, place: Place, person: Person, seen: Window) -> None:
        self.place = place
        self.person = person
        self.seen = seen
        self.page: Page = seen.page
        self.panel = self.page.locator(".studio-browser")
        self.state = self.page.locator(".studio-on .badge")
        self.sessions: list[str] = []
        self.converted: list[str] = []
        """Sound that was asked for in the codec that has to be made."""
        self.page.on("request", lambda asked: self.converted.append(asked.url) if "a-aac" in asked.url else None)
        self.page.on("response", lambda answer: self._note(answer.url, answer.status, answer.headers))

    def _note(self, url: str, status: int, headers: dict[str, str]) -> None:
        if url.endswith("/live/whip") and status == 201:
            self.sessions.append(headers["location"])

    async def go_live(self) -> None:
        await self.page.get_by_role("button", name="Use the camera").click()
        await self.page.get_by_role("button", name="Go live", exact=True).click()

    async def on_air(self) -> None:
        await expect(self.panel.get_by_text("On air from this browser")).to_be_visible()
        await expect(self.state).to_have_text("You are live")

    async def look(self) -> Any:
        """What the owner is told of the broadcast that is on."""
        mine = await self.place.call("GET", "/live/mine?limit=1", token=self.person.access_token)
        return await self.place.call("GET", f"/live/{mine['items'][0]['id']}", token=self.person.access_token)

    async def picture(self) -> tuple[int, int]:
        [video] = [track for track in (await self.look())["tracks"] if track["kind"] == "video"]
        return video["width"], video["height"]

    async def faults(self) -> list[str]:
        found = []
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": 800})
            found += [f"{width}: {fault}" for fault in await self.page.evaluate(FAULTS)]
        await self.page.set_viewport_size({"width": WIDTHS[0], "height": 800})
        return found

    async def end(self) -> None:
        await self.page.get_by_role("button", name="End broadcast").click()
        await self.page.get_by_role("dialog").get_by_role("button", name="End broadcast").click()
        await expect(self.page.locator(".past-row")).to_have_count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def studio(equipped: Browser, place: Place) -> AsyncIterator[Studio]:
    person = await place.register("camera")
    context = await equipped.new_context(viewport={"width": 1280, "height": 900})
    await context.add_init_script(person.session())
    seen = await window(context, f"{place.http.replace('127.0.0.1', 'localhost')}/studio")
    await expect(seen.page.get_by_role("button", name="Use the camera")).to_be_visible()
    yield Studio(place, person, seen)
    await context.close()


async def low_delay(page: Page) -> None:
    """By the keyboard: the bar may hide from a mouse that rests while a busy machine gets to the click."""
    await page.get_by_role("button", name="Low delay").press("Enter")


async def test_from_the_browser_to_viewers_and_to_the_end(studio: Studio, browser: Browser, place: Place) -> None:
    page = studio.page
    await page.get_by_label("Title").fill("From the browser")
    assert await studio.faults() == []
    await studio.go_live()
    await studio.on_air()
    await expect(page.locator(".studio-on h1")).to_have_text("From the browser")
    figures = studio.panel.locator(".measure strong")
    await expect(figures.nth(0)).to_have_text(re.compile(r"\d (k|M)bit/s"))
    await expect(figures.nth(1)).to_have_text(re.compile(r"\d+ fps"))
    await studio.panel.get_by_text("Devices and quality").click()
    assert await studio.faults() == []
    seen = await studio.look()
    assert [track["codec"].split(".")[0] for track in seen["tracks"]] == ["avc1", "opus"]

    viewer = await window(await browser.new_context(), f"{place.http}/watch/{seen['id']}")
    await viewer.plays()
    await viewer.page.wait_for_function(HEARD)
    await low_delay(viewer.page)
    await viewer.page.wait_for_function(SHOWS_LOW)
    for width in WIDTHS:
        await viewer.page.set_viewport_size({"width": width, "height": 800})
        await viewer.page.locator("#player").hover()
        assert await viewer.page.evaluate(FAULTS) == []

    await page.get_by_role("button", name="Mute the microphone").click()
    await expect(studio.panel.get_by_role("meter")).to_have_attribute("aria-valuetext", "silent")
    await page.get_by_role("button", name="You are muted").click()
    await expect(studio.panel.get_by_role("meter")).not_to_have_attribute("aria-valuetext", "silent")
    await studio.panel.get_by_label("Picture", exact=True).select_option("480")
    await eventually(lambda: within(studio.picture, 854, 480), within=40, every=0.3, what="a smaller picture")
    await viewer.page.wait_for_function("() => document.querySelector('.player video').videoWidth <= 854")

    await page.get_by_role("button", name="Stop sending").click()
    await expect(studio.state).to_have_text("Interrupted")
    await page.get_by_role("button", name="Go live", exact=True).click()
    await studio.on_air()
    assert (await studio.look())["id"] == seen["id"]
    await studio.end()
    await expect(studio.panel.get_by_role("button", name="Go live", exact=True)).to_be_visible()
    assert studio.converted == []
    assert studio.seen.wrong == []
    assert viewer.wrong == []


async def within(picture: Callable[[], Any], width: int, height: int) -> bool:
    wide, high = await picture()
    return bool(0 < wide <= width and 0 < high <= height)


async def test_it_comes_back_by_itself(studio: Studio) -> None:
    await studio.go_live()
    await studio.on_air()
    [cut] = studio.sessions
    id = (await studio.look())["id"]
    await studio.place.call("DELETE", cut.removeprefix("/api/v1"), token=studio.person.access_token)
    await eventually(lambda: len(studio.sessions) == 2, within=40, what="another session")
    await studio.on_air()
    assert (await studio.look())["id"] == id
    await studio.end()


async def test_who_is_refused_reads_why(studio: Studio, place: Place, ffmpeg: str) -> None:
    started = await place.call("POST", "/live/start", {"title": "Taken"}, studio.person.access_token)
    async with encoder(ffmpeg, f"{place.rtmp}/{started['stream_key']}"):
        await expect(studio.state).to_have_text("You are live")
        await studio.go_live()
        await expect(studio.panel.get_by_role("alert")).to_contain_text("encoder")
        await expect(studio.panel.get_by_role("button", name="Go live", exact=True)).to_be_enabled()
        assert studio.sessions == []


async def test_who_cannot_watch_so_watches_with_the_usual_delay(browser: Browser, place: Place, ffmpeg: str) -> None:
    """B-frames that others refer to are nothing for WebRTC."""
    streamer = await place.register("streamer")
    started = await place.call("POST", "/live/start", {"title": "B-frames"}, streamer.access_token)
    process = await asyncio.create_subprocess_exec(
        *[ffmpeg, "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-pix_fmt", "yuv420p"],
        *["-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "3", "-b_strategy", "0"],
        *["-x264-params", "b-pyramid=normal"],
        *["-f", "flv", f"{place.rtmp}/{started['stream_key']}"],
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:

        async def live() -> bool:
            return bool((await place.call("GET", f"/live/{started['id']}"))["state"] == "live")

        await eventually(live, every=0.1)
        viewer = await window(await browser.new_context(), f"{place.http}/watch/{started['id']}")
        await viewer.plays()
        await low_delay(viewer.page)
        await expect(viewer.page.get_by_text("You watch with the usual one")).to_be_visible()
        await expect(viewer.page.get_by_role("button", name="Low delay")).to_have_attribute("aria-pressed", "false")
        await viewer.plays()
        assert viewer.wrong == []
    finally:
        process.terminate()
        await process.wait()
