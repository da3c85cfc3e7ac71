"""A browser publishes two sizes by WebRTC; a player moves between those and one that is encoded because it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.e2e.place import Place, Window
from tests.e2e.test_dash import MODULES
from tests.e2e.test_renditions import HLS, empty
from tests.support import eventually

PUBLISH = """async ([url, token]) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 640, height: 360});
    const paint = canvas.getContext('2d');
    let n = 0;
    setInterval(() => {
        n += 1;
        paint.fillStyle = `hsl(${n % 360} 80% 50%)`;
        paint.fillRect(0, 0, 640, 360);
        paint.fillStyle = 'white';
        paint.fillRect((n * 5) % 600, 100, 40, 160);
    }, 50);
    const pc = window.pc = new RTCPeerConnection();
    const [track] = canvas.captureStream(20).getTracks();
    const video = pc.addTransceiver(track, {direction: 'sendonly', sendEncodings: [
        {rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150000}, {rid: 'h', maxBitrate: 900000},
    ]});
    const h264 = RTCRtpSender.getCapabilities('video').codecs.filter((c) => /H264|rtx/.test(c.mimeType));
    video.setCodecPreferences(h264);
    const sound = new AudioContext().createMediaStreamDestination();
    pc.addTransceiver(sound.stream.getTracks()[0], {direction: 'sendonly'});
    await pc.setLocalDescription();
    const answer = await fetch(url, {method: 'POST', body: pc.localDescription.sdp,
        headers: {'Content-Type': 'application/sdp', 'Authorization': `Bearer ${token}`}});
    if (answer.status !== 201) throw new Error(await answer.text());
    await pc.setRemoteDescription({type: 'answer', sdp: await answer.text()});
}"""


async def test_a_player_changes_between_simulcast_layers_and_a_rung(browser: Browser, place: Place) -> None:
    person = await place.register("layers")
    started: Any = await place.call("POST", "/live/start", {"title": "Layers"}, person.access_token)
    id = started["id"]
    library: Path = MODULES / "hls.js/dist/hls.min.js"
    publisher = await empty(browser, place, library)
    await publisher.evaluate(PUBLISH, [f"{place.http}/api/v1/live/whip", person.access_token])

    async def layers() -> bool:
        return bool((await place.call("GET", f"/live/{id}"))["state"] == "live")

    await eventually(layers, within=60)
    page = await empty(browser, place, library)
    listed = "async (url) => (await (await fetch(url)).text()).match(/v[-a-z0-9]*\\.m3u8/g)"
    url = f"{place.http}/live/{id}/p/index.m3u8"

    async def both() -> bool:
        found = await page.evaluate(listed, url)
        return {"v.m3u8", "v-l.m3u8", "v-240p.m3u8"} <= set(found or ())

    await eventually(both, within=60)
    await page.evaluate(HLS, url)
    seen = Window(page)
    await seen.plays(beyond=1, within=60)
    heights = await page.evaluate("player.levels.map((level) => level.height)")
    assert sorted(heights) == [90, 240, 360]
    for height in (240, 90, 360):

        async def shown(height: int = height) -> bool:
            # a player that waited in vain for a busy machine goes elsewhere: then the viewer chooses again
            await page.evaluate(
                "(level) => { if (player.loadLevel !== level) player.currentLevel = level; }", heights.index(height)
            )
            return bool(await page.evaluate("document.querySelector('video').videoHeight") == height)

        await eventually(shown, within=40, every=0.5)
        await seen.plays(beyond=0.5, within=40)
    assert await page.evaluate("window.failed") is None
