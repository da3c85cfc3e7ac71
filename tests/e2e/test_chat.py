"""The chat as two people see it: what each may do, what both read, and what is there again after a broken line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.owner import FAULTS
from tests.e2e.place import Person, Place, Window, encoder, window


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody before the chat."""

    person: Person
    seen: Window

    @property
    def page(self) -> Page:
        return self.seen.page

    def row(self, text: str) -> Locator:
        return self.page.locator(".message", has=self.page.locator(".message-text", has_text=text))

    async def says(self, text: str) -> None:
        await self.seen.says(text)
        await expect(self.row(text)).to_have_count(1)

    async def menu(self, text: str, choice: str) -> None:
        await self.row(text).hover()
        await self.row(text).get_by_role("button", name="Actions for this message").click()
        await self.page.get_by_role("menuitem", name=choice, exact=True).click()

    async def breaks(self) -> None:
        """The line is cut, and stays so until `heals`."""
        await self.page.evaluate("window.broken = true; window.sockets.at(-1).close()")

    async def heals(self) -> None:
        await self.page.evaluate("window.broken = false; dispatchEvent(new Event('online'))")

    async def faults(self) -> list[str]:
        found: list[str] = []
        for width in (360, 1280):
            await self.page.set_viewport_size({"width": width, "height": 800})
            found += await self.page.evaluate(FAULTS)
        return found


SOCKETS = """window.sockets = [];
window.WebSocket = class extends WebSocket {
    constructor(...all) { super(...all); window.sockets.push(this); if (window.broken) super.close(); }
};"""


async def _guest(browser: Browser, place: Place, broadcast: str, person: Person) -> Guest:
    context = await browser.new_context()
    await context.add_init_script(SOCKETS)
    await context.add_init_script(person.session())
    seen = await window(context, f"{place.http}/watch/{broadcast}")
    await expect(seen.page.locator(".chat-input")).to_be_visible()
    await expect(seen.page.locator(".chat-nothing")).not_to_have_text("Loading the conversation…")
    return Guest(person, seen)


async def _both(browser: Browser, place: Place) -> tuple[str, Guest, Guest]:
    owner, viewer = await place.register("owner"), await place.register("viewer")
    broadcast = (await place.call("POST", "/live/start", {"title": "Two people talk"}, owner.access_token))["id"]
    return (
        broadcast,
        await _guest(browser, place, broadcast, owner),
        await _guest(browser, place, broadcast, viewer),
    )


async def test_two_people_talk_and_one_of_them_moderates(browser: Browser, place: Place) -> None:
    broadcast, owner, viewer = await _both(browser, place)
    await viewer.seen.says("What is that :rocket: in the picture?")
    await expect(owner.row("in the picture").get_by_role("img", name="rocket")).to_have_text("🚀")

    await owner.menu("in the picture", "Reply")
    await expect(owner.page.locator(".chat-banner")).to_contain_text("Reply to")
    await owner.page.locator(".chat-input").fill(f"It is mine, @{viewer.person.username[:8]}")
    await owner.page.keyboard.press("Tab")  # the rest of the name is suggested
    await owner.page.keyboard.press("Enter")
    answer = viewer.row("It is mine")
    await expect(answer.locator(".message-quote")).to_contain_text("What is that")
    await expect(answer.locator(".chat-badge")).to_have_text("Owner")
    await expect(answer.locator(".mention.mine")).to_have_text(f"@{viewer.person.username}")
    await expect(answer).to_have_class(re.compile("called"))
    await answer.locator(".message-quote").click()
    await expect(viewer.row("in the picture")).to_be_focused()

    await owner.row("in the picture").hover()
    await owner.row("in the picture").get_by_role("button", name="Actions for").click()
    await owner.page.get_by_role("button", name="React with 👍").click()
    await expect(owner.row("in the picture").locator("button.reaction")).to_have_attribute("aria-pressed", "true")
    chip = viewer.row("in the picture").locator("button.reaction")
    await expect(chip).to_have_attribute("aria-pressed", "false")
    await chip.click()
    await expect(owner.row("in the picture").locator(".reaction-number")).to_have_text("2")
    await chip.click()
    await expect(owner.row("in the picture").locator(".reaction-number")).to_have_text("1")

    await viewer.page.locator(".chat-input").press("ArrowUp")  # the last one of one's own
    await expect(viewer.page.locator(".chat-banner")).to_contain_text("Editing")
    await viewer.page.locator(".chat-input").fill("What is this <b>thing</b>?")
    await viewer.page.keyboard.press("Enter")
    edited = owner.row("What is this <b>thing</b>?")
    await expect(edited.locator(".message-edited")).to_have_text("(edited)")
    await expect(edited.locator(".reaction-number")).to_have_text("1")
    await expect(owner.row("It is mine").locator(".message-quote")).to_contain_text("What is this")

    await owner.menu("It is mine", "Pin")
    await expect(viewer.page.locator(".chat-pins")).to_contain_text("It is mine")
    assert await viewer.page.locator(".chat-pins").get_by_role("button", name="Unpin").count() == 0

    assert await viewer.page.get_by_role("button", name="Moderate").is_hidden()
    await viewer.row("It is mine").hover()
    await viewer.row("It is mine").get_by_role("button", name="Actions for").click()
    assert await viewer.page.get_by_role("menuitem").all_text_contents() == ["Reply", "Copy text"]
    await viewer.page.keyboard.press("Escape")

    await viewer.page.locator(".chat-input").fill("Well, ")
    await expect(owner.page.locator(".chat-typing")).to_have_text(f"{viewer.person.username} is typing…")
    await expect(viewer.page.locator(".chat-typing")).to_be_hidden()
    await viewer.page.locator(".chat-input").fill("")
    await expect(owner.page.locator(".chat-typing")).to_be_hidden()

    follow = viewer.page.locator("button.follow")
    for pressed, text in (("false", "Follow0"), ("true", "Following1"), ("false", "Follow0")):
        await expect(follow).to_have_attribute("aria-pressed", pressed)
        await expect(follow).to_have_text(text)
        await follow.click()
    await expect(follow).to_have_text("Following1")
    await expect(owner.page.locator("button.follow")).to_be_disabled()

    await _who_is_here(browser, place, broadcast, owner, viewer)

    await viewer.menu("What is this", "Delete")
    await expect(owner.row("What is this")).to_have_count(0)
    await expect(owner.row("It is mine").locator(".message-quote")).to_contain_text("deleted")
    assert await owner.faults() == await viewer.faults() == []
    assert owner.seen.wrong == viewer.seen.wrong == []


async def _who_is_here(browser: Browser, place: Place, broadcast: str, owner: Guest, viewer: Guest) -> None:
    """The viewer, who follows the owner, looks; somebody without a name comes."""
    people = viewer.page.get_by_role("button", name="Who is here")
    await people.focus()
    await viewer.page.keyboard.press("Enter")
    seen = viewer.page.get_by_role("dialog", name="Who is here")
    await expect(seen.locator("p")).to_have_text("2 people are here.")
    names = [f"{viewer.person.username}you", f"{owner.person.username}you follow"]
    await expect(seen.get_by_role("listitem")).to_have_text(names)
    guest = await window(await browser.new_context(), f"{place.http}/watch/{broadcast}")
    await expect(seen.locator("p")).to_have_text("3 people are here, 1 of them without a name.", timeout=30_000)
    assert await viewer.faults() == []
    await viewer.breaks()
    await viewer.heals()
    await expect(seen.get_by_role("listitem")).to_have_text(names)
    await viewer.page.keyboard.press("Escape")
    await expect(seen).to_have_count(0)
    await expect(people).to_be_focused()
    await guest.page.get_by_role("button", name="Who is here").click()
    await expect(guest.page.get_by_role("dialog")).to_contain_text("Sign in")
    await guest.page.context.close()


async def test_a_refused_draft_stays_and_whom_it_concerns_is_told(browser: Browser, place: Place) -> None:
    broadcast, owner, viewer = await _both(browser, place)
    await owner.page.get_by_role("button", name="Moderate").click()
    await owner.page.get_by_role("menuitem", name="Modes…").click()
    await owner.page.get_by_label("Slow mode").select_option("3")
    await owner.page.get_by_role("button", name="Apply").click()
    await expect(viewer.page.locator(".chat-mode")).to_contain_text("one message each 3 s")
    await viewer.says("The first one")
    await expect(viewer.page.locator("#chat-hint")).to_contain_text("Next message in")
    await viewer.seen.says("The second one")
    await expect(viewer.page.locator(".chat-trouble")).to_contain_text("You can send this in")
    await expect(viewer.page.locator(".chat-input")).to_have_value("The second one")
    await expect(viewer.page.locator(".chat-trouble")).to_be_hidden()  # when the time is over
    await viewer.page.keyboard.press("Enter")
    await expect(owner.row("The second one")).to_have_count(1)

    await viewer.page.locator(".chat-input").fill("I was not finished")
    await owner.menu("The second one", "Time out or ban…")
    await owner.page.get_by_label("How long").select_option("3600")
    await owner.page.get_by_label("Reason").fill("Calm down.")
    await owner.page.get_by_role("button", name="Do it").click()
    await expect(viewer.page.locator(".chat-barred")).to_contain_text("Reason: Calm down.")
    await expect(viewer.page.locator(".chat-input")).to_have_value("I was not finished")
    await expect(viewer.page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    await expect(owner.row("The second one")).to_have_class(re.compile("dimmed"))
    await owner.menu("The second one", "Let them write again")
    await expect(viewer.page.locator(".chat-barred")).to_be_hidden()

    path = f"/live/{broadcast}/chat/moderators/{viewer.person.id}"
    await place.call("PUT", path, token=owner.person.access_token)
    await expect(viewer.page.get_by_role("button", name="Moderate")).to_be_visible()
    await viewer.says("The third one")  # those who moderate do not wait
    await viewer.says("The fourth one")
    await place.call("DELETE", path, token=owner.person.access_token)
    await expect(viewer.page.get_by_role("button", name="Moderate")).to_be_hidden()
    await expect(viewer.row("The fourth one")).to_have_count(1)
    assert owner.seen.wrong == viewer.seen.wrong == []


async def test_whoever_comes_back_sees_what_everybody_sees(browser: Browser, place: Place) -> None:
    broadcast, owner, viewer = await _both(browser, place)
    for text in ("stays", "is edited", "is deleted"):
        await owner.says(text)
    await expect(viewer.row("is deleted")).to_have_count(1)
    await viewer.breaks()
    await owner.menu("is deleted", "Delete")
    await owner.menu("is edited", "Edit")
    await owner.page.locator(".chat-input").fill("was edited")
    await owner.page.keyboard.press("Enter")
    await owner.menu("stays", "Pin")
    await place.call("PATCH", f"/live/{broadcast}/chat/mode", {"emotes": True}, owner.person.access_token)
    await owner.says("came meanwhile")
    await viewer.heals()
    await expect(viewer.row("came meanwhile")).to_have_count(1)
    for one in (owner, viewer):
        assert await one.page.locator(".message-text").all_text_contents() == ["stays", "was edited", "came meanwhile"]
        await expect(one.page.locator(".chat-pins")).to_contain_text("stays")
        await expect(one.page.locator(".chat-mode")).to_contain_text("Emotes only")
    await viewer.page.reload()  # by its state, not by its log
    await expect(viewer.page.locator(".message-text")).to_have_text(["stays", "was edited", "came meanwhile"])
    await expect(viewer.page.locator(".chat-pins")).to_contain_text("stays")
    await expect(viewer.page.locator(".chat-mode")).to_contain_text("Emotes only")
    await viewer.seen.says("words")
    await expect(viewer.page.locator(".chat-trouble")).to_contain_text("Only emotes")
    await expect(viewer.page.locator(".chat-input")).to_have_value("words")
    await viewer.seen.says(":fire:")
    await expect(owner.page.get_by_role("img", name="fire")).to_be_visible()
    assert owner.seen.wrong == viewer.seen.wrong == []


async def test_a_replay_follows_what_is_deleted_while_one_looks(browser: Browser, place: Place, ffmpeg: str) -> None:
    owner = await place.register("owner")
    token = owner.access_token
    made = await place.call("POST", "/live/start", {"title": "Kept"}, token)
    chat = f"/live/{made['id']}/chat"
    context = await browser.new_context()
    async with encoder(ffmpeg, f"{place.rtmp}/{made['stream_key']}"):
        live = await window(context, f"{place.http}/watch/{made['id']}")
        await live.plays(within=30)
        asked = await place.call("POST", chat, {"text": "a question"}, token)
        await place.call("POST", chat, {"text": "an answer :up:", "reply_to": asked["id"]}, token)
        await live.reads("an answer")
        await place.call("POST", "/live/end", {"stream_id": made["id"]}, token)
    await expect(live.page.locator(".chat-status")).to_have_text("The chat has ended.")
    await live.page.close()

    replay = await window(context, f"{place.http}/watch/{made['id']}")
    await expect(replay.page.locator("#state")).to_have_text("Recording")
    await replay.page.evaluate("document.querySelector('video').muted = true")
    answer = replay.page.locator(".message", has_text="an answer 👍")
    await expect(answer.locator(".message-quote")).to_contain_text("a question")
    await expect(replay.page.locator(".message")).to_have_count(2)
    await place.call("DELETE", f"{chat}/{asked['id']}", token=token)
    await expect(replay.page.locator(".message")).to_have_count(1)
    await expect(answer.locator(".message-quote")).to_contain_text("deleted")
    assert live.wrong == replay.wrong == []
