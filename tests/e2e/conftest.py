"""The real server as a process of its own with the demo broadcast, and a real Chromium in front of it."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.e2e.place import CHROMIUM_ARGUMENTS, Place, chromium
from tests.support import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
START_WITHIN = 90.0
SHOWN_WITHIN = 20.0
"""Seconds for what a page is to show; it is only waited for on a machine that is busy."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`python -m server --demo` with ports and a data folder of its own."""
    folder = tmp_path_factory.mktemp("server")
    http, rtmp = free_port(), free_port()
    environ = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_PORT", "_HOST"))}
    environ |= {
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(http),
        "RTMP_HOST": "127.0.0.1",
        "RTMP_PORT": str(rtmp),
        "RTC_PORT": "0",
        "DATA_DIR": str(folder / "var"),
        "DISK_MIN_FREE": "0",
        "RATE_LIMIT_AUTH": "1000/minute",
        "RATE_LIMIT_WRITE": "100000/minute",
        "RECONNECT_WINDOW": "4",
        "THUMBNAIL_SECONDS": "2",
        "GRANT_SECONDS": "9",
    }
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--demo"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                ready.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        assert ready.wait(START_WITHIN), f"not ready within {START_WITHIN} s: {(folder / 'log').read_text()[-3000:]}"
        yield Place(http=f"http://127.0.0.1:{http}", rtmp=f"rtmp://127.0.0.1:{rtmp}/live", log=folder / "log")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join(5)
        process.stdout.close()
        log.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests share one loop, because the one browser lives in it."""
    for item in items:
        if item.path.is_relative_to(HERE) and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chrome() -> AsyncIterator[Callable[[], Awaitable[Browser]]]:
    """Gives the run's Chromium, started anew when it has died."""
    expect.set_options(timeout=SHOWN_WITHIN * 1000)
    running: list[Browser] = []
    async with async_playwright() as playwright:

        async def give() -> Browser:
            if not running or not running[-1].is_connected():
                started = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
                running.append(started)
            return running[-1]

        yield give
        for browser in running:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chrome: Callable[[], Awaitable[Browser]]) -> AsyncIterator[Browser]:
    """Chromium without any window; what the test opens is closed, with all that its profiles have kept."""
    browser = await chrome()
    yield browser
    for context in browser.contexts:
        await context.close()


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    assert found, "These tests push with ffmpeg: install it (apt-get install ffmpeg, brew install ffmpeg)."
    return found
