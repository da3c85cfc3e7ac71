"""`bin/bench webrtc --delay`: from a picture drawn in one page of a browser to the same picture shown in another.

The first page draws the time into a canvas as black and white blocks and publishes it by WHIP; the second plays the
broadcast by WHEP, then by LL-HLS, and reads the time back from each picture when it is shown. Both pages read one
clock. What is measured holds drawing, capturing, coding, the way there, the server, the way back, decoding, showing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median as middle
from typing import Any

from playwright.async_api import Browser, Error, Page, async_playwright

from bench.figures import Table, percentile, verdict
from bench.processes import BenchError, say
from bench.server import Server
from tests.e2e.place import CHROMIUM_ARGUMENTS, chromium
from tests.e2e.test_whep import PLAYER

ARGUMENTS = [
    *CHROMIUM_ARGUMENTS,
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
SETTLE = 4.0
"""Seconds that are not counted: players begin with more of a buffer than they keep."""
WITHIN = 30.0

PUBLISHER = """async ([url, key]) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 360];
    document.body.append(canvas);
    const pen = canvas.getContext('2d', { alpha: false });
    const draw = () => {
        const now = Date.now() % (1 << 20);
        const code = now | ((now ^ (now >> 5) ^ (now >> 10) ^ (now >> 15)) & 31) << 20;
        for (let bit = 0; bit < 25; bit += 1) {
            pen.fillStyle = code >> bit & 1 ? '#fff' : '#000';
            pen.fillRect(128 * (bit % 5), 72 * Math.floor(bit / 5), 128, 72);
        }
    };
    draw();
    window.drawing = setInterval(draw, 1000 / 30);
    const pc = window.pc = new RTCPeerConnection();
    const [track] = canvas.captureStream(30).getVideoTracks();
    const sender = pc.addTransceiver(track, { direction: 'sendonly', sendEncodings: [{ maxBitrate: 2500000 }] });
    const { codecs } = RTCRtpSender.getCapabilities('video');
    sender.setCodecPreferences(codecs.filter((codec) => codec.mimeType === 'video/H264'));
    await pc.setLocalDescription(await pc.createOffer());
    const headers = { 'Content-Type': 'application/sdp', 'Authorization': `Bearer ${key}` };
    const answer = await fetch(url, { method: 'POST', body: pc.localDescription.sdp, headers });
    if (answer.status !== 201) return `${answer.status} ${await answer.text()}`;
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return '';
}"""
READER = """() => {
    const video = document.querySelector('.player video') ?? document.querySelector('video');
    const pen = new OffscreenCanvas(25, 1).getContext('2d', { willReadFrequently: true });
    window.delays = [];
    window.unread = 0;
    const look = (now, { expectedDisplayTime }) => {
        const shown = Math.round(performance.timeOrigin + Math.max(now, expectedDisplayTime));
        const [across, down] = [video.videoWidth / 5, video.videoHeight / 5];
        for (let bit = 0; bit < 25; bit += 1) {
            const [x, y] = [(bit % 5 + 0.5) * across, (Math.floor(bit / 5) + 0.5) * down];
            pen.drawImage(video, x - 2, y - 2, 4, 4, bit, 0, 1, 1);
        }
        const { data } = pen.getImageData(0, 0, 25, 1);
        let code = 0;
        for (let bit = 0; bit < 25; bit += 1) code |= (data[4 * bit + 1] > 127) << bit;
        const drawn = code & 0xfffff;
        const check = (drawn ^ (drawn >> 5) ^ (drawn >> 10) ^ (drawn >> 15)) & 31;
        if (check === code >> 20) window.delays.push((shown - drawn) & 0xfffff);
        else window.unread += 1;
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
}"""


def run(seconds: int, folder: Path) -> None:
    try:
        program = chromium()
    except AssertionError as error:
        raise BenchError(str(error)) from None
    with Server(folder / "ours", {"RTC_HOST": "127.0.0.1"}) as server:
        found = asyncio.run(measure(program, server, seconds))
        if complaints := server.complaints():
            say(f"its log says:\n{complaints[:1000]}")
    table = Table(
        "From a canvas in one page to the picture in another, headless Chromium, ms",
        ["", "pictures", "unread", "p50", "p95", "least", "most"],
    )
    for name, (delays, unread) in found.items():
        figures = (middle(delays), percentile(delays, 0.95), min(delays), max(delays))
        table.add(name, len(delays), unread, *(f"{value:.0f}" for value in figures))
    table.show()
    say()
    verdict("glass to glass by WHIP and WHEP", middle(found["WHEP"][0]), 200, most=True, unit=" ms")


async def measure(program: str, server: Server, seconds: int) -> dict[str, tuple[list[int], int]]:
    """By the way of playing: delays in ms, and how many pictures could not be read."""
    token = server.register()
    made = server.call("POST", "/api/v1/live/start", {"title": "Glass to glass"}, token)
    found = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            publisher = await page(browser, f"{server.url}/docs")
            said = await publisher.evaluate(PUBLISHER, [made["ingest"]["whip"], made["stream_key"]])
            if said:
                raise BenchError(f"the broadcast was refused: {said}")
            await live(server, made["id"])
            viewer = await page(browser, f"{server.url}/docs")
            if said := await viewer.evaluate(PLAYER, made["playback"]["whep"]):
                raise BenchError(f"the player was refused: {said}")
            found["WHEP"] = await delays(viewer, seconds)
            await viewer.close()
            viewer = await page(browser, f"{server.url}/watch/{made['id']}")
            found["LL-HLS"] = await delays(viewer, seconds)
        except Error as error:
            raise BenchError(f"the browser: {error}") from None
        finally:
            await browser.close()
    return found


async def page(browser: Browser, url: str) -> Page:
    """In a profile of its own, as another person's."""
    made = await (await browser.new_context()).new_page()
    await made.goto(url)
    return made


async def live(server: Server, id: str) -> None:
    for _ in range(int(WITHIN / 0.2)):
        shown: Any = await asyncio.to_thread(server.call, "GET", f"/api/v1/live/{id}")
        if shown["state"] == "live":
            return
        await asyncio.sleep(0.2)
    raise BenchError("the broadcast did not come on air")


async def delays(viewer: Page, seconds: int) -> tuple[list[int], int]:
    playing = "() => (document.querySelector('.player video') ?? document.querySelector('video'))?.currentTime > 1"
    await viewer.wait_for_function(playing, timeout=WITHIN * 1000)
    await asyncio.sleep(SETTLE)
    await viewer.evaluate(READER)
    await asyncio.sleep(seconds)
    read, unread = await viewer.evaluate("[window.delays, window.unread]")
    if not read:
        raise BenchError(f"no picture could be read; {unread} were shown")
    return read, unread
