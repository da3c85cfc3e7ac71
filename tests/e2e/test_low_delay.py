"""The short delay is lost and comes back by itself; and it ends at once for who may not watch any more."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.e2e.place import Place, encoder, window
from tests.support import eventually

CANDIDATE = re.compile(r"^(a=candidate:\S+ \d udp \d+ )(\S+) (\d+)( .*)$", re.MULTILINE)
WITHIN = 60_000
SHOWS = """(by) => {
    const video = document.querySelector('.player video');
    const webrtc = video.srcObject !== null;
    return (by === 'WebRTC') === webrtc && video.readyState > 2 && !video.paused && video.currentTime > 0.3;
}"""


class Network:
    """Carries the datagrams between the server and pages that find it in their answers. `broken`: nothing comes
    through."""

    def __init__(self) -> None:
        self.broken = False
        self._server = 0
        self._front = self._opened("0.0.0.0", self._out)
        self._ways: dict[tuple[str, int], socket.socket] = {}

    async def answer(self, route: Route) -> None:
        """A session is begun as ever, but its media comes this way."""
        response = await route.fetch()
        port = self._front.getsockname()[1]

        def here(found: re.Match[str]) -> str:
            self._server = int(found[3])
            return f"{found[1]}{found[2]} {port}{found[4]}"

        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        body = CANDIDATE.sub(here, await response.text())
        await route.fulfill(status=response.status, headers=headers, body=body)

    def close(self) -> None:
        for one in (self._front, *self._ways.values()):
            asyncio.get_running_loop().remove_reader(one)
            one.close()

    def _opened(self, host: str, read: object, *words: object) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.bind((host, 0))
        asyncio.get_running_loop().add_reader(one, read, *words)  # type: ignore[arg-type]
        return one

    def _out(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                datagram, source = self._front.recvfrom(2048)
                if self.broken:
                    continue
                if source not in self._ways:
                    self._ways[source] = self._opened("127.0.0.1", self._back, source)
                self._ways[source].sendto(datagram, ("127.0.0.1", self._server))

    def _back(self, source: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            while True:
                datagram = self._ways[source].recv(2048)
                if not self.broken:
                    self._front.sendto(datagram, source)


@pytest_asyncio.fixture(loop_scope="session")
async def network() -> AsyncIterator[Network]:
    network = Network()
    yield network
    network.close()


async def test_it_is_lost_comes_back_and_ends_with_the_right_to_watch(
    browser: Browser, place: Place, network: Network, ffmpeg: str
) -> None:
    streamer = await place.register("streamer")
    started = await place.call("POST", "/live/start", {"title": "Low"}, streamer.access_token)
    context = await browser.new_context()
    await context.add_init_script("localStorage.setItem('sf.low', 'yes')")
    await context.route("**/whep", network.answer)

    async def live() -> bool:
        return bool((await place.call("GET", f"/live/{started['id']}"))["state"] == "live")

    async with encoder(ffmpeg, f"{place.rtmp}/{started['stream_key']}"):
        await eventually(live, every=0.1)
        viewer = await window(context, f"{place.http}/watch/{started['id']}")
        page = viewer.page
        low = page.get_by_role("button", name="Low delay", include_hidden=True)
        await page.wait_for_function(SHOWS, arg="WebRTC", timeout=WITHIN)
        network.broken = True
        await page.wait_for_function(SHOWS, arg="HLS", timeout=WITHIN)
        await expect(low).to_have_attribute("aria-pressed", "false")
        network.broken = False
        await page.wait_for_function(SHOWS, arg="WebRTC", timeout=WITHIN)
        await expect(low).to_have_attribute("aria-pressed", "true")
        await place.call("PUT", f"/live/{started['id']}", {"visibility": "private"}, streamer.access_token)
        await expect(page.locator("#title")).to_have_text("There is no such broadcast")
        await expect(page.locator(".curtain")).to_contain_text("There is no such broadcast")
        assert await page.evaluate("document.querySelector('.player video').srcObject") is None
        assert viewer.wrong == []
