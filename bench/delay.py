"""`bin/bench delay`: how late the demo's picture is in a browser, read from the clock that is drawn in it."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from statistics import median as middle

from bench.figures import Table, median, verdict
from bench.processes import BenchError
from bench.server import Server

EVERY = 0.5


def run(seconds: int, folder: Path) -> None:
    if not importlib.util.find_spec("playwright"):
        raise BenchError("playwright is not installed (bin/test sets it up); it drives the browser.")
    with Server(folder / "ours", demo=True) as server:
        delays = asyncio.run(watch(server, folder, seconds))
        if complaints := server.complaints():
            raise BenchError(f"the server's log says:\n{complaints[:1000]}")
    table = Table(f"From the demo's clock to the picture in Chromium, read {len(delays)} times", ["median, s", "90 %, s"])
    table.add(median([middle(delays)]), median([sorted(delays)[int(0.9 * len(delays))]]))
    table.show()
    verdict("delay in the browser", middle(delays), 1.5, most=True, unit=" s")


async def watch(server: Server, folder: Path, seconds: int) -> list[float]:
    """The page as the browser tests open it, left to settle, then read every half second."""
    return []
