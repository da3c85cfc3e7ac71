"""Broadcasts from Chromium in the codecs that it sends and aiortc does not: packaged, forwarded, recorded; and a
recording in which one codec follows the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from playwright.async_api import Browser, Page, Route

from tests.e2e.place import Person, Place, encoder
from tests.e2e.test_dash import MODULES
from tests.e2e.test_renditions import HLS
from tests.e2e.test_whep import PLAYER
from tests.support import eventually

PUBLISH = """async ([url, token, codec]) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
    const pen = canvas.getContext('2d');
    let count = 0;
    setInterval(() => {
        pen.fillStyle = `hsl(${count++ * 7 % 360} 80% 50%)`;
        pen.fillRect(0, 0, 320, 180);
    }, 50);
    const sound = new AudioContext();
    const tone = sound.createOscillator();
    const into = sound.createMediaStreamDestination();
    tone.connect(into);
    tone.start();
    const pc = new RTCPeerConnection();
    pc.addTransceiver(into.stream.getAudioTracks()[0], { direction: 'sendonly' });
    const picture = pc.addTransceiver(canvas.captureStream(20).getVideoTracks()[0], { direction: 'sendonly' });
    const all = RTCRtpSender.getCapabilities('video').codecs;
    picture.setCodecPreferences(all.filter((one) => one.mimeType === `video/${codec}` || /rtx$/.test(one.mimeType)));
    await pc.setLocalDescription(await pc.createOffer());
    const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
    const answer = await fetch(url, { method: 'POST', body: pc.localDescription.sdp, headers });
    const text = await answer.text();
    if (answer.status !== 201) return text;
    await pc.setRemoteDescription({ type: 'answer', sdp: text });
    const session = answer.headers.get('Location');
    window.leave = async () => { await fetch(session, { method: 'DELETE', headers }); pc.close(); };
    return '';
}"""
SEEN = "() => document.querySelector('video')?.currentTime > 1 && document.querySelector('video').videoWidth > 0"
REPLAY = """(url) => {
    const video = document.querySelector('video');
    window.player = new Hls();
    player.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.failed = data.details; });
    player.loadSource(url);
    player.attachMedia(video);
    video.playbackRate = 2;
    video.play();
}"""
AT_END = """() => window.failed
    || document.querySelector('video').currentTime > (player.levels[0]?.details?.totalduration ?? Infinity) - 0.5"""


async def blank(browser: Browser, place: Place) -> Page:
    """A page of the same host without our policy, by the name that browsers take for secure."""
    page = await browser.new_page()

    async def fulfil(route: Route) -> None:
        await route.fulfill(body="<!doctype html><video muted></video>", content_type="text/html")

    await page.route("**/blank", fulfil)
    await page.goto(f"{place.http}/blank")
    return page


class Stay:
    """One broadcast, and who publishes to it."""

    def __init__(self, browser: Browser, place: Place, person: Person, started: Any) -> None:
        self.browser, self.place, self.person, self.started = browser, place, person, started

    async def publish(self, codec: str) -> Page:
        page = await blank(self.browser, self.place)
        told = await page.evaluate(PUBLISH, [self.started["ingest"]["whip"], self.started["stream_key"], codec])
        assert told == ""
        return page

    async def codecs(self, *begin: str) -> None:
        """Until it is live in these."""

        async def there() -> bool:
            shown = await self.place.call("GET", f"/live/{self.started['id']}")
            return shown["state"] == "live" and [track["codec"][:4] for track in shown["tracks"] or []] == [*begin]

        await eventually(there, within=90, every=0.2)

    async def watched(self) -> None:
        """By hls.js and by WebRTC, both at once."""
        hls, whep = await blank(self.browser, self.place), await blank(self.browser, self.place)
        await hls.add_script_tag(path=str(MODULES / "hls.js/dist/hls.min.js"))
        await hls.evaluate(HLS, f"{self.place.http}/live/{self.started['id']}/p/index.m3u8")
        await whep.evaluate("document.querySelector('video').remove()")
        assert await whep.evaluate(PLAYER, self.started["playback"]["whep"]) == ""
        for page in (hls, whep):
            await page.wait_for_function(SEEN, timeout=60_000)
        assert await hls.evaluate("window.failed") is None
        for page in (hls, whep):
            await page.close()


async def test_vp9_and_av1_from_the_browser_then_h264_by_rtmp(browser: Browser, place: Place, ffmpeg: str) -> None:
    person = await place.register("codecs")
    started = await place.call("POST", "/live/start", {"title": "Codecs"}, person.access_token)
    stay = Stay(browser, place, person, started)
    for codec, name in (("VP9", "vp09"), ("AV1", "av01")):
        page = await stay.publish(codec)
        await stay.codecs(name, "opus")
        await stay.watched()
        await page.evaluate("leave()")
        await page.close()
    # what HLS cannot carry is refused in words
    page = await blank(browser, place)
    refused = json.loads(await page.evaluate(PUBLISH, [started["ingest"]["whip"], started["stream_key"], "VP8"]))
    assert refused["code"] == "no_common_codec"
    assert "VP8" in refused["detail"] + str(refused["offered"])
    async with encoder(ffmpeg, f"{place.rtmp}/{started['stream_key']}"):
        await stay.codecs("avc1", "mp4a")
        await asyncio.sleep(3)  # of media
    await place.call("POST", "/live/end", {"stream_id": started["id"]}, person.access_token)

    async def recorded() -> Any:
        return (await place.call("GET", f"/live/{started['id']}"))["recording"]

    recording = await eventually(recorded, within=60, every=0.2)
    await page.add_script_tag(path=str(MODULES / "hls.js/dist/hls.min.js"))
    await page.evaluate(REPLAY, recording["hls"])
    listed = await page.evaluate("async (url) => (await fetch(url)).text()", recording["hls"])
    [named] = [line for line in listed.split('"') if "avc1" in line]
    assert {one.partition(".")[0] for one in named.split(",")} == {"vp09", "av01", "avc1", "opus", "mp4a"}
    # from the beginning to the end, over both changes; the last frames may be shorter than what is listed
    await page.wait_for_function(AT_END, timeout=90_000)
    assert await page.evaluate("window.failed") is None
