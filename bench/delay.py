"""`bin/bench delay`: how late the demo's picture is in a browser, read from the clock that is drawn in it.

The page, the browser's arguments and the reader of the clock are those of the browser tests.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median as middle

from playwright.async_api import Error, async_playwright

from bench.figures import Table, percentile, verdict
from bench.processes import BenchError, say
from bench.server import Server
from tests.e2e.place import CHROMIUM_ARGUMENTS, Place, chromium, window
from tests.e2e.test_watch import clock_delay

SETTLE = 6.0
EVERY = 0.5


def run(seconds: int, folder: Path) -> None:
    try:
        program = chromium()
    except AssertionError as error:
        raise BenchError(str(error)) from None
    with Server(folder / "ours", {"LOG_LEVEL": "warning"}, demo=True) as server:
        delays, shown = asyncio.run(watch(program, server, folder, seconds))
        if complaints := server.complaints():
            say(f"its log says:\n{complaints[:1000]}")
    table = Table(
        f"From the demo's clock to the picture in headless Chromium, read {len(delays)} times",
        ["median, s", "least, s", "90 %, s", "most, s", "the page says, s"],
    )
    figures = (middle(delays), min(delays), percentile(delays, 0.9), max(delays), middle(shown))
    table.add(*(f"{value:.2f}" for value in figures))
    table.show()
    say()
    verdict("delay in the browser", middle(delays), 1.5, most=True, unit=" s")


async def watch(program: str, server: Server, folder: Path, seconds: int) -> tuple[list[float], list[float]]:
    """The watch page, left to settle, then read every half second: (from the clock, as the page shows it), s."""
    place = Place(http=server.url, rtmp="", log=folder / "ours" / "server.log")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        try:
            here = await window(await browser.new_context(), f"{server.url}/watch/{await place.demo()}")
            await here.plays(beyond=SETTLE, within=40)
            delays, shown = [], []
            for _ in range(int(seconds / EVERY)):
                delays.append(await clock_delay(here))
                shown.append(await here.delay())
                await asyncio.sleep(EVERY)
        except (AssertionError, Error) as error:
            raise BenchError(f"the page did not play: {error}") from None
        finally:
            await browser.close()
    return delays, shown
