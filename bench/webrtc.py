"""What it costs to forward a broadcast of 2.5 Mbit/s by WebRTC, next to the floor and to aiortc's MediaRelay.

The server and its peers are held to the first processor, viewers and the encoder to the second. The server's figure is
what it uses with its viewers less what it uses for the same broadcast without any (ingest, packaging, recording), for
each million packets that the viewers count. NACK, reports and bandwidth estimation are on, as always.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Table, median, ratio, verdict
from bench.media import live_media, read_flv
from bench.processes import BenchError, Process, cost, free_port, say, wait_until
from bench.pusher import Pusher
from bench.server import REPOSITORY, Server

SERVER_CPU, OTHERS_CPU = 0, 1
SETTINGS = {"WHEP_PER_ADDRESS": "1000", "RTC_HOST": "127.0.0.1", "RTC_BAD_PER_ADDRESS": "100000"}
RELAY_AT = 20
OURS, FLOOR, RELAY = "ours", "floor", "aiortc MediaRelay"


@dataclass(frozen=True, slots=True)
class Plan:
    """counts: viewers at once. window: s for which the CPU is counted. relay: whether MediaRelay is measured too."""

    counts: Sequence[int]
    runs: int
    window: int
    relay: bool


def run(plan: Plan, folder: Path, cache: Path) -> None:
    results: dict[tuple[str, int], list[float]] = {}
    flv = live_media(cache)
    for number in range(plan.runs):
        for count in plan.counts:
            results.setdefault((FLOOR, count), []).append(floor(count, plan.window, folder))
        ours(plan, folder / f"run-{number}", flv, results)
        if plan.relay:
            results.setdefault((RELAY, RELAY_AT), []).append(relay(plan, folder, flv))
    show(plan, results)


def floor(count: int, window: int, folder: Path) -> float:
    process = Process(
        [sys.executable, "-m", "bench.peers.rtc_floor", count, window],
        log=folder / "floor.log",
        cpu=SERVER_CPU,
        cwd=REPOSITORY,
    )
    wait_until(lambda: not process.alive, window + 30, "the floor")
    return float(process.log.read_text().split()[-1])


def ours(plan: Plan, folder: Path, flv: Path, results: dict[tuple[str, int], list[float]]) -> None:
    with Server(folder, SETTINGS, cpu=SERVER_CPU, database_cpu=OTHERS_CPU) as server:
        prepared = server.prepare("WebRTC")
        pusher = Pusher(prepared.rtmp, read_flv(flv))
        pusher.start()
        try:
            url = f"{server.url}/api/v1/live/{prepared.id}"
            wait_until(
                lambda: server.call("GET", f"/api/v1/live/{prepared.id}")["state"] == "live", 20, "the broadcast"
            )
            time.sleep(3)
            idle = spent(server.pids, plan.window)
            for count in plan.counts:
                with ExitStack() as undo:
                    viewers = watching(f"{url}/whep", count, folder, undo)
                    forwarded, used = counted(viewers, server.pids, plan.window)
                    results.setdefault((OURS, count), []).append((used - idle) / forwarded * 1e6)
                    say(f"  {count} viewers: {forwarded / plan.window:,.0f} packets/s, {used / plan.window:.2f} cores")
        finally:
            pusher.stop()
        if complaints := server.complaints():
            say(f"the server said: {complaints[-500:]}")


def relay(plan: Plan, folder: Path, flv: Path) -> float:
    port = free_port()
    with ExitStack() as undo:
        process = Process(
            [sys.executable, "-m", "bench.peers.rtc_relay", flv, port],
            log=folder / "relay.log",
            cpu=SERVER_CPU,
            cwd=REPOSITORY,
        )
        undo.callback(process.stop)
        process.wait_for_line("ready", 30)
        viewers = watching(f"http://127.0.0.1:{port}/whep", RELAY_AT, folder, undo)
        forwarded, used = counted(viewers, [process.pid], plan.window)
        return used / forwarded * 1e6


def watching(url: str, count: int, folder: Path, undo: ExitStack) -> Process:
    """Viewers that are all connected and get packets."""
    process = Process(
        [sys.executable, "-m", "bench.peers.rtc_viewers", url, count],
        log=folder / "viewers.log",
        cpu=OTHERS_CPU,
        cwd=REPOSITORY,
    )
    undo.callback(process.stop)

    def there() -> bool:
        if not process.alive:
            raise BenchError(f"the viewers ended: {process.log.read_text()[-500:]}")
        said = told(process)
        return said["connected"] == count and said["packets"] > 0

    wait_until(there, 60, f"{count} viewers")
    time.sleep(2)
    return process


def counted(viewers: Process, pids: Sequence[int], window: int) -> tuple[int, float]:
    """Packets that came and CPU s that they cost, in a window of so many seconds."""
    before = told(viewers)["packets"]
    used = spent(pids, window)
    forwarded = told(viewers)["packets"] - before
    if forwarded <= 0:
        raise BenchError("no packets came")
    return forwarded, used


def spent(pids: Sequence[int], window: int) -> float:
    before = cost(pids)
    time.sleep(window)
    return cost(pids).since(before).cpu


def told(viewers: Process) -> dict[str, int]:
    for line in reversed(viewers.log.read_text().splitlines()):
        if line.startswith("{") and line.endswith("}"):
            found: dict[str, int] = json.loads(line)
            return found
    return {"connected": 0, "packets": 0}


def show(plan: Plan, results: dict[tuple[str, int], list[float]]) -> None:
    table = Table("CPU s per million packets forwarded", ["", *(f"{count} viewers" for count in plan.counts)])
    for name in (OURS, FLOOR):
        table.add(name, *(median(results.get((name, count), [])) for count in plan.counts))
    table.show()
    if (RELAY, RELAY_AT) in results:
        say(f"  aiortc MediaRelay at {RELAY_AT} viewers: {median(results[RELAY, RELAY_AT])}")
    for count in plan.counts:
        verdict(
            f"ours / floor at {count} viewers",
            ratio(results[OURS, count], results[FLOOR, count]),
            1.3,
            most=True,
        )
    if (RELAY, RELAY_AT) in results:
        least = statistics.median(results[OURS, max(plan.counts)])
        verdict("MediaRelay / ours", statistics.median(results[RELAY, RELAY_AT]) / least, 50, most=False)
