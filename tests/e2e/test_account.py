"""An owner's way through the account: from registering to leaving, in a browser, with mails, codes and passkeys."""

from __future__ import annotations

import io
import re
import uuid
import zipfile

import pyotp
import pytest
from PIL import Image
from playwright.async_api import Browser, Route, expect

from tests.e2e.owner import FAULTS, Owner, asks_again, authenticator, next_code, owner, size_of
from tests.e2e.place import PASSWORD, Person, Place, window
from tests.support import eventually

SECTIONS = ["profile", "preferences", "privacy", "security", "sessions", "keys", "data"]
ANOTHER = "another sentence that is long"


async def test_from_registering_to_a_second_factor(browser: Browser, place: Place) -> None:
    name = f"ada_{uuid.uuid4().hex[:8]}"
    context = await browser.new_context()
    seen = await window(context, f"{place.http}/account")
    page = seen.page
    await page.get_by_role("button", name="New here? Create an account").click()
    await page.get_by_label("E-mail").fill(f"{name}@example.org")
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Show what you typed").click()
    await expect(page.get_by_label("Password")).to_have_attribute("type", "text")
    await page.get_by_role("button", name="Create account").click()
    await expect(page.get_by_label("Display name")).to_be_visible()
    person = Owner(place, seen, Person("", name, "", ""))

    link = (await person.mailed("verify")).replace("localhost", "127.0.0.1")
    await page.goto(link)
    await expect(page.get_by_role("heading", name="Your address is verified")).to_be_visible()
    assert "#" not in page.url
    assert "token" not in await page.evaluate("JSON.stringify(history.state) + document.documentElement.outerHTML")
    await page.goto(link)  # in the same window, which does not load the page again
    await expect(page.get_by_role("heading", name="Your address is verified already")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Your address is verified already")).to_be_visible()

    await page.goto(f"{place.http}/account#security")
    await expect(page.locator(".badge", has_text="Verified")).to_be_visible()
    await page.get_by_role("button", name="Add an authenticator app").click()
    await page.get_by_text("The picture cannot be scanned?").click()
    secret = (await page.get_by_role("textbox", name="Secret, for typing").input_value()).replace(" ", "")
    code = page.get_by_label("Code that the app shows")
    await code.fill("000000" if pyotp.TOTP(secret).now() != "000000" else "111111")
    await page.get_by_role("button", name="Turn it on").click()
    await expect(page.locator(".setup .wrong")).to_contain_text("This is not the code that the app shows")
    assert len(await code.input_value()) == 6
    await code.fill(pyotp.TOTP(secret).now())
    await page.get_by_role("button", name="Turn it on").click()
    await expect(page.locator(".codes li")).to_have_count(10)
    recovery = await page.locator(".codes li").first.text_content()
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="Download").click()
    kept = (await (await saved.value).path()).read_text()
    assert recovery is not None
    assert recovery in kept
    await page.get_by_role("button", name="I have kept them").click()
    await expect(page.locator(".codes")).to_have_count(0)

    await person.sign_out()
    await person.sign_in("wrong password here")
    await expect(page.locator(".field", has_text="Password").locator(".wrong")).to_contain_text("is wrong")
    await person.sign_in()
    await expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    given = page.get_by_label("Code of your authenticator app")
    await expect(given).to_be_focused()
    await given.fill("12 34 5x")
    await page.keyboard.press("Enter")
    await expect(page.locator(".sign-in .wrong")).to_contain_text("not right")
    await given.fill(next_code(secret))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("navigation", name="Account")).to_be_visible()

    await person.sign_out()
    await person.sign_in()
    await page.get_by_role("button", name="Use a recovery code").click()
    await page.get_by_label("Recovery code").fill(recovery)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("9 left")).to_be_visible()
    assert seen.wrong == []


async def test_a_passkey_opens_the_account_and_proves_who_is_there(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "key", "security")
    page = ada.page
    devtools, device = await authenticator(page)
    await page.get_by_text("Change the address").click()
    await page.get_by_label("New address").fill("half typed")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.locator(".codes li")).to_have_count(10)
    await expect(page.get_by_label("New address")).to_have_value("half typed")  # though all was read again
    first = await page.locator(".codes li").first.text_content() or ""
    await page.get_by_role("button", name="Rename Passkey 1").click()
    await page.get_by_role("textbox", name="Name", exact=True).fill("My laptop")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("My laptop")).to_be_visible()
    held = await devtools.send("WebAuthn.getCredentials", {"authenticatorId": device})
    assert [one["isResidentCredential"] for one in held["credentials"]] == [True]

    calls = await asks_again(page, "/auth/recovery-codes")
    await page.get_by_role("button", name="Make new codes").click()
    await page.get_by_role("dialog").get_by_role("button", name="Make new codes").click()
    await page.get_by_role("dialog").get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await eventually(lambda: calls == ["POST", "POST"], what="the action going on by itself")
    await expect(page.locator(".codes li").first).not_to_have_text(first)

    # its owner's finger is not on the device while the form waits among the names that the browser offers
    await devtools.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": device, "enabled": False})
    options = "**/auth/login/passkey/options"
    async with page.expect_response(lambda answer: answer.url.endswith(options[2:])):
        await ada.sign_out()

    async def finger(route: Route) -> None:
        await devtools.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": device, "enabled": True})
        await route.continue_()

    # only between the button's press, which ends the form's waiting, and its question: else it would answer the form
    await page.route(options, finger)
    await page.get_by_role("button", name="Sign in with a passkey").click()
    await expect(page.get_by_text("My laptop")).to_be_visible()
    await ada.open("sessions", "Sessions")
    await expect(page.locator("[data-part=sessions]").get_by_text("by passkey").first).to_be_visible()
    assert ada.seen.wrong == []


async def test_a_forgotten_password_is_set_by_mail(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "lost")
    page = ada.page
    await page.goto(await ada.mailed("verify"))
    await expect(page.get_by_role("heading", name="Your address is verified")).to_be_visible()
    await ada.open("profile", "Profile")
    await ada.sign_out()
    before = size_of(place.log)
    await page.get_by_role("button", name="Forgot the password?").click()
    await page.get_by_label("E-mail").fill(f"{ada.person.username}@example.org")
    await page.get_by_role("button", name="Send the mail").click()
    await expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    await page.goto(await ada.mailed("reset", before))
    await expect(page.get_by_role("heading", name="Set a new password")).to_be_visible()
    assert "#" not in page.url
    await page.get_by_label("New password", exact=True).fill("1234567890")
    await page.get_by_role("button", name="Set the password").click()
    await expect(page.locator(".wrong", has_text="everybody tries first")).to_be_visible()
    await page.get_by_label("New password", exact=True).fill(ANOTHER)
    await page.get_by_role("button", name="Set the password").click()
    await expect(page.get_by_role("heading", name="The new password is set")).to_be_visible()
    await ada.sign_in(ANOTHER)
    await expect(page.get_by_role("navigation", name="Account")).to_be_visible()
    assert ada.seen.wrong == []


async def test_sessions_are_ended_and_a_key_is_made(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "sess", "sessions")
    page = ada.page
    body = {"email": ada.person.username, "password": PASSWORD}
    other = await place.call("POST", "/auth/login", body)
    await place.call("POST", "/auth/login", body)
    await page.reload()
    rows = page.locator(".rows:not(.log) > li")
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_contain_text("This one")
    await rows.nth(1).get_by_role("button", name="End").click()
    await expect(rows).to_have_count(2)
    await page.get_by_role("button", name="End all others").click()
    await page.get_by_role("dialog").get_by_role("button", name="End them").click()
    await expect(rows).to_have_count(1)
    with pytest.raises(OSError, match="401"):
        await place.call("GET", "/auth/profile", token=other["access_token"])
    # without asking for it: the log beside the sessions is read again
    await expect(page.locator(".log").get_by_text("A session was ended").first).to_be_visible()

    await ada.open("keys", "Make a key")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.locator(".wrong", has_text="Fill this in.")).to_be_visible()
    await page.get_by_role("textbox", name="Name", exact=True).fill("overlay")
    await page.get_by_role("group", name="profile").get_by_label("Read").check()
    calls = await asks_again(page, "/keys")
    await page.get_by_role("button", name="Make the key").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Password").fill("not this one at all")
    await page.keyboard.press("Enter")
    await expect(dialog.locator(".wrong")).to_have_text("This is not your password.")
    await dialog.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    secret = await page.get_by_role("textbox", name="Key", exact=True).input_value()
    assert calls[:2] == ["POST", "POST"]
    assert (await place.call("GET", "/users/me", token=secret))["username"] == ada.person.username
    await page.get_by_role("button", name="I have kept it").click()
    await page.get_by_role("button", name="Delete overlay").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    await expect(page.get_by_text("You have none.")).to_be_visible()
    assert secret not in await page.content()
    with pytest.raises(OSError, match="401"):
        await place.call("GET", "/users/me", token=secret)
    assert ada.seen.wrong == []


async def test_two_windows_edit_a_profile_and_nothing_is_lost(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "edit")
    page = ada.page
    other = await window(page.context, f"{ada.http}/account")
    await other.page.get_by_label("About you").fill("from the other window")
    await page.get_by_label("Website").fill("example.org")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".field", has_text="Website").locator(".wrong")).to_contain_text("https://")
    await page.get_by_label("Website").fill("https://example.org")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await other.page.get_by_role("button", name="Save").click()
    await expect(other.page.get_by_text("What you typed is still here")).to_be_visible()
    await expect(other.page.get_by_label("About you")).to_have_value("from the other window")
    await other.page.get_by_role("button", name="Load the newer one").click()
    await expect(other.page.get_by_label("Website")).to_have_value("https://example.org")
    picture = io.BytesIO()
    Image.new("RGB", (320, 200), "teal").save(picture, "PNG")
    file = {"name": "me.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    await page.locator("#avatar-file").set_input_files(file)
    await expect(page.get_by_role("img", name="Your picture")).to_have_attribute("src", re.compile("webp$"))
    await expect(page.locator(".top .face img")).to_be_visible()
    await page.get_by_label("About you").fill("after the picture")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("form", name="Profile").get_by_text("Saved.")).to_be_visible()
    await expect(page.get_by_text("What you typed is still here")).to_have_count(0)
    await page.locator("#avatar-file").set_input_files({**file, "buffer": b"no picture"})
    await expect(page.locator(".notice.bad:visible")).to_be_visible()
    await expect(page.get_by_role("img", name="Your picture")).to_be_visible()  # the one before is there still
    assert ada.seen.wrong == other.wrong == []


async def test_data_is_taken_along_and_the_account_is_left_and_taken_back(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "leave", "data")
    page = ada.page
    await page.get_by_role("button", name="Ask for an archive").click()
    await expect(page.get_by_text("Ready since")).to_be_visible(timeout=60_000)
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="Download").click()
    path = await (await saved.value).path()
    with zipfile.ZipFile(path) as archive:
        assert any(name.endswith(".json") for name in archive.namelist())
    await page.locator("summary", has_text="Delete the account").click()
    await page.get_by_role("button", name="Delete my account").click()
    await expect(page.locator(".wrong", has_text=f"Type {ada.person.username}.")).to_be_visible()
    await page.get_by_label("Type your username").fill(ada.person.username)
    await page.get_by_role("button", name="Delete my account").click()
    await expect(page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    await page.goto(f"{ada.http}/account")
    await ada.sign_in()
    await expect(page.get_by_role("heading", name="This account will be deleted")).to_be_visible()
    await page.get_by_role("button", name="Take my account back").click()
    await expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()
    await ada.sign_in()
    await expect(page.get_by_role("navigation", name="Account")).to_be_visible()
    assert ada.seen.wrong == []


async def test_every_section_has_names_and_fits_a_phone(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "fits")
    for section in SECTIONS:
        await ada.page.goto(f"{ada.http}/account#{section}")
        await expect(ada.page.locator(f"[data-part={section}] .panel").first).to_be_visible()
        await expect(ada.page.locator(f"[data-part={section}] [aria-busy=true]")).to_have_count(0)
        assert await ada.faults() == [], section
    assert ada.seen.wrong == []


async def test_every_landing_page_says_what_is_wrong(browser: Browser, place: Place) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    for path, said in (
        ("verify#token=no", "This link does not work any more"),
        ("verify", "The link is not complete"),
        ("email#token=no", "This link does not work any more"),
        ("reset", "Set a new password"),
        ("restore#token=no", "Take your account back?"),
        ("export#token=no", "Your archive is ready"),
        ("signin#error=denied", "You are not signed in"),
        ("signin#code=no", "You are not signed in"),
        ("signin", "There is nothing here to complete"),
    ):
        seen = await window(context, f"{place.http}/account/{path}")
        await expect(seen.page.get_by_role("heading", name=said)).to_be_visible()
        assert "#" not in seen.page.url
        assert await seen.page.evaluate(FAULTS) == [], path
        assert seen.wrong == []
        await seen.page.close()


async def test_a_route_is_found_and_tried(browser: Browser, place: Place) -> None:
    ada = await owner(browser, place, "docs")
    page = ada.page
    await page.goto(f"{ada.http}/docs")
    described = (await (await page.request.get(f"{ada.http}/openapi.json")).json())["paths"].values()
    await expect(page.locator(".docs-route")).to_have_count(sum(len(methods) for methods in described))
    await page.get_by_label("Search the routes").fill("patch users/me")
    await page.locator("#patch_users_me > summary").click()
    route = page.locator("#patch_users_me")
    await route.get_by_label("Body (JSON)").fill('{"bio": "tried", ')
    await route.get_by_role("button", name="Send").click()
    await expect(route.locator(".wrong", has_text="This is not JSON")).to_be_visible()
    await route.get_by_label("Body (JSON)").fill('{"bio": "tried"}')
    await route.get_by_label("If-Match").fill('"99.0"')
    await route.get_by_role("button", name="Send").click()
    await expect(route.locator(".docs-try .badge").first).to_contain_text("412")
    await route.get_by_label("If-Match").fill("")
    await route.get_by_role("button", name="Send").click()
    await expect(route.locator(".docs-try .badge").first).to_contain_text("200")
    await expect(route.get_by_label("Body of the answer", exact=True)).to_contain_text('"bio": "tried"')
    await route.get_by_text("As a curl command").click()
    shell = await route.get_by_label("curl", exact=True).text_content() or ""
    assert "-X PATCH" in shell
    assert "$TOKEN" in shell
    assert await ada.faults() == []
    await page.get_by_label("Call as").select_option("nobody")
    await route.get_by_role("button", name="Send").click()
    await expect(route.locator(".docs-try .badge").first).to_contain_text("401")
    assert ada.seen.wrong == []


async def test_a_wait_is_counted_down_and_is_for_what_was_tried(browser: Browser, place: Place) -> None:
    page = (await window(await browser.new_context(), f"{place.http}/account")).page
    problem = {"status": 429, "code": "too_many_attempts", "title": "Wait", "detail": "Too many wrong passwords."}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=429, headers={"Retry-After": "70"}, json=problem)

    await page.route("**/api/v1/auth/login", refuse)
    await page.get_by_label("E-mail or username").fill("somebody")
    await page.get_by_label("Password").fill(PASSWORD)
    button = page.locator("main form button[type=submit]")
    await button.click()
    await expect(page.get_by_role("alert")).to_have_text("Too many wrong passwords.")
    await expect(button).to_contain_text(re.compile(r"in 1 min \d+ s"))
    await expect(button).to_be_disabled()
    await page.get_by_label("E-mail or username").fill("somebody.else")
    await expect(button).to_be_enabled()
    await button.click()
    await expect(button).to_be_disabled()
    await page.get_by_role("button", name="New here? Create an account").click()
    await expect(button).to_have_text("Create account")
    await expect(button).to_be_enabled()
    await expect(page.get_by_label("E-mail")).to_have_value("somebody.else")


async def test_back_from_a_provider(browser: Browser, place: Place) -> None:
    """The way there and back with a real provider is tried without a browser; here is what the page makes of it."""
    person = await place.register("oidc")
    answer = await place.call("POST", "/auth/login", {"email": person.username, "password": PASSWORD})
    context = await browser.new_context()
    seen = await window(context, f"{place.http}/account")
    page = seen.page
    sent: list[object] = []
    answers: list[tuple[int, object]] = [
        (409, {"status": 409, "code": "link_needed", "title": "There is one", "detail": "There is one."}),
        (
            401,
            {
                "status": 401,
                "code": "second_factor_required",
                "title": "One more",
                "challenge": "c",
                "factors": ["totp"],
            },
        ),
        (200, {**answer, "redirect": "/studio", "created": False}),
    ]

    async def trade(route: Route) -> None:
        sent.append(route.request.post_data_json)
        status, body = answers.pop(0)
        await route.fulfill(status=status, json=body)

    await page.route("**/api/v1/auth/oauth/token", trade)
    for code, said in (("one", "You have an account here"), ("two", "One more step")):
        await page.goto(f"{place.http}/account/signin#code={code}")
        await expect(page.get_by_role("heading", name=said)).to_be_visible()
        assert "#" not in page.url
    await page.goto(f"{place.http}/account/signin#code=three")
    await page.wait_for_url(f"{place.http}/studio")
    await expect(page.get_by_role("button", name=f"Account of {person.username}")).to_be_visible()
    assert sent == [{"code": "one"}, {"code": "two"}, {"code": "three"}]
    assert seen.wrong == []
