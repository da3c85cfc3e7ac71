"""What the browser tests speak of: the running server, the browser's arguments, a window, and an encoder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import urllib.request
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
PASSWORD = "a sentence that is long"


def chromium() -> str:
    """The system's Chromium: Playwright's own build has no H.264."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    assert mac.is_file(), "These tests need Chromium: apt-get install chromium (macOS: install Google Chrome)."
    return str(mac)


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    username: str
    access_token: str
    refresh_token: str

    def session(self) -> str:
        """The script that signs a browser context in."""
        stored = {"refresh_token": self.refresh_token, "user": {"id": self.id, "username": self.username}}
        # once only: the token rotates, and the pages keep the new one
        return f"""if (!localStorage.getItem('sf.tested')) {{
            localStorage.setItem('sf.tested', '1');
            localStorage.setItem('sf.session', {json.dumps(json.dumps(stored))});
        }}"""


@dataclass(frozen=True, slots=True)
class Place:
    """The running server: `http` and `rtmp` addresses, and its log."""

    http: str
    rtmp: str
    log: Path

    async def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """One API call; the answer as parsed JSON."""

        def send() -> Any:
            headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(self.http + "/api/v1" + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
            return json.loads(text) if text else None

        return await asyncio.to_thread(send)

    async def register(self, stem: str = "viewer") -> Person:
        name = f"{stem}_{uuid.uuid4().hex[:8]}"
        answer = await self.call(
            "POST", "/auth/register", {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        )
        return Person(answer["user"]["id"], name, answer["access_token"], answer["refresh_token"])

    async def demo(self) -> str:
        """The id of the demo broadcast, once it is live."""
        for _ in range(600):
            page = await self.call("GET", "/live")
            for item in page["items"]:
                if item["state"] == "live" and "demo" in item["owner"]["username"]:
                    return str(item["id"])
            await asyncio.sleep(0.1)
        raise AssertionError(f"the demo is not live; the log ends with {self.log.read_text()[-2000:]}")


class Window:
    """A page with what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        # a policy that was broken, or a module that failed; what the network did is judged by what the page shows
        if kind == "error" and "Failed to load resource" not in text:
            self.wrong.append(text)

    async def plays(self, beyond: float = 1.0, within: float = 40.0) -> None:
        """Wait until the picture has moved on for `beyond` s from now."""
        await self.page.wait_for_function(
            """([beyond]) => {
                const video = document.querySelector('.player video');
                if (!video || video.readyState < 3 || video.paused) return false;
                window.__from ??= video.currentTime;
                return video.currentTime > window.__from + beyond;
            }""",
            arg=[beyond],
            timeout=within * 1000,
        )
        await self.page.evaluate("delete window.__from")

    async def says(self, text: str) -> None:
        await self.page.locator(".chat-input").fill(text)
        await self.page.keyboard.press("Enter")

    async def reads(self, text: str, within: float = 30.0) -> None:
        await self.page.locator(".message-text", has_text=text).first.wait_for(timeout=within * 1000)

    async def delay(self) -> float:
        """What the page shows as delay, s."""
        text = await self.page.locator(".delay").text_content()
        return float((text or "").split()[0])


async def window(context: BrowserContext, url: str) -> Window:
    opened = Window(await context.new_page())
    await opened.page.goto(url)
    return opened


@contextlib.asynccontextmanager
async def encoder(
    ffmpeg: str, url: str, *, keys: float = 1.0, rate: int = 25, size: str = "320x180"
) -> AsyncIterator[None]:
    """ffmpeg pushing a test picture; `keys`: seconds between key frames."""
    process = await asyncio.create_subprocess_exec(
        *[ffmpeg, "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"],
        *["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-pix_fmt", "yuv420p", "-c:v", "libx264"],
        *["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(round(rate * keys)), "-keyint_min", "1"],
        *["-sc_threshold", "0", "-c:a", "aac", "-f", "flv", url],
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
