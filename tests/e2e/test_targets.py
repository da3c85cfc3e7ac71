"""The studio's list of services that broadcasts go on to."""

from __future__ import annotations

import re

from playwright.async_api import Browser, expect

from tests.e2e.place import Place, encoder, window

KEY = "live_from_elsewhere_12Zx"


async def test_a_service_is_added_watched_changed_and_deleted(browser: Browser, place: Place, ffmpeg: str) -> None:
    owner = await place.register("targets")
    made = await place.call("POST", "/live/start", {"title": "Elsewhere too"}, owner.access_token)
    context = await browser.new_context()
    await context.add_init_script(owner.session())
    studio = await window(context, f"{place.http}/studio")
    page = studio.page
    panel = page.locator(".studio-targets")
    await panel.get_by_text("Add a service").click()
    form = panel.get_by_role("form", name="Add a service")
    await form.get_by_label("Name").fill("Other place")
    await form.get_by_label("Server").fill("rtmp://10.0.0.1/live")
    await form.get_by_role("button", name="Add it").click()
    await expect(form.locator(".field", has_text="Stream key").locator(".wrong")).to_have_text("Fill this in.")
    await form.get_by_label("Stream key").fill(KEY)
    await form.get_by_role("button", name="Add it").click()
    await expect(form.locator(".field", has_text="Server").locator(".wrong")).to_contain_text("private")
    await form.get_by_label("Server").fill("rtmp://nowhere.invalid/live")
    await form.get_by_role("button", name="Add it").click()
    row = panel.locator(".rows > li")
    await expect(row).to_contain_text("rtmp://nowhere.invalid/live, key …12Zx")
    await expect(row.locator(".badge")).to_have_text("On")
    await expect(panel.locator("details > form [name=key]").first).to_have_value("")
    assert KEY not in await page.content()

    async with encoder(ffmpeg, f"{made['ingest']['rtmp']}"):
        await expect(row.locator(".badge")).to_have_text("Tries again", timeout=30_000)
        await expect(row.get_by_role("status")).to_contain_text("has no address")
        await expect(row.get_by_role("button", name="Try now: Other place")).to_be_visible()
        await row.get_by_role("button", name="Stop: Other place").click()
        await expect(row.locator(".badge")).to_have_text("Stopped", timeout=20_000)
        await expect(row.get_by_role("button", name="Start: Other place")).to_be_visible()
        await expect(page.locator(".events li", has_text="Elsewhere").first).to_contain_text(
            re.compile("no address|stopped"), timeout=20_000
        )

    await row.get_by_text("Change").click()
    await row.get_by_label("Name").fill("New name")
    await row.get_by_role("button", name="Save").click()
    await expect(row.locator("strong")).to_have_text("New name")
    await row.get_by_role("button", name="Turn off: New name").click()
    await expect(row.locator(".badge")).to_have_text("Off")
    await row.get_by_role("button", name="Delete: New name").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    await expect(row).to_have_count(0)
    assert studio.wrong == []
    await context.close()
