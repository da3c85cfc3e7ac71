"""A broadcast with Opus: AAC beside it for players that ask, made by a child that may die."""

from __future__ import annotations

import array
import asyncio
import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import av

from tests.server.streaming.conftest import User
from tests.server.streaming.test_live import decode, is_state, text
from tests.support import eventually

ENCODER = Path(__file__).parents[2] / "media" / "ingest" / "opus_encoder.py"


async def push(streamer: User, url: str, seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, str(ENCODER), url, str(seconds))
    streamer.pushes.append(process)


def onsets(data: bytes) -> list[float]:
    """Where a tone begins after silence, s on the file's timeline."""
    found: list[float] = []
    quiet = RATE = 48_000
    with av.open(io.BytesIO(data)) as file:
        plain = av.AudioResampler("flt", "mono", RATE)
        for packet in file.demux(file.streams.audio[0]):
            if packet.pts is None:
                continue
            at = float(packet.pts * packet.time_base)
            for frame in packet.decode():
                for mono in plain.resample(frame):
                    for number, value in enumerate(array.array("f", bytes(mono.planes[0])[: 4 * mono.samples])):
                        quiet += 1
                        if abs(value) > 0.15:
                            if quiet > RATE // 4:
                                found.append(at + number / RATE)
                            quiet = 0
    return found


async def track(http: aiohttp.ClientSession, url: str, most: int) -> bytes:
    """The init segment and the oldest segments with media of a media playlist."""
    playlist = await text(http, url)
    names = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)[:1]
    names += [m[1] for m in re.finditer(r"(?<!GAP\n)#EXTINF:.*\n(.*\.m4s)", playlist)][:most]
    files = []
    for name in names:
        async with http.get(urljoin(url, name)) as answer:
            assert answer.status == 200, name
            files.append(await answer.read())
    return b"".join(files)


async def with_media(http: aiohttp.ClientSession, url: str, segments: int) -> str:
    async def enough() -> str:
        playlist = await text(http, url)
        assert len(re.findall(r"(?<!GAP\n)#EXTINF", playlist)) >= segments, playlist
        return playlist

    return await eventually(enough, within=60, every=0.1)


def children_of(pid: int) -> list[int]:
    """Processes that convert sound for the server of this process id."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == pid and b"media.transcode.sound" in words:
            found.append(int(folder.name))
    return found


async def test_players_that_cannot_play_opus_get_aac(streamer: User, http: aiohttp.ClientSession) -> None:
    started: dict[str, Any] = await streamer.start("Opus")
    await push(streamer, started["ingest"]["rtmp"], 60)
    await streamer.until(started["id"], is_state("live"))
    hls = started["playback"]["hls"]
    index = await text(http, hls)
    assert re.search(r'CODECS="avc1\.[0-9A-F]+,opus"', index)
    assert re.search(r'CODECS="avc1\.[0-9A-F]+,mp4a\.40\.2"', index)
    assert streamer.server._process is not None
    pid = streamer.server._process.pid
    assert not children_of(pid)  # nobody asked for it yet

    aac = urljoin(hls, "a-aac.m3u8")
    first = await text(http, aac)
    assert "#EXT-X-PART:" in first
    [child] = children_of(pid)
    await with_media(http, aac, 2)
    # heard at the same time: the tone is in both at the same place of the timeline
    opus, made = await track(http, urljoin(hls, "a.m3u8"), 20), await track(http, aac, 20)
    ours, theirs = await asyncio.to_thread(onsets, made), await asyncio.to_thread(onsets, opus)
    assert ours
    for at in ours[1:]:
        assert min(abs(at - other) for other in theirs) < 0.005

    os.kill(child, signal.SIGKILL)

    await eventually(lambda: [found for found in children_of(pid) if found != child])
    edge = int(re.findall(r"a-aac-(\d+)\.m4s", await text(http, aac))[-1])

    async def goes_on() -> None:
        playlist = await text(http, aac)
        assert re.search(rf"(?<!GAP\n)#EXTINF:.*\na-aac-{edge + 2}\.m4s", playlist), playlist

    await eventually(lambda: _true(goes_on), within=60, every=0.1)
    assert "#EXT-X-GAP" not in await text(http, urljoin(hls, "v.m3u8"))
    # the ffmpeg program reads every rendition of the multivariant playlist
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.until(started["id"], is_state("ended"))
    frames = await decode(ended["recording"]["hls"])
    assert frames["video"] > 100
    assert frames["audio"] > 100
    await eventually(lambda: not children_of(pid))


async def _true(condition: Any) -> bool:
    await condition()
    return True
