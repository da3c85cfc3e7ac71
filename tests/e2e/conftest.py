"""The real server as a process of its own with the demo broadcast, and a real Chromium in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.e2e.place import CHROMIUM_ARGUMENTS, Place, chromium
from tests.support import free_port

ROOT = Path(__file__).parent.parent.parent
START_WITHIN = 40.0


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
        "DATA_DIR": str(folder / "var"),
        "DISK_MIN_FREE": "0",
        "RATE_LIMIT_AUTH": "1000/minute",
        "RATE_LIMIT_WRITE": "100000/minute",
        "RECONNECT_WINDOW": "4",
        "THUMBNAIL_SECONDS": "2",
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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    assert found, "These tests push with ffmpeg: install it (apt-get install ffmpeg, brew install ffmpeg)."
    return found
