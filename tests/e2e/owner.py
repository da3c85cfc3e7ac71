"""What the tests of the account's pages speak of: a person before a browser of his own, his mail, his passkeys."""

from __future__ import annotations

import re
import time
from typing import Any

import pyotp
from playwright.async_api import Browser, CDPSession, Page, Route, expect

from tests.e2e.place import PASSWORD, Person, Place, Window, window
from tests.support import eventually

WIDTHS = (1280, 360)

# names, headings, ids and widths, as the checks of other pages do: what can be told without looking
FAULTS = """() => {
    const seen = (one) => one.checkVisibility({ visibilityProperty: true });
    const say = (what, one) => `${what}: ${one.outerHTML.slice(0, 160)}`;
    const faults = [];
    for (const one of document.querySelectorAll('button, a, input, textarea, select, summary, [role=button]')) {
        if (!seen(one) || one.classList.contains('visually-hidden')) continue;
        const named = one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length;
        if (!named) faults.push(say('no name', one));
        if (one.tabIndex > 0) faults.push(say('an order of its own', one));
        if (one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.section-links, pre')) {
            faults.push(say('outside', one));
        }
    }
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) faults.push(`twice: #${id}`);
    for (const attribute of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for']) {
        for (const one of document.querySelectorAll(`[${attribute}]`)) {
            for (const id of one.getAttribute(attribute).split(' ')) {
                if (!document.getElementById(id)) faults.push(say(`${attribute} leads nowhere`, one));
            }
        }
    }
    for (const image of document.querySelectorAll('img:not([alt])')) faults.push(say('no alt', image));
    if (![...document.querySelectorAll('h1')].some(seen) && !document.querySelector('.sign-in h2')) {
        faults.push('no h1');
    }
    if (document.documentElement.scrollWidth > innerWidth) faults.push(`${innerWidth} px are not enough`);
    return faults;
}"""


class Owner:
    """Somebody before the account's pages. Pages are opened by the name localhost: passkeys need a domain."""

    def __init__(self, place: Place, seen: Window, person: Person) -> None:
        self.place = place
        self.seen = seen
        self.person = person
        self.http = place.http.replace("127.0.0.1", "localhost")

    @property
    def page(self) -> Page:
        return self.seen.page

    async def open(self, section: str, shows: str) -> None:
        await self.page.goto(f"{self.http}/account#{section}")
        await expect(self.page.get_by_role("heading", name=shows, exact=True)).to_be_visible()

    async def sign_out(self) -> None:
        await self.page.get_by_role("button", name=f"Account of {self.person.username}").click()
        await self.page.get_by_role("button", name="Sign out").click()
        await expect(self.page.get_by_role("heading", name="Welcome back")).to_be_visible()

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self.page.get_by_label("E-mail or username").fill(self.person.username)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in", exact=True).last.click()

    async def mailed(self, page: str, after: int = 0) -> str:
        """The link to one of our pages in the last mail to him; mails stand in the log. after: where to begin."""

        def find() -> str:
            text = self.place.log.read_text()[after:]
            at = text.rfind(f"{self.person.username}")
            assert at >= 0, text[-500:]
            links = re.findall(rf"https?://\S+(/account/{page}#token=[\w.~-]+)", text)
            assert links
            return self.http + str(links[-1])

        return str(await eventually(find))

    async def faults(self) -> list[str]:
        found = []
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": 800})
            found += await self.page.evaluate(FAULTS)
        await self.page.set_viewport_size({"width": WIDTHS[0], "height": 800})
        return found


async def owner(browser: Browser, place: Place, stem: str, section: str = "profile") -> Owner:
    """A new account, signed in before its page."""
    person = await place.register(stem)
    context = await browser.new_context()
    await context.add_init_script(person.session())
    seen = await window(context, f"{place.http.replace('127.0.0.1', 'localhost')}/account#{section}")
    await expect(seen.page.get_by_role("navigation", name="Account")).to_be_visible()
    return Owner(place, seen, person)


async def authenticator(page: Page) -> tuple[CDPSession, str]:
    """A device that holds passkeys and always says yes. https://chromedevtools.github.io/devtools-protocol/ WebAuthn"""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, made["authenticatorId"]


async def asks_again(page: Page, path: str) -> list[str]:
    """Let the next call of `path` be answered as if the proof were too old; the calls are listed."""
    calls: list[str] = []

    async def answer(route: Route) -> None:
        calls.append(route.request.method)
        if len(calls) > 1:
            await route.continue_()
            return
        problem = {"status": 403, "code": "step_up_required", "title": "Again", "detail": "Show it again."}
        await route.fulfill(status=403, content_type="application/problem+json", json=problem)

    await page.route(f"**/api/v1{path}", answer)
    return calls


def next_code(secret: str) -> str:
    """A code is good once: the one of a step ahead is taken too."""
    return str(pyotp.TOTP(secret).at(int(time.time()) + 30))


def size_of(log: Any) -> int:
    return len(log.read_text())
