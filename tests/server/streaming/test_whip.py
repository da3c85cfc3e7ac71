"""Going live by WebRTC against a real server: aiortc in a process of its own is the publisher, ffmpeg the player."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.server.streaming.conftest import User
from tests.servers.lossy_network import LossyNetwork
from tests.support import eventually

log = logging.getLogger(__name__)

WHIP = "/api/v1/live/whip"


class Publishing:
    """tests.servers.whip_publisher at work; `said` is what it said, by name."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: dict[str, Any] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said |= json.loads(line)

    async def until(self, name: str, value: Any = None) -> Any:
        return await eventually(
            lambda: name in self.said and (value is None or self.said[name] == value), what=f"{name} of {self.said}"
        )

    async def stop(self) -> None:
        """By DELETE."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"stop\n")
        await self.until("deleted", 200)
        await self.process.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reader


Publish = Callable[..., Awaitable[Publishing]]


@pytest.fixture
async def publish() -> AsyncIterator[Publish]:
    made: list[Publishing] = []

    async def begin(user: User, token: str, *more: str) -> Publishing:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.servers.whip_publisher", user.server.url + WHIP, token, *more,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )  # fmt: skip
        made.append(Publishing(process))
        await made[-1].until("status")
        return made[-1]

    yield begin
    for one in made:
        await one.kill()


def probed(url: str) -> dict[str, Any]:
    """Kind of each stream to what ffprobe says of it; "duration" in s."""
    words = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", url]
    said = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    streams = {stream["codec_type"]: stream for stream in said["streams"]}
    return {**streams, "duration": float(said["format"].get("duration", 0))}


async def drift(url: str) -> float:
    """Seconds from a white picture to the beep that goes with it, both decoded from one playlist."""
    pictures, sounds = await asyncio.gather(
        measured(url, "-an", "-vf", "blackframe=amount=0:threshold=200,metadata=print:file=-"),
        measured(url, "-vn", "-af", "astats=metadata=1:reset=1,ametadata=print:file=-"),
    )
    flashes = firsts([at for at, name, value in pictures if name == "lavfi.blackframe.pblack" and value < 5])
    beeps = firsts([at for at, name, value in sounds if name == "lavfi.astats.Overall.RMS_level" and value > -30])
    assert len(flashes) >= 2, pictures
    assert len(beeps) >= 2, sounds
    apart = sorted((min((beep - flash for beep in beeps), key=abs) for flash in flashes), key=abs)
    return apart[len(apart) // 2]


async def measured(url: str, *filters: str) -> list[tuple[float, str, float]]:
    """Time on the stream's clock, name and value of what a filter of ffmpeg says."""
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", "-v", "error", "-live_start_index", "0", "-copyts", "-i", url,
        *filters, "-f", "null", "-",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    found, at = [], 0.0
    for line in out.decode().splitlines():
        name, _, value = line.partition("=")
        if line.startswith("frame:"):
            at = float(line.rpartition("pts_time:")[2])
        elif value not in ("-inf", "inf", "nan", "-nan"):
            found.append((at, name, float(value)))
    return found


async def numbers(url: str) -> list[int]:
    """Which of the publisher's pictures are there, by what they say of themselves."""
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", "-v", "error", "-i", url, "-an", "-fps_mode", "passthrough",
        "-vf", "crop=iw:4:0:ih-5,scale=16:1:flags=area,format=gray", "-f", "rawvideo", "-",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    rows = [out[at : at + 16] for at in range(0, len(out), 16)]
    return [int("".join("1" if value > 125 else "0" for value in row), 2) for row in rows]


def firsts(times: list[float]) -> list[float]:
    """Of each run of times that are close together, the first."""
    return [time for time in times if not any(0 < time - other < 0.5 for other in times)]


async def on_air(user: User, id: str) -> dict[str, Any]:
    return await user.until(id, lambda seen: seen["state"] == "live")


async def test_a_publisher_by_webrtc_is_a_broadcast_as_any_other(streamer: User, publish: Publish) -> None:
    started = await streamer.start("From a browser")
    id, key = started["id"], started["stream_key"]
    assert started["ingest"]["whip"] == streamer.server.url + WHIP
    first = await publish(streamer, streamer.token)  # as the studio does
    assert first.said["status"] == 201, first.said
    live = await on_air(streamer, id)
    assert [track["codec"][:4] for track in live["tracks"]] == ["avc1", "opus"]
    assert "by whip" in live["events"][-1]["detail"]
    await asyncio.sleep(4)  # of media
    refused = await publish(streamer, key)
    assert refused.said["status"] == 409
    assert json.loads(refused.said["body"])["code"] == "in_use"

    await first.kill()  # as a network that is gone
    second = await publish(streamer, key)  # as encoders do
    assert second.said["status"] == 201, second.said
    await on_air(streamer, id)
    await second.stop()
    await streamer.until(id, lambda seen: seen["state"] == "interrupted")

    pushed = await streamer.push(started["ingest"]["rtmp"])
    await on_air(streamer, id)
    pushed.kill()
    await streamer.until(id, lambda seen: seen["state"] == "interrupted")
    third = await publish(streamer, key)
    await on_air(streamer, id)
    await asyncio.sleep(1)

    await streamer.call("POST", "/api/v1/live/end", {"stream_id": id})
    await third.until("state", "closed")
    ended = await streamer.until(id, lambda seen: seen["recording"] is not None)
    recording = await asyncio.to_thread(probed, ended["recording"]["hls"])
    assert recording["video"]["codec_name"] == "h264"
    assert recording["duration"] > 6
    assert abs(await drift(ended["recording"]["hls"])) < 0.1
    assert [card["id"] for card in (await streamer.call("GET", "/api/v1/live/mine"))["items"]] == [id]


async def test_a_new_key_hangs_up(streamer: User, publish: Publish) -> None:
    started = await streamer.start()
    publishing = await publish(streamer, started["stream_key"])
    await on_air(streamer, started["id"])
    await streamer.call("POST", "/api/v1/live/key")
    await publishing.until("state", "closed")
    again = await publish(streamer, started["stream_key"])
    assert again.said["status"] == 401


LOSSES = [float(share) for share in os.environ.get("LOSS", "0.05").split(",")]
"""By hand: LOSS=0.01,0.05,0.1 with --log-cli-level=INFO shows what each does."""


@pytest.mark.timeout(300)  # two peers, a network and an encoder: on a busy machine over a minute
@pytest.mark.parametrize("loss", LOSSES)
async def test_what_is_lost_is_asked_for_again(streamer: User, publish: Publish, loss: float) -> None:
    """As many packets lost each way, and one in twenty late, before the server and behind it."""
    network = LossyNetwork(lose=loss, swap=0.05)
    details = await streamer.call("GET", "/health/detailed")
    await network.start(details["details"]["webrtc"]["port"])
    started = await streamer.start()
    publishing = await publish(streamer, streamer.token, "--through", str(network.port))
    await on_air(streamer, started["id"])
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.whep_player", started["playback"]["whep"],
        "--through", str(network.port), "--seconds", "6",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await watching.communicate()
    line = (await on_air(streamer, started["id"]))["health"]["line"]
    await publishing.stop()
    await network.close()
    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    ended = await streamer.until(started["id"], lambda seen: seen["recording"] is not None)
    recorded = await numbers(ended["recording"]["hls"])
    holes = [after - before for before, after in pairwise(recorded)]
    share = len(recorded) / (recorded[-1] - recorded[0] + 1)
    shown: dict[str, Any] = {}
    for words in said.splitlines():
        shown |= json.loads(words)
    log.info("loss %.0f %%: %s, recorded %.1f %%, hole of %d", 100 * loss, network.counts, 100 * share, max(holes) - 1)
    log.info("arrived: %s; shown: %s", line, shown)
    assert network.counts["lost"] > 5
    assert line["recovered"] > 0
    assert shown["frames"] > 30
    assert shown["sounds"] > 10
    assert min(holes) == 1, "each picture once, and in order"
    # (what is lost on a network whose time is made up, and nothing at all of it: tests/media/ingest/test_whip_loss.py)
    assert share > 0.97
    assert abs(await drift(ended["recording"]["hls"])) < 0.25  # the beginning of a beep may be lost, too


class Offering:
    """Requests of a client that never connects."""

    def __init__(self, user: User, token: str | None = None) -> None:
        self.user = user
        self.headers = {"Authorization": f"Bearer {user.token if token is None else token}"}

    async def ask(
        self, method: str, path: str = WHIP, body: bytes | None = None, kind: str = "application/sdp", **more: str
    ) -> tuple[int, Mapping[str, str], str]:
        headers = {**self.headers, "Content-Type": kind, **{name.replace("_", "-"): more[name] for name in more}}
        async with self.user.http.request(method, self.user.server.url + path, data=body, headers=headers) as answer:
            return answer.status, answer.headers.copy(), await answer.text()

    async def code(self, *words: Any, **more: Any) -> tuple[int, str]:
        status, _, text = await self.ask(*words, **more)
        return status, json.loads(text)["code"]


FRAGMENT = "application/trickle-ice-sdpfrag"
OFFER = (Path(__file__).parents[2] / "media" / "rtc" / "offers" / "obs.sdp").read_bytes()
UFRAG, PWD = "gtcX", "2qV9gqqGqrSHwMiHq3TkC7"


@pytest.mark.settings(
    ICE_SERVERS="stun:stun.example.org:3478, turn:turn.example.org?transport=udp",
    TURN_SECRET="a secret of both",
    RTC_CONNECT_TIMEOUT="3",
    PUBLISHER_DEAD_AFTER="0.2",
    CORS_ORIGINS="https://studio.example.org",
    PUBLIC_IP="192.0.2.9",
)
async def test_what_the_rfc_asks_of_a_session(streamer: User, new_user: Callable[[str], Awaitable[User]]) -> None:
    client = Offering(streamer)
    status, headers, answer = await client.ask("POST", body=OFFER, Origin="https://studio.example.org")
    assert status == 201, answer
    assert headers["Content-Type"].startswith("application/sdp")
    assert "a=candidate:" in answer
    assert "192.0.2.9" in answer
    assert headers["Access-Control-Allow-Origin"] == "https://studio.example.org"
    assert {"ETag", "Link", "Location"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    tag, session = headers["ETag"], headers["Location"]
    assert not tag.startswith("W/")

    fragment = f"a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 "
    trickle = (fragment + "192.0.2.1 5000 typ host\r\n").encode()
    anew = trickle.replace(UFRAG.encode(), b"anew")
    assert (await client.ask("PATCH", session, trickle, FRAGMENT, If_Match=tag))[0] == 204
    assert await client.code("PATCH", session, trickle, FRAGMENT) == (428, "precondition_required")
    assert await client.code("PATCH", session, trickle, FRAGMENT, If_Match='"other"') == (412, "precondition_failed")
    assert await client.code("PATCH", session, trickle, If_Match=tag) == (415, "unsupported_media_type")
    assert await client.code("PATCH", session, b"what?", FRAGMENT, If_Match=tag) == (400, "bad_offer")
    status, restarted, said = await client.ask("PATCH", session, anew, FRAGMENT, If_Match="*")
    assert status == 200
    assert restarted["ETag"] != tag
    assert "a=ice-ufrag:" in said
    assert f"a=ice-ufrag:{said.partition('a=ice-ufrag:')[2].split()[0]}" not in answer
    assert await client.code("PATCH", session, trickle, FRAGMENT, If_Match=tag) == (412, "precondition_failed")
    assert (await client.ask("GET", session))[0] == 405

    stranger = Offering(await new_user("stranger"))
    assert await stranger.code("DELETE", session) == (404, "no_such_session")
    assert (await Offering(streamer, "sf_wrong").code("DELETE", session))[0] == 404
    assert (await client.ask("DELETE", session))[0] == 200
    assert await client.code("DELETE", session) == (404, "no_such_session")

    status, headers, _ = await client.ask("POST", body=OFFER)
    assert status == 201  # and never connects
    await eventually(lambda: gone(client, headers["Location"]), what="an offer that nobody followed")


async def gone(client: Offering, session: str) -> bool:
    fragment = f"a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\n".encode()
    return (await client.ask("PATCH", session, fragment, FRAGMENT, If_Match="*"))[0] == 404


@pytest.mark.settings(RTC_MAX_SDP="8192", WHIP_PER_ADDRESS="2", PUBLISHER_DEAD_AFTER="0.1")
async def test_what_is_refused_and_in_which_words(streamer: User) -> None:
    client = Offering(streamer)
    assert await Offering(streamer, "sf_wrong").code("POST", body=OFFER) == (401, "unknown_key")
    assert await Offering(streamer, "nonsense").code("POST", body=OFFER) == (401, "unauthorized")
    anonymous = Offering(streamer)
    anonymous.headers = {}
    assert await anonymous.code("POST", body=OFFER) == (401, "unauthorized")
    assert await client.code("POST", body=OFFER, kind="text/plain") == (415, "unsupported_media_type")
    assert await client.code("POST", body=b"v=0") == (400, "bad_offer")
    assert await client.code("POST", body=OFFER.replace(b"s=-", b"s=\0")) == (400, "bad_offer")
    assert await client.code("POST", body=OFFER + b"a=x:" + b"y" * 8192) == (413, "body_too_large")
    section = b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
    assert await client.code("POST", body=OFFER + section * 200) == (400, "bad_offer")
    assert await client.code("POST", body=OFFER.replace(b"a=fingerprint", b"a=other")) == (400, "bad_offer")
    status, _, text = await client.ask("POST", body=OFFER.replace(b"H264/90000", b"VP8/90000"))
    assert status == 406
    problem = json.loads(text)
    assert (problem["code"], problem["offered"], problem["taken"]) == (
        "no_common_codec", ["VP8", "RTX"], ["H264", "AV1", "VP9"],
    )  # fmt: skip
    for _ in range(2):
        assert (await client.ask("POST", body=OFFER))[0] == 201
    # the second took the place of the first, which showed no sign of life: it is the one session there is
    assert (await client.ask("POST", body=OFFER))[0] == 201
