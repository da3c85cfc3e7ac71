"""Chromium plays a broadcast by WebRTC as any WHEP player would: a few lines of its own, none of our pages."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser

from tests.e2e.place import Place, encoder
from tests.support import eventually

PLAYER = """async (url) => {
    const pc = window.pc = new RTCPeerConnection();
    const video = document.createElement('video');
    video.muted = video.autoplay = true;
    video.srcObject = new MediaStream();
    document.body.append(video);
    pc.ontrack = (event) => video.srcObject.addTrack(event.track);
    for (const kind of ['video', 'audio']) pc.addTransceiver(kind, { direction: 'recvonly' });
    await pc.setLocalDescription(await pc.createOffer());
    const headers = { 'Content-Type': 'application/sdp' };
    const answer = await fetch(url, { method: 'POST', body: pc.localDescription.sdp, headers });
    if (answer.status !== 201) return `${answer.status} ${await answer.text()}`;
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    window.session = answer.headers.get('Location');
    return '';
}"""
FIGURES = """async () => {
    const found = {};
    for (const report of (await pc.getStats()).values()) {
        if (report.type === 'inbound-rtp') found[report.kind] = report;
    }
    return found;
}"""


async def test_chromium_plays_picture_and_sound(place: Place, browser: Browser, ffmpeg: str) -> None:
    streamer = await place.register("streamer")
    started = await place.call("POST", "/live/start", {"title": "WHEP"}, streamer.access_token)
    page = await browser.new_page()
    await page.goto(f"{place.http}/docs")

    async def live() -> bool:
        shown = await place.call("GET", f"/live/{started['id']}")
        return bool(shown["state"] == "live")

    async def figures() -> Any:
        return await page.evaluate(FIGURES)

    async with encoder(ffmpeg, f"{place.rtmp}/{started['stream_key']}"):
        await eventually(live, every=0.1)
        assert await page.evaluate(PLAYER, started["playback"]["whep"]) == ""
        await page.wait_for_function("() => document.querySelector('video').currentTime > 2", timeout=40_000)
        assert await page.evaluate("document.querySelector('video').videoWidth") == 320

        async def heard() -> bool:
            return bool((await figures())["audio"]["packetsReceived"] > 50)

        await eventually(heard, every=0.1)
        assert (await figures())["video"]["framesDecoded"] > 30
        gone = await page.evaluate("async () => (await fetch(session, { method: 'DELETE' })).status")
        assert gone == 204
        ended = "() => ['failed', 'closed', 'disconnected'].includes(pc.connectionState)"
        await page.wait_for_function(ended, timeout=40_000)
