"""`bin/bench hls`: a real 30-minute playlist and live-edge parts, under load, while the stream goes on.

The window is filled through the RTMP port: half an hour of media is pushed some sixty times faster than real time, then
the same push goes on in real time. Nothing in the server knows.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import nginx
from bench.figures import Table, ratio, verdict
from bench.media import live_media, read_flv
from bench.processes import BenchError, Cost, Process, cost, free_port, missing, say, wait_for_port, wait_until
from bench.pusher import Pusher
from bench.server import REPOSITORY, Server, fetch
from bench.wrk import CLIENT_CPU, SERVER_CPU, Load, need_wrk, press

RUSH_SPEED = 60.0
# A rush is what these two are there to keep out.
_SETTINGS = {"INGEST_MAX_AHEAD": "0", "INGEST_MAX_BITRATE": "0"}
GZIP = {"Accept-Encoding": "gzip"}
PLAYLIST, PART = "v.m3u8", "part.m4s"
_HEADERS = (
    "Content-Type", "Content-Encoding", "Cache-Control", "Vary", "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers", "Timing-Allow-Origin", "X-Content-Type-Options", "Cross-Origin-Resource-Policy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """seconds: of each run of wrk, at most 4, since a live-edge part stays one for some 6 s. media: s of the window."""

    runs: int
    seconds: int
    media: int
    connections: int


def run(plan: Plan, folder: Path, cache: Path) -> None:
    need_wrk()
    tags = read_flv(live_media(cache))
    with ExitStack() as undo:
        server = undo.enter_context(Server(folder / "ours", _SETTINGS, cpu=SERVER_CPU, database_cpu=CLIENT_CPU))
        live = server.prepare("The window")
        pusher = Pusher(live.rtmp, tags, rush_seconds=plan.media, rush_speed=RUSH_SPEED)
        undo.callback(pusher.stop)
        say(f"pushing {plan.media} s of media at {RUSH_SPEED:.0f} times real time …")
        pusher.start()
        wait_until(
            lambda: bool(pusher.failed) or pusher.media_seconds > plan.media + 4,
            plan.media / RUSH_SPEED + 120,
            "the push",
        )
        if pusher.failed:
            raise BenchError(f"the push failed: {pusher.failed}")
        playlist = f"{live.base}/{PLAYLIST}"
        bytes_of_part, share = snapshot(playlist, folder / "root")
        peers = start_peers(undo, folder)
        results: dict[tuple[str, str], Load] = {}
        for number in range(plan.runs):
            say(f"run {number + 1} of {plan.runs} …")
            for kind in (PLAYLIST, PART):
                for name, (base, pids) in {"social-flow": (live.base, server.pids), **peers}.items():
                    url = f"{base}/{kind}"
                    if name == "social-flow" and kind == PART:
                        url = f"{base}/{newest_part(playlist, share)}"
                    press(
                        results.setdefault((kind, name), Load()),
                        url,
                        lambda pids=pids: cost(pids),  # type: ignore[misc]
                        seconds=plan.seconds,
                        connections=plan.connections,
                        headers=GZIP if kind == PLAYLIST else None,
                        database=server.database_cost if name == "social-flow" else Cost,
                    )
        if pusher.failed:
            raise BenchError(f"the push failed: {pusher.failed}")
        if complaints := server.complaints():
            say(f"its log says:\n{complaints[:1000]}")
        show(results, (folder / "root" / PLAYLIST).read_bytes(), bytes_of_part)


def snapshot(playlist: str, root: Path) -> tuple[int, int]:
    """Writes what the server answers now for the peers to answer too: (bytes of the part, its place in its segment)."""
    root.mkdir()
    body, headers = fetch(playlist, GZIP)
    if headers.get("Content-Encoding") != "gzip":
        say("The playlist did not come gzipped; the peers answer it as it came.")
    text = readable(body, headers)
    parts = re.findall(r'URI="(v-\d+\.(\d+)\.m4s)"', text)
    sizes: dict[int, tuple[bytes, Mapping[str, str]]] = {}
    for name, place in parts[-40:]:
        part, part_headers = fetch(f"{playlist.rpartition('/')[0]}/{name}")
        sizes.setdefault(int(place), (part, part_headers))
        if abs(len(part) - 60_000) < abs(len(sizes[int(place)][0]) - 60_000):
            sizes[int(place)] = (part, part_headers)
    place, (part, part_headers) = min(sizes.items(), key=lambda item: abs(len(item[1][0]) - 60_000))
    (root / PLAYLIST).write_bytes(body)
    (root / PART).write_bytes(part)
    kept = {
        name: {key: value for key, value in given.items() if key in _HEADERS}
        for name, given in ((PLAYLIST, headers), (PART, part_headers))
    }
    (root / "headers.json").write_text(json.dumps(kept))
    return len(part), place


def readable(body: bytes, headers: object) -> str:
    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()


def newest_part(playlist: str, place: int) -> str:
    """The part at that place of the newest closed segment: it stays at the live edge longest."""
    body, headers = fetch(playlist, GZIP)
    names: list[str] = re.findall(rf'URI="(v-\d+\.{place}\.m4s)"', readable(body, headers).rpartition("#EXTINF")[0])
    if not names:
        raise BenchError("the playlist lists no parts at its live edge")
    return names[-1]


def start_peers(undo: ExitStack, folder: Path) -> dict[str, tuple[str, list[int]]]:
    """{name: (base URL, process ids)}."""
    port, root = free_port(), folder / "root"
    bare = Process(
        [sys.executable, "-m", "bench.peers.http_memory", str(port), root],
        log=folder / "aiohttp.log",
        cpu=SERVER_CPU,
        cwd=REPOSITORY,
    )
    undo.callback(bare.stop)
    wait_for_port(port, bare)
    peers = {"bare aiohttp, same bytes": (f"http://127.0.0.1:{port}", [bare.pid])}
    if not missing("nginx", "nginx-light", "nginx with sendfile"):
        process, port = nginx.start_static(folder / "nginx", root, SERVER_CPU)
        undo.callback(process.stop)
        peers["nginx, sendfile"] = (f"http://127.0.0.1:{port}", [process.pid])
    return peers


def show(results: dict[tuple[str, str], Load], playlist: bytes, part: int) -> None:
    text = readable(playlist, None)
    table = Table(
        f"Playlist of {text.count('#EXTINF')} segments, {len(text) // 1000} kB, gzipped {len(playlist) / 1000:.1f} kB; "
        f"live-edge part of {part / 1000:.0f} kB",
        ["server", "what", *Load.COLUMNS],
    )
    for (kind, name), load in results.items():
        table.add(name, "playlist" if kind == PLAYLIST else "part", *load.cells())
    table.show()
    say()
    bare = results[PLAYLIST, "bare aiohttp, same bytes"].rate
    verdict(
        "playlist, share of bare aiohttp's requests/s",
        ratio(results[PLAYLIST, "social-flow"].rate, bare),
        0.6,
        most=False,
    )
    peer = results.get((PART, "nginx, sendfile"), Load())
    share = ratio(results[PART, "social-flow"].megabytes, peer.megabytes)
    verdict("parts, share of nginx's bytes/s", share, 0.75, most=False)
