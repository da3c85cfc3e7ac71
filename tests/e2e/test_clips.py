"""Clips and trims in the browser: made of what is on air with the keyboard alone, watched, cut again, trimmed."""

from __future__ import annotations

import os
import re
from urllib.error import HTTPError

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.owner import FAULTS, WIDTHS
from tests.e2e.place import Place, window
from tests.support import eventually

MADE_WITHIN = 60_000
"""ms, on a busy machine."""


async def _pictures(page: Page, name: str) -> None:
    """For who looks at them: SHOTS names a folder."""
    folder = os.environ.get("SHOTS")
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate(FAULTS) == []
        if folder:
            await page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)


@pytest.mark.timeout(300)
async def test_a_clip_from_the_picture_on_air_to_its_trim(browser: Browser, place: Place) -> None:
    demo = await place.demo()

    async def long_enough() -> bool:
        try:
            seen = await place.call("GET", f"/live/{demo}/clips/range")
        except HTTPError:  # nothing has been shown yet
            return False
        return bool(seen["to"] - seen["from"] > 6)

    await eventually(long_enough, within=60, every=0.5, what="there is something to clip")
    maker = await place.register("clipper")
    context = await browser.new_context()
    await context.add_init_script(maker.session())
    live = await window(context, f"{place.http}/watch/{demo}")
    await live.plays()
    page = live.page
    await page.get_by_role("button", name="Clip", exact=True).press("Enter")
    panel = page.get_by_role("region", name="Make a clip")
    await expect(panel).to_be_visible()
    start, end = panel.get_by_label("Start"), panel.get_by_label("End")
    await expect(start).to_be_focused()
    lasted = float(await end.input_value()) - float(await start.input_value())
    for _ in range(10):
        await page.keyboard.press("ArrowRight")
    left = float(await end.input_value()) - float(await start.input_value())
    assert left == pytest.approx(lasted - 1.0, abs=0.15)
    await panel.get_by_label("Title").fill("That moment")
    await _pictures(page, "clip")
    await panel.get_by_role("button", name="Make clip").press("Enter")
    await expect(panel.get_by_text("Your clip is there.")).to_be_visible(timeout=MADE_WITHIN)
    await panel.get_by_role("link", name="Watch the clip").click()

    # a video of one's own, which says what it is of, and can be cut again
    await live.plays(0.5)
    await expect(page.get_by_role("heading", name="That moment")).to_be_visible()
    await expect(page.get_by_role("link", name="See where it is from")).to_have_attribute("href", f"/watch/{demo}")
    id = page.url.rpartition("/")[2]
    made = await place.call("GET", f"/videos/{id}", token=maker.access_token)
    of = made["clip_of"]
    assert (of["kind"], of["id"]) == ("broadcast", demo)
    assert of["end"] - of["start"] == pytest.approx(left, abs=0.3)
    lasted = made["duration"]
    assert 1.5 < lasted < left + 0.3, "less where the encoder was away meanwhile"
    await page.get_by_role("button", name="Clip", exact=True).click()
    await expect(panel).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(panel).to_have_count(0)

    async def ready() -> bool:
        return bool((await place.call("GET", f"/videos/{id}", token=maker.access_token))["state"] == "ready")

    await eventually(ready, within=60, every=0.5, what="the clip is ready")
    await page.goto(f"{place.http}/studio/videos")
    row = page.locator(".library-list > li")
    await row.get_by_role("button", name="Edit").click()
    trim = row.get_by_role("region", name="Trim")
    await trim.get_by_role("button", name="Trim…").click()
    for _ in range(10):
        await page.keyboard.press("ArrowRight")
    await _pictures(page, "trim")
    await trim.get_by_role("button", name="Trim the video").click()
    await page.get_by_role("dialog").get_by_role("button", name="Trim it").click()
    await expect(trim.get_by_role("button", name="Trim…")).to_be_visible(timeout=MADE_WITHIN)

    async def shorter() -> bool:
        seen = await place.call("GET", f"/videos/{id}", token=maker.access_token)
        return abs(seen["duration"] - (lasted - 1.0)) < 0.2

    await eventually(shorter, within=30, every=0.5, what="the video is shorter")
    await page.goto(f"{place.http}/video/{id}")
    await live.plays(0.5)
    assert [one for one in live.wrong if not re.search("404", one)] == []
