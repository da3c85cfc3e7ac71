"""A broadcaster's way: an account, a broadcast, a key, an encoder, its figures, its end, its recording."""

from __future__ import annotations

import re

from playwright.async_api import Browser, expect

from tests.e2e.place import PASSWORD, Place, encoder, window


async def test_from_nothing_to_a_recording_with_its_chat(browser: Browser, place: Place, ffmpeg: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    studio = await window(context, f"{place.http}/studio")
    page = studio.page
    await page.get_by_label("E-mail").fill("lovelace@example.org")
    await page.get_by_label("Username").fill("lovelace")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    await page.get_by_label("Title").fill("Notes on the engine")
    await page.get_by_label("Description").fill("First line")
    await page.get_by_role("button", name="Create broadcast").click()
    await expect(page.locator("#copy-key")).to_have_value(re.compile("^•{16,}$"))
    await page.get_by_role("button", name="Show: Stream key").click()
    await expect(page.locator("#copy-key")).to_have_value(re.compile(r"^[\w-]{16,}$"))
    key = await page.locator("#copy-key").input_value()
    server = await page.locator("#copy-rtmp").input_value()
    assert server.startswith("rtmp://")
    command = page.locator("#copy-ffmpeg")
    await expect(command).to_have_value(re.compile("^ffmpeg .*/•{16,}$"))
    assert key not in await page.content()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy: Or try it with ffmpeg").click()
    assert (await page.evaluate("navigator.clipboard.readText()")).endswith(f"/{key}")
    await page.get_by_role("button", name="Show: Or try it with ffmpeg").click()
    assert (await command.input_value()).endswith(f"/{key}")
    await page.get_by_role("button", name="Copy: Stream key").click()
    assert await page.evaluate("navigator.clipboard.readText()") == key

    async with encoder(ffmpeg, f"{server}/{key}", keys=6):
        await expect(page.locator(".studio-on .badge")).to_have_text("You are live", timeout=20_000)
        await studio.plays(within=30)  # the own preview
        await expect(page.locator(".measure strong").nth(0)).to_have_text(re.compile(r"\d (k|M)bit/s"), timeout=15_000)
        await expect(page.locator(".measure strong").nth(1)).to_have_text(re.compile(r"2\d\.\d fps"), timeout=30_000)
        await expect(page.locator(".measure strong").nth(2)).to_have_text(re.compile(r"\d\.\d s"), timeout=30_000)
        await expect(page.locator(".advice li").first).to_contain_text("2 s", timeout=30_000)
        await expect(page.locator(".events li", has_text="On air")).to_contain_text(
            "H.264 320 \u00d7 180, 25 fps; AAC 44.1 kHz"
        )
        link = await page.get_by_role("link", name="Open page").get_attribute("href")
        assert link

        viewer = await window(context, place.http + link)
        await viewer.plays(within=30)
        await viewer.says("seen at this moment")
        await viewer.reads("seen at this moment")
        await viewer.says("this one goes")
        await viewer.reads("this one goes")

        await page.get_by_label("Title").fill("Notes, second edition")
        await page.get_by_role("button", name="Save changes").click()
        await expect(page.locator(".studio-on h1")).to_have_text("Notes, second edition")
        await page.get_by_role("button", name="End broadcast").click()
        await page.get_by_role("dialog").get_by_role("button", name="End broadcast").click()
        await expect(page.locator(".past-row")).to_have_count(1, timeout=20_000)

    await viewer.page.close()
    # its author deletes a message after the end
    id = link.rsplit("/", 1)[1]
    token = await page.evaluate(
        """async () => {
            const script = document.querySelector('script[type=module]').src;
            return (await import(script.replace('studio.js', 'session.js'))).token();
        }"""
    )
    log = await place.call("GET", f"/live/{id}/chat?since=0")
    gone = next(i["data"]["message"] for i in log["items"] if i["data"]["message"]["text"] == "this one goes")
    await place.call("DELETE", f"/live/{id}/chat/{gone['id']}", token=token)

    replay = await window(await browser.new_context(), place.http + link)
    await expect(replay.page.locator("#state")).to_have_text("Recording")
    await replay.plays(within=30)
    message = next(i["data"]["message"] for i in log["items"] if i["data"]["message"]["text"] == "seen at this moment")
    assert message["media_time"]
    moment = "window.shown = document.querySelector('video').currentTime"
    assert await replay.page.locator(".message").count() == 0  # at the beginning nothing had been written
    await replay.reads("seen at this moment", within=60)
    assert await replay.page.evaluate(moment) > 1
    assert await replay.page.locator(".message", has_text="this one goes").count() == 0
    await replay.page.locator("#player").focus()
    await replay.page.evaluate("document.querySelector('video').currentTime = 0")
    await expect(replay.page.locator(".message")).to_have_count(0)  # back before it was written

    await page.get_by_role("button", name="Delete Notes, second edition").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator(".past-row")).to_have_count(0)
    assert studio.wrong == []


async def test_a_password_is_asked_for_in_forms_only(browser: Browser, place: Place) -> None:
    """A field of that type elsewhere makes browsers complain, and offer to keep a stream key as a password."""
    owner = await place.register("swift")
    context = await browser.new_context()
    page = (await window(context, f"{place.http}/")).page
    await page.get_by_role("button", name="Sign in").first.click()
    await expect(page.locator("form.account-form input[type=password]")).to_be_visible()
    await page.get_by_label("E-mail or username").fill(owner.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.locator("form.account-form button[type=submit]").click()
    await expect(page.locator("form.account-form")).to_have_count(0)
    await page.goto(f"{place.http}/studio")
    await expect(page.locator("#copy-key")).to_have_count(1)
    loose = "[...document.querySelectorAll('input[type=password]')].filter((input) => !input.form).length"
    assert await page.evaluate(loose) == 0


async def test_what_is_wrong_is_said_at_its_field_and_nothing_moves(browser: Browser, place: Place) -> None:
    taken = await place.register("taken")
    page = (await window(await browser.new_context(), f"{place.http}/studio")).page
    form = page.locator(".account-form")
    before = await form.bounding_box()
    await page.get_by_label("E-mail").fill("somebody@example.org")
    await page.get_by_label("Username").fill(taken.username)
    await page.get_by_label("Password").fill("short")
    await page.get_by_role("button", name="Create account").click()
    await expect(page.locator(".field", has_text="Password").locator(".wrong")).to_have_text("Ten characters at least.")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    await expect(page.locator(".field", has_text="Username").locator(".wrong")).to_contain_text("is taken")
    await expect(page.get_by_label("Username")).to_be_focused()
    after = await form.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["height"] - after["height"]) <= 2


async def test_a_new_key_ends_the_old_one(browser: Browser, place: Place) -> None:
    owner = await place.register("keys")
    made = await place.call("POST", "/live/start", {"title": "Keys"}, owner.access_token)
    context = await browser.new_context()
    await context.add_init_script(owner.session())
    studio = await window(context, f"{place.http}/studio")
    await expect(studio.page.get_by_text("cannot be shown again")).to_be_visible()
    await studio.page.get_by_role("button", name="Make a new key").click()
    await studio.page.get_by_role("dialog").get_by_role("button", name="Make a new key").click()
    await studio.page.get_by_role("button", name="Show: Stream key").click()
    await expect(studio.page.locator("#copy-key")).to_have_value(re.compile(r"^[\w-]{16,}$"))
    assert await studio.page.locator("#copy-key").input_value() != made["stream_key"]
    await studio.page.get_by_role("button", name="Discard").click()
    await studio.page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    await expect(studio.page.get_by_text("You are not live")).to_be_visible()
    assert studio.wrong == []


async def test_signing_out_in_one_window_signs_out_the_others(browser: Browser, place: Place) -> None:
    context = await browser.new_context()
    await context.add_init_script((await place.register()).session())
    one = await window(context, place.http)
    other = await window(context, f"{place.http}/studio")
    await expect(other.page.get_by_role("button", name="Create broadcast")).to_be_visible()
    await one.page.get_by_role("button", name="Account of").click()
    await one.page.get_by_role("button", name="Sign out").click()
    await expect(other.page.get_by_role("button", name="Create account")).to_be_visible()


async def test_many_windows_renew_one_session_without_tripping_over_each_other(browser: Browser, place: Place) -> None:
    """Refresh tokens rotate: two windows that used the same one would end the session."""
    context = await browser.new_context()
    await context.add_init_script((await place.register()).session())
    windows = [await window(context, f"{place.http}/studio") for _ in range(4)]
    for one in windows:
        await one.page.reload(wait_until="commit")
    for one in windows:
        await expect(one.page.get_by_role("button", name="Create broadcast")).to_be_visible()
