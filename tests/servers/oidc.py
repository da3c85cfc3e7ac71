"""A real OpenID provider of this process: oidc-provider (certified by the OpenID Foundation) on Node, and its pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

from tests.servers.program import Program

CLIENT_ID = "social-flow"
CLIENT_SECRET = "a+secret/with %characters:that&need=care-0123456789"
_SCRIPT = Path(__file__).with_suffix(".mjs")


class OidcServer(Program):
    """Its keys and whatever it remembers are new with each `start`; the issuer stays."""

    def __init__(self, redirects: Sequence[str]) -> None:
        super().__init__()
        self._redirects = redirects

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [_node(), "--no-warnings", str(_SCRIPT), str(self.port), CLIENT_ID, CLIENT_SECRET, *self._redirects]
        self.begin("oidc-provider", command)


async def go_through(url: str, login: str, back: str, *, deny: bool = False) -> str:
    """What a person does at the provider, up to where it sends the browser back to (an address that begins with `back`)

    login: who it is; the password is whatever. deny: at the question for consent the person leaves.
    """
    jar = aiohttp.CookieJar(unsafe=True)  # the provider is at an address, not a name
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        method, form = "GET", None
        for _ in range(20):
            async with browser.request(method, url, data=form, allow_redirects=False) as answer:
                page = await answer.text()
                location = answer.headers.get("Location")
            if location is not None:
                url, method, form = urljoin(url, location), "GET", None
                if url.startswith(back):
                    return url
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', page)
            assert action is not None, page
            asks_who = 'name="login"' in page
            leave = re.search(r'href="([^"]+/abort)"', page)
            if deny and not asks_who:
                assert leave is not None, page
                url, method, form = urljoin(url, leave.group(1)), "GET", None
                continue
            url, method = urljoin(url, action.group(1)), "POST"
            form = {"prompt": "login", "login": login, "password": "x"} if asks_who else {"prompt": "consent"}
    raise AssertionError(f"the provider never sent the browser back; last it was at {url}")


def _node() -> str:
    # The driver of playwright brings one; whoever has no playwright has Node, with which npm came.
    try:
        from playwright._impl._driver import compute_driver_executable  # noqa: PLC0415

        found = Path(compute_driver_executable()[0])
        if found.is_file():
            return str(found)
    except ImportError:
        pass
    on_path = shutil.which("node")
    if on_path is None:
        raise RuntimeError("these tests need Node: `pip install playwright`, or install nodejs 22 or later")
    return on_path
