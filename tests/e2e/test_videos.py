"""Videos in the browser: uploaded, watched while they are prepared, changed, found, liked, deleted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.owner import FAULTS, WIDTHS
from tests.e2e.place import Place, window

PREPARED_WITHIN = 90_000
"""ms; encoding takes its time on a busy machine."""

CAPTIONS = "1\n00:00:00,000 --> 00:00:03,000\nA moving picture\n"


async def clip(ffmpeg: str, folder: Path, *, seconds: float = 4, name: str = "The bridge at night") -> Path:
    """What can hardly be called a film."""
    path = folder / f"{name}.mp4"
    sources = ["-f", "lavfi", "-i", "testsrc2=size=426x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    cut = ["-t", str(seconds)]
    process = await asyncio.create_subprocess_exec(ffmpeg, "-loglevel", "error", *sources, *coding, *cut, str(path))
    assert await process.wait() == 0
    return path


@pytest.mark.timeout(300)  # it encodes, on a machine that does much else
async def test_a_video_from_the_file_to_its_end(browser: Browser, place: Place, ffmpeg: str, tmp_path: Path) -> None:
    owner = await place.register("films")
    context = await browser.new_context()
    await context.add_init_script(owner.session())
    library = await window(context, f"{place.http}/studio/videos")
    page = library.page
    await expect(page.get_by_text("Nothing yet. Drop a file above.")).to_be_visible()
    await page.set_input_files("#choose", str(await clip(ffmpeg, tmp_path)))
    await expect(page.locator(".upload")).to_contain_text("Uploaded. It is being prepared.")
    row = page.locator(".library-list > li")
    await expect(row.locator(".past-text")).to_contain_text(
        re.compile("Playable|view"), timeout=PREPARED_WITHIN, use_inner_text=True
    )

    # watched by its owner, private as it is from the start
    name = row.get_by_role("link", name="The bridge at night")
    address = await name.get_attribute("href")
    assert address is not None
    shown = await window(context, f"{place.http}{address}")
    await shown.plays()
    assert await shown.page.evaluate("document.querySelector('.player video').videoWidth") == 426
    async with shown.page.expect_response(f"**/api/v1{address.replace('video', 'videos')}") as renewed:
        pass  # its address is good for nine seconds
    assert (await (await renewed.value).json())["playback"]["renew_in"] == 4.5
    stranger = await place.register("stranger")
    others = await browser.new_context()
    await others.add_init_script(stranger.session())
    outside = await window(others, f"{place.http}{address}")
    await expect(outside.page.locator(".curtain")).to_contain_text(re.compile("no such video|not for everybody"))

    # described, with chapters and captions, and shown to everybody
    await row.get_by_role("button", name="Edit").click()
    await row.get_by_label("Title").fill("The bridge by day")
    await row.get_by_label("Description").fill("0:00 Before\n0:01 On it\n0:02 Behind")
    await row.get_by_label("Who can see it").select_option("public")
    await row.get_by_role("button", name="Save").click()
    await expect(row.get_by_text("Saved.")).to_be_visible()
    await row.get_by_label("Language").fill("en")
    await row.locator("input[type=file][accept^='.srt']").set_input_files(
        {"name": "en.srt", "mimeType": "text/plain", "buffer": CAPTIONS.encode()}
    )
    await expect(row.get_by_text("English · 1 lines")).to_be_visible()
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate(FAULTS) == []

    # another file in its place: it keeps its address, and what was made of it
    other = await clip(ffmpeg, tmp_path, seconds=3, name="The bridge in fog")
    await row.locator("input[type=file][accept^='video']").set_input_files(str(other))
    await expect(row.get_by_text(re.compile("The new file is"))).to_be_visible()
    await expect(row.get_by_text(re.compile("The new file is"))).to_have_count(0, timeout=PREPARED_WITHIN)
    await expect(row.get_by_text("Choose another file")).to_be_visible()
    await expect(row.get_by_text("English · 1 lines")).to_be_visible()
    await expect(row.locator(".chip")).to_have_text("0:03")

    # found, watched and liked by somebody else
    await outside.page.goto(f"{place.http}/videos?q=bridge")
    await outside.page.get_by_role("link", name=re.compile("The bridge by day")).click()
    await outside.plays()
    await expect(outside.page.locator(".chapter")).to_have_count(3)
    await outside.page.locator(".chapter", has_text="Behind").click()
    await outside.page.wait_for_function("() => document.querySelector('.player video').currentTime >= 1.9")
    await outside.page.get_by_label("Captions").select_option("en")
    await outside.page.wait_for_function(
        """() => [...document.querySelector('.player video').textTracks].some(
            (one) => one.mode === 'showing' && one.cues?.length)"""
    )
    await outside.page.get_by_role("button", name="Like").click()
    await expect(outside.page.get_by_role("button", name=re.compile("Liked"))).to_contain_text("1")
    for width in WIDTHS:
        await outside.page.set_viewport_size({"width": width, "height": 800})
        assert await outside.page.evaluate(FAULTS) == []

    await row.get_by_role("button", name="Delete: The bridge by day").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)
    await outside.page.reload()
    await expect(outside.page.locator(".curtain")).to_contain_text("no such video")
    assert library.wrong == shown.wrong == outside.wrong == []
    await context.close()
    await others.close()
