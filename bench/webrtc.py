"""What it costs to forward a broadcast of 2.5 Mbit/s by WebRTC, next to the floor, to Janus and to aiortc's MediaRelay.

The server and its peers are held to the first processor, viewers and the encoder to the second. The server's figure is
what it uses with its viewers less what it uses for the same broadcast without any (ingest, packaging, recording) just
before and just after, for each million packets that the viewers count; Janus's likewise. The floor is measured next to
each. NACK, reports and bandwidth estimation are on, as always; no smaller pictures are encoded.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import janus
from bench.figures import Table, median, ratio, verdict
from bench.media import live_media, read_flv
from bench.processes import BenchError, Process, free_port, say, threads_cpu, wait_until
from bench.pusher import Pusher
from bench.server import REPOSITORY, Server

SERVER_CPU, OTHERS_CPU = 0, 1
SETTINGS = {
    "WHEP_PER_ADDRESS": "1000",
    "RTC_HOST": "127.0.0.1",
    "RTC_BAD_PER_ADDRESS": "100000",
    "LIVE_LADDER": "off",
}
WHOLE = 240
"""Packets a second that make the picture, and a little less; viewers who get fewer are too slow themselves."""
RELAY_AT = 20
OURS, FLOOR, RELAY = "ours", "floor", "aiortc MediaRelay"
JANUS = {"Janus": 0, "Janus, two loops": 2}
"""By its event loops; 0: a thread for each of its peers, as it comes."""
PROFILE = "SRTP_AEAD_AES_128_GCM"
"""The floor's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """counts: viewers at once. window: s for which the CPU is counted. peers: of "relay" and "janus"."""

    counts: Sequence[int]
    runs: int
    window: int
    peers: Sequence[str]


def run(plan: Plan, folder: Path, cache: Path) -> None:
    results: dict[tuple[str, int], list[float]] = {}
    flv = live_media(cache)
    where = janus.installed() if "janus" in plan.peers else None
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {OTHERS_CPU})
    for number in range(plan.runs):
        ours(plan, folder / f"run-{number}", flv, results)
        if where is not None:
            for name, loops in JANUS.items():
                rooms(plan, folder / f"janus-{number}-{loops}", (name, where, loops), results)
        if "relay" in plan.peers:
            results.setdefault((RELAY, RELAY_AT), []).append(relay(plan, folder, flv))
    show(plan, results)


def floor(count: int, window: int, folder: Path) -> float:
    with ExitStack() as undo:
        sinks = started("rtc_sink", [count], folder, undo)
        ports = sinks.wait_for_line("ready ", 20).split()[1]
        process = Process(
            [sys.executable, "-m", "bench.peers.rtc_floor", ports, str(window)],
            log=folder / "floor.log",
            cpu=SERVER_CPU,
            cwd=REPOSITORY,
        )
        undo.callback(process.stop)
        wait_until(lambda: not process.alive, window + 30, "the floor")
        return float(process.log.read_text().split()[-1])


def ours(plan: Plan, folder: Path, flv: Path, results: dict[tuple[str, int], list[float]]) -> None:
    with Server(folder, SETTINGS, cpu=SERVER_CPU, database_cpu=OTHERS_CPU) as server:
        prepared = server.prepare("WebRTC")
        pusher = Pusher(prepared.rtmp, read_flv(flv))
        pusher.start()
        try:
            where = f"/api/v1/live/{prepared.id}"
            wait_until(lambda: server.call("GET", where)["state"] == "live", 20, "the broadcast")
            time.sleep(3)
            for count in plan.counts:
                results.setdefault((FLOOR, count), []).append(floor(count, plan.window, folder))
                idle = spent(server.pids, plan.window / 2)
                with ExitStack() as undo:
                    viewers = watching("rtc_viewers", f"{server.url}{where}/whep", count, folder, undo)
                    if (agreed := told(viewers)["profile"]) != PROFILE:
                        raise BenchError(f"the viewers agreed on {agreed}, the floor is of {PROFILE}")
                    forwarded, used = counted(viewers, server.pids, plan.window)
                time.sleep(1)
                idle += spent(server.pids, plan.window / 2)
                results.setdefault((OURS, count), []).append((used - idle) / forwarded * 1e6)
                rate = forwarded / plan.window
                say(
                    f"  {count} viewers: {rate:,.0f} packets/s, {used / plan.window:.3f} cores, "
                    f"{idle / plan.window:.3f} without them"
                )
                if rate / count < WHOLE:
                    say("  They did not get the whole picture: their processor has too much to do.")
        finally:
            pusher.stop()
        if complaints := server.complaints():
            say(f"the server said: {complaints[-500:]}")


def rooms(plan: Plan, folder: Path, server: tuple[str, Path, int], results: dict[tuple[str, int], list[float]]) -> None:
    """A videoroom with a publisher of the floor's packets."""
    name, where, loops = server
    with ExitStack() as undo:
        process, port = janus.start(folder, where, SERVER_CPU, loops)
        undo.callback(process.stop)
        idle = 0.0
        for count in (0, *plan.counts):
            with ExitStack() as room:
                viewers = watching("rtc_janus", port, count, folder, room)
                if not count:
                    idle = spent([process.pid], plan.window)
                    continue
                forwarded, used = counted(viewers, [process.pid], plan.window)
                results.setdefault((name, count), []).append((used - idle) / forwarded * 1e6)


def relay(plan: Plan, folder: Path, flv: Path) -> float:
    port = free_port()
    with ExitStack() as undo:
        process = Process(
            [sys.executable, "-m", "bench.peers.rtc_relay", flv, str(port)],
            log=folder / "relay.log",
            cpu=SERVER_CPU,
            cwd=REPOSITORY,
        )
        undo.callback(process.stop)
        process.wait_for_line("ready", 30)
        viewers = watching("rtc_viewers", f"http://127.0.0.1:{port}/whep", RELAY_AT, folder, undo)
        forwarded, used = counted(viewers, [process.pid], plan.window)
        return used / forwarded * 1e6


def started(program: str, arguments: Sequence[object], folder: Path, undo: ExitStack) -> Process:
    process = Process(
        [sys.executable, "-m", f"bench.peers.{program}", *map(str, arguments)],
        log=folder / f"{program}.log",
        cpu=OTHERS_CPU,
        cwd=REPOSITORY,
    )
    undo.callback(process.stop)
    return process


def watching(program: str, where: object, count: int, folder: Path, undo: ExitStack) -> Process:
    """Viewers that are all connected and get packets."""
    process = started(program, [where, count], folder, undo)

    def there() -> bool:
        if not process.alive:
            raise BenchError(f"the viewers ended: {process.log.read_text()[-500:]}")
        said = told(process)
        return said["connected"] == count and (said["packets"] > 0 or not count)

    wait_until(there, 60, f"{count} viewers")
    time.sleep(2)
    return process


def counted(viewers: Process, pids: Sequence[int], window: int) -> tuple[int, float]:
    """Packets that came and CPU s that they cost, in a window of so many seconds."""
    before = int(told(viewers)["packets"])
    used = spent(pids, window)
    forwarded = int(told(viewers)["packets"]) - before
    if forwarded <= 0:
        raise BenchError("no packets came")
    return forwarded, used


def spent(pids: Sequence[int], window: float) -> float:
    before = threads_cpu(pids)
    time.sleep(window)
    return sum(used - before.get(thread, 0) for thread, used in threads_cpu(pids).items()) / 1e9


def told(viewers: Process) -> dict[str, Any]:
    for line in reversed(viewers.log.read_text().splitlines()):
        if line.startswith("{") and line.endswith("}"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {"connected": -1, "packets": 0}


def show(plan: Plan, results: dict[tuple[str, int], list[float]]) -> None:
    table = Table("CPU s per million packets forwarded", ["", *(f"{count} viewers" for count in plan.counts)])
    for name in (OURS, FLOOR, *JANUS):
        if (name, plan.counts[0]) in results:
            table.add(name, *(median(results[name, count]) for count in plan.counts))
    table.show()
    relayed = results.get((RELAY, RELAY_AT), [])
    if relayed:
        say(f"  aiortc MediaRelay at {RELAY_AT} viewers: {median(relayed)}")
    for count in plan.counts:
        share = ratio(results[OURS, count], results[FLOOR, count])
        verdict(f"ours / floor at {count} viewers", share, 1.3, most=True)
        for name in JANUS:
            if (name, count) in results:
                share = ratio(results[OURS, count], results[name, count])
                verdict(f"ours / {name} at {count} viewers", share, 1, most=True)
    if relayed:
        near = min(plan.counts, key=lambda count: abs(count - RELAY_AT))
        verdict(f"MediaRelay / ours at {near} viewers", ratio(relayed, results[OURS, near]), 50, most=False)
